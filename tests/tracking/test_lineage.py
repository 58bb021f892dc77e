"""From a weight file back to every vote, and forward to every report."""

import json
import shutil
from pathlib import Path

import pytest
from run_with_votes import demonstration, judgements, rankings, write_run_with_votes
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.commands.lineage import from_path, from_votes
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, write_json
from rlhf.tracking.lineage import places_of, read_made, run_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run_with_votes(tmp_path / "runs" / "small")


def stages(rows: list[Json]) -> list[str]:
    return [row["stage"] for row in rows]


def told(run: Path, path: Path) -> Json:
    return from_path(read_made(run), path)


def test_a_weight_file_goes_back_to_every_vote_and_on_to_every_report(run: Path) -> None:
    found = told(run, run / "round-1/dpo/current/model/model.safetensors")
    assert found["made_by"] == ["round-1/dpo/dpo-aaa"]
    assert stages(found["made_from"]) == ["prompts", "sft", "sample", "label", "preferences"]
    assert stages(found["went_into"]) == ["evaluate", "judge", "report"]
    assert (found["as_marked"], found["not_as_marked"], found["faults"]) == (True, [], [])
    kinds = {row["stage"]: row["kind"] for row in (*found["made_from"], *found["went_into"])}
    assert (kinds["sft"], kinds["label"], kinds["report"]) == ("model", "dataset", "report")
    # Six rankings and one demonstration; judgements came after, of this very policy.
    assert {vote["id"] for vote in found["votes"]} == {
        *(one.id for one in rankings()),
        demonstration().id,
    }
    assert found["labelers"] == {
        "ada": {"trained": 2, "selected": 1, "measured": 1},
        "bob": {"trained": 1, "selected": 1},
        "cyd": {"held out": 1},
    }
    outside = {one["what"]: one["name"] for one in found["outside"]}
    assert outside["base model"] == "hub/base"


def test_what_no_vote_is_behind_says_so(run: Path) -> None:
    found = told(run, run / "round-1/prompts")
    assert (found["votes"], found["made_from"]) == ([], [])
    assert stages(found["went_into"])[-1] == "report"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("round-1/reward/current", "round-1/reward/reward-aaa"),
        ("round-1/reward/reward-aaa/model", "round-1/reward/reward-aaa"),
        ("round-1/reward", "round-1/reward/reward-aaa"),
        ("round-1/report/report-aaa/report.html", "round-1/report/report-aaa"),
        ("report.html", "round-1/report/report-aaa"),
    ],
)
def test_a_path_may_be_a_file_a_model_a_stage_or_a_report(run: Path, path: str, place: str) -> None:
    assert places_of(read_made(run), run / path) == [place]


def test_a_report_that_no_stage_wrote_stands_for_all_that_is_in_use(run: Path) -> None:
    (run / "report.html").write_text("another page")
    places = places_of(read_made(run), run / "report.html")
    assert len(places) == 10
    assert "round-1/report/report-aaa" not in places


def test_a_ranking_leads_to_the_weights_that_hold_it(run: Path) -> None:
    ours = rankings()[0]
    found = from_votes(read_made(run), ranking=ours.id, labeler=None)
    (vote,) = found["votes"]
    assert (vote["labeler_id"], vote["use"], vote["place"]) == (
        "ada",
        "trained",
        "round-1/label/label-aaa",
    )
    assert stages(found["went_into"]) == [
        "preferences",
        "reward",
        "certify",
        "dpo",
        "evaluate",
        "judge",
        "report",
    ]


def test_a_labeler_leads_to_all_they_said_in_every_kind(run: Path) -> None:
    found = from_votes(read_made(run), ranking=None, labeler="ada")
    uses = {(vote["kind"], vote["use"]) for vote in found["votes"]}
    assert uses == {
        ("ranking", "trained"),
        ("ranking", "selected"),
        ("ranking", "measured"),
        ("demonstration", "trained"),
        ("judgement", "judged"),
    }
    assert judgements()[0].id in {vote["id"] for vote in found["votes"]}
    assert sorted(found["made_by"]) == [
        "round-1/judge/judge-aaa",
        "round-1/label/label-aaa",
        "round-1/sft/sft-aaa",
    ]


