"""A person withdraws: nothing of theirs is left in the runs, nothing of anybody else is lost."""

import gzip
import json
import shutil
from pathlib import Path

import pytest
from run_with_votes import (
    BOBS,
    CONFIG,
    PROMPTS,
    REASON,
    RESPONSES,
    SHORT,
    WRITTEN,
    demonstration,
    judgements,
    rankings,
    write_run_with_votes,
)
from typer.testing import CliRunner

from pipelines.cli import app
from rlhf.data.identity import Json, file_sha256
from rlhf.data.jsonl import read_json, read_jsonl, write_json, write_jsonl
from rlhf.data.records import Ranking
from rlhf.feedback.store import Item, Judgement, Store
from rlhf.reporting.reading import read_run
from rlhf.reporting.report import render
from rlhf.tracking.belongings import Belongings, spellings, union
from rlhf.tracking.lineage import altered, read_made
from rlhf.tracking.redaction import known_from, plan, redact
from rlhf.tracking.run_folder import StageFolder, read_completion
from rlhf.tracking.wandb_log import read_records, write_records

AT = "2026-02-01T00:00:00.000+00:00"
NOTE = "Ada's note to the lead: this one is about my neighbour."
LABEL = "round-1/label/label-aaa"
REDACTED = ("certify", "judge", "label", "preferences", "report", "sft")
SOME = (rankings()[0].id, judgements()[0].id, demonstration().id, REASON, WRITTEN, NOTE)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with its own store, and what W&B and others left beside the outputs."""
    run = write_run_with_votes(tmp_path / "runs" / "small")
    ours, bobs = (one.to_json() for one in rankings()[:2])
    beside = run / LABEL / "wandb"
    write_jsonl(beside / "tables" / "rankings.jsonl", [ours, {"step": 1, "said": REASON}, bobs])
    media = beside / "offline-run-1" / "files" / "media" / "table"
    columns = ["labeler_id", "id", "why"]
    lines = [["ada", ours["id"], SHORT], ["bob", bobs["id"], BOBS], [None, None, REASON]]
    write_json(media / "votes.table.json", {"columns": columns, "data": lines})
    log = beside / "offline-run-1" / "run-1.wandb"
    log.write_bytes(b":W&B\x00\x00\x00")
    write_records(log, [b"figures", f"said {REASON}".encode(), json.dumps(BOBS).encode()])
    zipped = beside / "outputs" / "label" / "files" / "rankings.jsonl.gz"
    zipped.parent.mkdir(parents=True)
    zipped.write_bytes(gzip.compress(b"".join(line(row) for row in (ours, bobs)), mtime=0))
    (run / "round-1/dpo/dpo-aaa/notes.txt").write_text(f"about {ours['id']}: {NOTE}\n{BOBS}\n")
    (run / LABEL / ".rankings.jsonl.7.tmp").write_bytes(line(ours))
    fill_store(run / "rankings.db")
    return run


def line(row: Json) -> bytes:
    return (json.dumps(row, ensure_ascii=False) + "\n").encode()


def fill_store(path: Path) -> None:
    with Store(path) as store:
        campaign = store.create_campaign("small", guidelines="Rank.")
        judged = store.create_campaign("judged", mode="evaluate")
        writing = store.create_campaign("writing", mode="demonstrate")
        for where, letters, given in ((campaign, "ab", rankings()), (judged, "cd", judgements())):
            items = [
                Item(prompt, tuple(RESPONSES[key][letter] for letter in letters))
                for key, prompt in PROMPTS.items()
            ]
            store.add_items(where, items)
            store.record(where, given)
        store.add_items(writing, [Item(PROMPTS["p1"], ())])
        task = store.claim(writing, "ada")
        assert task is not None
        store.submit(task.item_id, "ada", Judgement(text=WRITTEN), submission_id="w")
        store.flag(task.item_id, "ada", "other", NOTE)


def everything(run: Path) -> dict[str, str]:
    files = (
        path for path in sorted(run.rglob("*")) if path.is_file() and "current" not in path.parts
    )
    return {path.relative_to(run).as_posix(): file_sha256(path) for path in files}


def bytes_of(run: Path) -> bytes:
    return b"".join(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in run.rglob("*")
        if path.is_file()
    )


def outside_markers(run: Path) -> dict[str, str]:
    """Without those that name the time."""
    return {path: one for path, one in everything(run).items() if "complete.json" not in path}


def withdraw(run: Path, *words: str, code: int = 0) -> Json:
    words = ("withdraw", "ada", "--store", str(run / "rankings.db"), "--runs", str(run), *words)
    ran = CliRunner().invoke(app, [*words, "--yes", "--json"], catch_exceptions=False)
    assert ran.exit_code == code, ran.output
    found: Json = json.loads(ran.output)
    return found


def test_no_byte_of_what_they_said_is_left(run: Path) -> None:
    before = bytes_of(run)
    assert all(any(form in before for form in spellings(text)) for text in SOME)
    found = withdraw(run)
    after = bytes_of(run)
    for text in SOME:
        assert not [form for form in spellings(text) if form in after], text
    assert found["emptied"]["answers"] == 5
    assert found["emptied"]["findings"] == []
    (one,) = found["runs"]
    assert (one["left"], one["rows_of_another_store"]) == ([], 0)
    with Store(run / "rankings.db") as store:
        assert store.verify().findings == ()


def test_what_others_said_stays_byte_for_byte(run: Path) -> None:
    others = [one for one in rankings() if one.labeler_id != "ada"]
    withdraw(run)
    kept = (run / LABEL / "rankings.jsonl").read_bytes()
    assert kept == b"".join(line(one.to_json()) for one in others)
    ranked = list(read_jsonl(run / "round-1/preferences/preferences-aaa/ranked.jsonl"))
    held = [Ranking.from_json(one) for row in ranked for one in row["rankings"]]
    assert held == others  # p3, which ada alone had ranked, is gone
    (bobs,) = read_jsonl(run / "round-1/judge/judge-aaa/judgements.jsonl")
    assert bobs == judgements()[1].to_json()
    with Store(run / "rankings.db") as store:
        assert store.rankings(store.campaign("small")) == others


def test_statistics_and_copies_of_theirs_go_as_well(run: Path) -> None:
    withdraw(run)
    labelers = read_json(run / "round-1/preferences/preferences-aaa/labelers.json")
    assert labelers["weights"] == {"bob": 0.8, "cyd": 0.0}
    assert labelers["reliability"] == {"bob": {"value": 0.8}}
    assert labelers["held_out"] == ["cyd"]
    certificate = read_json(run / "round-1/certify/certify-aaa/certificate.json")
    assert certificate["evidence"]["by_labeler"] == [{"name": "bob", "right": 0.8}]
    assert read_json(run / "round-1/sft/sft-aaa/written.json") == {}
    assert read_json(run / "round-1/sft/sft-aaa/writers.json") == []
    beside = run / LABEL / "wandb"
    assert [row.get("said") for row in read_jsonl(beside / "tables/rankings.jsonl")] == [
        "[withdrawn]",
        None,
    ]
    media = beside / "offline-run-1/files/media/table/votes.table.json"
    assert read_json(media)["data"] == [
        ["bob", rankings()[1].id, BOBS],
        [None, None, "[withdrawn]"],
    ]
    log = read_records(beside / "offline-run-1/run-1.wandb")
    assert list(log) == [b"figures", json.dumps(BOBS).encode()]
    assert not list((run / LABEL).glob(".*.tmp"))
    notes = (run / "round-1/dpo/dpo-aaa/notes.txt").read_text()
    assert notes == f"about [withdrawn]: [withdrawn]\n{BOBS}\n"


def test_no_run_uses_again_what_was_redacted_and_the_report_says_so(run: Path) -> None:
    withdraw(run)
    for stage in ("prompts", "sample", "reward", "evaluate"):
        assert StageFolder(run / "round-1" / stage).completion(f"{stage}-aaa") is not None
    for stage in REDACTED:
        root = StageFolder(run / "round-1" / stage)
        assert root.completion(f"{stage}-aaa") is None, stage
        done = read_completion(root.at(f"{stage}-aaa"))
        assert done is not None
        assert done.redacted is not None
        assert list(done.redacted["labelers"]) == ["ada"]
        assert done.redacted["finished"]
    made = read_made(run)
    assert [said for one in made.made.values() for said in altered(made, one)] == []
    page = (run / "report.html").read_text()
    assert page == render(read_run(run))
    assert "Somebody withdrew what they had said." in page
    assert "It was taken out of sft, label, preferences, dpo and judge (1 labeler)" in page
    stub = (run / "round-1/report/report-aaa/report.html").read_text()
    assert "somebody has since withdrawn" in stub


def test_what_was_made_from_it_is_named_before_and_after(run: Path) -> None:
    asked = withdraw(run, "--dry-run")
    (one,) = asked["runs"]
    assert asked["emptied"] is None
    models = {row["stage"] for row in one["made_from_it"] if row["kind"] == "model"}
    assert models == {"sft", "reward", "dpo"}
    assert [row["stage"] for row in one["made_from_it"]] == [
        *("sft", "sample", "label", "preferences", "reward", "certify", "dpo", "evaluate"),
        *("judge", "report"),
    ]
    label = next(row for row in one["made_from_it"] if row["stage"] == "label")
    assert label["wandb"] == []
    done = withdraw(run)["runs"][0]
    assert done["made_from_it"] == one["made_from_it"]
    assert done["redacted"] == one["redacted"]
    again = withdraw(run)["runs"][0]
    assert (again["made_from_it"], again["redacted"]) == (one["made_from_it"], [])


def test_a_dry_run_changes_nothing(run: Path) -> None:
    before = everything(run)
    withdraw(run, "--dry-run")
    after = everything(run)
    changed = {path for path in before if before[path] != after.get(path)}
    assert changed <= {"rankings.db", "rankings.db-wal", "rankings.db-shm"}
    assert after.keys() <= before.keys() | {"rankings.db-wal", "rankings.db-shm"}


class KilledError(Exception):
    """Stands for a kill at one step."""


def of_run(run: Path, ids: frozenset[str] = frozenset()) -> Belongings:
    """What the run alone still knows of ada; the store is emptied already."""
    known = [([vote_id], texts) for _, vote_id, texts in known_from(run, "ada")]
    return union("ada", [(ids, [NOTE]), *known])


def test_killed_at_any_step_the_next_one_goes_on(run: Path, tmp_path: Path) -> None:
    (run / "rankings.db").unlink()
    steps: list[str] = []
    whole = tmp_path / "whole"
    shutil.copytree(run, whole, symlinks=True)
    whose = of_run(whole)
    redact(plan(whole, whose), whose, at=AT, step=steps.append)
    wanted, before = outside_markers(whole), everything(run)
    assert len(steps) >= 25
    for number in range(len(steps)):
        cut = tmp_path / f"cut-{number}"
        shutil.copytree(run, cut, symlinks=True)
        taken: list[str] = []

        def step(name: str, number: int = number, taken: list[str] = taken) -> None:
            if len(taken) == number:
                raise KilledError
            taken.append(name)

        whose = of_run(cut)
        with pytest.raises(KilledError):
            redact(plan(cut, whose), whose, at=AT, step=step)
        # What was touched is marked already: no run would use it.
        for path, digest in everything(cut).items():
            if digest != before[path] and len(parts := path.split("/")) > 3:
                assert StageFolder(cut / "/".join(parts[:2])).completion(parts[2]) is None, path
        whose = of_run(cut)
        redact(plan(cut, whose), whose, at="later")
        assert outside_markers(cut) == wanted, steps[number]
        markers = [
            read_completion(path.parent) for path in cut.glob("round-1/*/*-aaa/complete.json")
        ]
        assert sum(one.redacted is not None for one in markers if one) == len(REDACTED) + 1
        assert all(one.redacted["finished"] for one in markers if one and one.redacted)
        shutil.rmtree(cut)


def test_somebody_else_of_the_same_name_is_left_alone(run: Path, tmp_path: Path) -> None:
    config = {**CONFIG, "label": {"store": "another.db"}}
    other = write_run_with_votes(tmp_path / "elsewhere" / "other", config)
    rows = [Ranking.of(**fields(one)) for one in rankings()]
    write_jsonl(other / LABEL / "rankings.jsonl", [row.to_json() for row in rows])
    write_jsonl(other / "round-1/preferences/preferences-aaa/ranked.jsonl", [])
    write_json(other / "round-1/sft/sft-aaa/writers.json", [])
    write_json(other / "round-1/sft/sft-aaa/written.json", {})
    for path in (
        "judge/judge-aaa/judgements.jsonl",
        "preferences/preferences-aaa/pairs-train.jsonl",
    ):
        write_jsonl(other / "round-1" / path, [])
    for page in (other / "report.html", other / "round-1/report/report-aaa/report.html"):
        page.write_text("<td>ada</td>")
    before = everything(other)
    kept = (other / LABEL / "rankings.jsonl").read_bytes()
    found = withdraw(run, "--runs", str(other))
    assert [one["rows_of_another_store"] for one in found["runs"]] == [0, 3]
    assert (other / LABEL / "rankings.jsonl").read_bytes() == kept
    assert {k: v for k, v in everything(other).items() if k != ".lock"} == before
    taken = withdraw(run, "--runs", str(other), "--by-name")
    (there,) = [one for one in taken["runs"] if one["run"] == str(other)]
    assert there["rows_of_another_store"] == 0
    held = {row["labeler_id"] for row in read_jsonl(other / LABEL / "rankings.jsonl")}
    assert held == {"bob", "cyd"}


def fields(one: Ranking) -> Json:
    row = one.to_json()
    row |= {"submitted_at": "2026-03-05T09:00:00+00:00", "rationale": "no"}
    row |= {"groups": tuple(map(tuple, row["groups"])), "shown": tuple(row["shown"])}
    return {name: value for name, value in row.items() if name != "id"}


def test_what_cannot_be_cleaned_is_named(run: Path) -> None:
    state = run / "round-1/reward/reward-aaa/checkpoints/state.npz"
    state.parent.mkdir()
    state.write_bytes(b"\x00\x01" + REASON.encode())
    shutil.copy(run / "rankings.db", run / "rankings.db.old")
    found = withdraw(run, code=1)
    left = {one["path"] for one in found["runs"][0]["left"]}
    assert left == {"rankings.db.old", "round-1/reward/reward-aaa/checkpoints/state.npz"}
    assert StageFolder(run / "round-1/reward").completion("reward-aaa") is None


def test_a_damaged_snapshot_is_cleaned_line_by_line(run: Path) -> None:
    path = run / LABEL / "rankings.jsonl"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first[:-30] + b"\xff\n" + b"".join(rest))
    withdraw(run)
    others = [one for one in rankings() if one.labeler_id != "ada"]
    assert path.read_bytes() == b"".join(line(one.to_json()) for one in others)


def test_mistakes_are_one_sentence(run: Path, tmp_path: Path) -> None:
    store = str(run / "rankings.db")
    for words, why in (
        (["adda", "--store", store], "no labeler 'adda'"),
        (["ada", "--store", store, "--runs", str(tmp_path / "none")], "no run at"),
        (["ada", "--store", str(tmp_path / "none.db")], "none.db"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=why):
            CliRunner().invoke(app, ["withdraw", *words, "--yes"], catch_exceptions=False)
    asked = CliRunner().invoke(app, ["withdraw", "ada", "--store", store], input="n\n")
    assert asked.exit_code == 2
    assert REASON.encode() in bytes_of(run)
    said = CliRunner().invoke(app, ["withdraw", "ada", "--store", store, "--yes"])
    assert said.exit_code == 0, said.output
    told = " ".join(said.output.split())
    assert "5 answers emptied" in told
    assert "does sft, sample, label, preferences, reward" in told


def test_somebody_elses_row_stays_also_where_they_wrote_the_same() -> None:
    ours, bobs = rankings()[0].to_json(), {**rankings()[1].to_json(), "rationale": REASON}
    ada = Belongings("ada", frozenset([ours["id"]]), frozenset([REASON, SHORT]))
    assert ada.without_lines(line(ours) + line(bobs)) == line(bobs)
    assert ada.without({"rankings": [ours, bobs], "note": f"said {REASON}, {SHORT}"}) == {
        "rankings": [bobs],
        "note": f"said [withdrawn], {SHORT}",
    }
    stranger = Belongings("ada", frozenset(), frozenset(), known_by_name=False)
    weights = {"weights": {"ada": 1.0}, "held_out": ["ada"], "by_labeler": [{"name": "ada"}]}
    assert stranger.without(weights) == weights
    assert ada.without(weights) == {"weights": {}, "held_out": [], "by_labeler": []}
    assert ada.without({"labels": {"ada": 1}, "name": "ada"}) == {
        "labels": {"ada": 1},
        "name": "ada",
    }