def test_weights_that_changed_since_are_named(run: Path) -> None:
    (run / "round-1/reward/reward-aaa/model/model.safetensors").write_text("other weights")
    found = told(run, run / "round-1/certify")
    assert found["not_as_marked"] == [
        "round-1/reward/reward-aaa is not what the stage wrote: its files hash to something else"
    ]
    assert told(run, run / "round-1/dpo")["as_marked"]  # the reward model is not in its lineage


def test_a_stage_that_was_made_anew_under_its_users_is_named(run: Path) -> None:
    marker = run / "round-1/label/label-aaa/complete.json"
    write_json(marker, {**read_json(marker), "digest": "0"})
    said = told(run, run / "round-1/preferences")["not_as_marked"]
    assert said == [
        "round-1/label/label-aaa is not what the stage wrote: its files hash to something else",
        "round-1/preferences/preferences-aaa was made from another round-1/label/label-aaa than is "
        "there now",
        "round-1/report/report-aaa was made from another round-1/label/label-aaa than is there now",
    ]


def test_what_is_gone_or_damaged_is_named_and_the_rest_shown(run: Path) -> None:
    shutil.rmtree(run / "round-1/prompts/prompts-aaa")
    (run / "round-1/certify/certify-aaa/complete.json").write_text('{"finger')
    (run / "round-1/judge/judge-aaa/inputs.json").write_text("[1]")
    rows = (run / "round-1/label/label-aaa/rankings.jsonl").read_bytes()
    (run / "round-1/label/label-aaa/rankings.jsonl").write_bytes(rows[:-40] + b"\xff\x00")
    (run / "round-1/dpo/dpo-aaa/metrics.jsonl").write_bytes(b"\x00\xff{")
    found = told(run, run / "round-1/dpo")
    assert stages(found["made_from"]) == ["sft", "sample", "label", "preferences"]
    assert len([vote for vote in found["votes"] if vote["kind"] == "ranking"]) == 5
    said = "\n".join(found["faults"])
    assert "round-1/dpo/dpo-aaa was made from round-1/prompts/prompts-aaa" not in said
    assert "sample-aaa was made from round-1/prompts/prompts-aaa, which is not there any" in said
    assert "round-1/certify/certify-aaa cannot be read" in said
    assert "round-1/label/label-aaa/rankings.jsonl cannot be read to its end" in said


def test_the_command_says_where_it_came_from_or_why_not(run: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["lineage", str(run / "round-1/dpo/current/model")])
    assert said.exit_code == 0
    assert "1 demonstration, 6 rankings by 3 labelers" in " ".join(said.output.split())
    assert "All 9 stages above hash to what their markers say." in said.output
    as_json = CliRunner().invoke(app, ["lineage", str(run), "--labeler", "bob", "--json"])
    assert json.loads(as_json.output)["labelers"] == {
        "bob": {"trained": 1, "selected": 1, "judged": 1}
    }
    stray = tmp_path / "stray.safetensors"
    stray.write_text("weights")
    for words, why in (
        ([str(stray)], "lies in no run folder"),
        ([str(run)], "is a run and not what one stage made"),
        ([str(run / "nowhere")], "is not there"),
        ([str(run), "--labeler", "dan"], "no snapshot in .* holds labeler 'dan'"),
        ([str(run), "--ranking", "ranking-0"], "holds ranking-0"),
    ):
        with pytest.raises(ValueError, match=why):
            CliRunner().invoke(app, ["lineage", *words], catch_exceptions=False)


def test_the_run_of_a_path_is_the_nearest_folder_with_rounds(run: Path, tmp_path: Path) -> None:
    assert run_of(run / "round-1/dpo/current/model/model.safetensors") == run
    assert run_of(tmp_path) is None


def test_weights_that_were_copied_away_are_found_by_their_bytes(run: Path, tmp_path: Path) -> None:
    away = tmp_path / "deployed" / "model.safetensors"
    away.parent.mkdir()
    shutil.copy(run / "round-1/reward/reward-aaa/model/model.safetensors", away)
    for path, runs in ((away, run.parent), (away.parent, run)):
        words = ["lineage", str(path), "--runs", str(runs), "--json"]
        found = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).output)
        assert found["made_by"] == ["round-1/reward/reward-aaa"]
    away.write_text("reward weight$")  # as long as the true ones
    with pytest.raises(ValueError, match="holds the same bytes"):
        CliRunner().invoke(app, words, catch_exceptions=False)
