"""The report's sections on probes and on training against held-out data."""

from pathlib import Path

import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined
from run_by_hand import CONFIG, METRICS, measured, results, write_run, write_stage

from rlhf.data.identity import Json
from rlhf.data.jsonl import write_json, write_jsonl
from rlhf.reporting.curves import curves_of, log_loss, tail
from rlhf.reporting.generalisation import generalisation_of, generalisation_plot
from rlhf.reporting.lineage import missing
from rlhf.reporting.probes import probes_of
from rlhf.reporting.reading import RunRecord, read_run
from rlhf.reporting.report import render


def check(value: float, verdict: str = "ok", *, unit: str = "share", sure: bool = True) -> Json:
    return {
        "value": value,
        "low": value - 0.1,
        "high": value + 0.1,
        "count": 20,
        "title": "harmful requests answered",
        "unit": unit,
        "verdict": verdict,
        "sure": sure,
        "why": "A tenth is two of the twenty.",
        "says": f"DPO answers {100 * value:.0f} % of the harmful requests (-5 % to 9 %).",
    }


def found(verdict: str = "ok", *, sure: bool = True) -> Json:
    row = {**check(0.2, verdict, sure=sure), "check": "answered"}
    row["checks"] = {"answered": check(0.2, verdict, sure=sure)}
    one = {
        "title": "Harmful requests and refusals",
        "policy": {"dpo": row},
        "worst": "dpo",
        "verdict": verdict,
        "details": {},
    }
    slices = {
        **one,
        "verdict": "ok",
        "policy": {},
        "details": {
            "dpo": {
                "slices": [
                    {"slice": "task: tips", "prompts": 30, "value": 0.7, "low": 0.5, "high": 0.8}
                ]
            }
        },
    }
    return {"safety": one, "slices": slices}


def write_probes(folder: Path, probes: Json, accuracy: Json | None = None) -> RunRecord:
    """A run with a probe stage that read its evaluation."""
    details = {"dpo": {"accuracy": accuracy or {}, "held_out": "test"}}
    nats = {"sft": {"split": "test", "nats_per_token": 0.5}}
    empty = {"title": "", "policy": {}, "verdict": "ok"}
    stage = folder / "round-1/probe/aaa"
    contamination = {"prompts": 3, "overlapping": 1, "share": 0.33, "says": "1 of 3 % -4."}
    result = {"probes": probes, "skipped": {"bias": "no names"}, "contamination": contamination}
    write_json(stage / "complete.json", _marker(result))
    inputs = {"evaluate": {"path": "round-1/evaluate/aaa", "sha256": "0"}}
    write_json(stage / "inputs.json", {"stages": inputs, "outside": {}})
    write_json(stage / "environment.json", {})
    kept = {
        **probes,
        "overfitting": {**empty, "details": details},
        "regression": {**empty, "details": nats},
    }
    write_json(stage / "probes.json", {"probes": kept, "skipped": {}})
    example = {"prompt": "Who?", "covered": 0.9, "near_duplicate_of": "Who!"}
    write_json(stage / "contamination.json", {**contamination, "examples": [example]})
    (stage.parent / "current").symlink_to("aaa")
    return read_run(folder)


def _marker(result: Json) -> Json:
    return {
        "fingerprint": "aaa",
        "digest": "0",
        "seconds": 5.0,
        "size_bytes": 1000,
        "finished_at": "2026-11-23T23:12:51.000+00:00",
        "result": result,
    }


def section(name: str, **content: object) -> str:
    """A section of the page, without the rest of it."""
    environment = Environment(
        loader=PackageLoader("rlhf.reporting"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(f"_{name}.html").render(**content)


def test_a_probe_that_fails_is_said_first(tmp_path: Path) -> None:
    run = write_probes(write_run(tmp_path / "small"), found("fail"))
    made = probes_of(run)
    assert made is not None
    assert made.headline == "2 probes: Harmful requests and refusals fails."
    assert made.warnings == (
        "DPO answers 20\u202f% of the harmful requests (\u22125\u202f% to 9\u202f%).",
    )
    html = section("probes", probes=made)
    assert '<span class="mark failed">fail</span>' in html
    assert "20\u202f%<span" in html
    assert "DPO, task: tips" in html
    assert "Not asked: bias: no names." in html
    assert "1 of 3\u202f% \u22124." in html
    assert "Who? (90\u202f% of its words are shared; nearly: Who!)" in html


def test_prompts_that_overlap_are_shown_without_personal_data(tmp_path: Path) -> None:
    run = write_probes(write_run(tmp_path / "small"), found())
    path = tmp_path / "small/round-1/probe/aaa/contamination.json"
    near = "Tell ada@example.org that I am late"
    write_json(
        path,
        {
            "examples": [
                {
                    "prompt": "Call +44 20 7946 0958 for me",
                    "covered": 0.9,
                    "near_duplicate_of": near,
                }
            ]
        },
    )
    page = render(run)
    assert "Call [phone] for me (90\u202f% of its words are shared; nearly: Tell [email]" in page
    assert near in render(run, personal=True)


def test_what_is_fine_and_what_is_only_not_found_are_told_apart(tmp_path: Path) -> None:
    fine = probes_of(write_probes(write_run(tmp_path / "a"), found()))
    rough = probes_of(write_probes(write_run(tmp_path / "b"), found(sure=False)))
    assert fine is not None
    assert rough is not None
    assert fine.headline == "2 probes: none found anything beyond its bounds."
    assert rough.headline.endswith(
        "1 figure of 1 is known too roughly to rule worse out (marked ~)."
    )
    cell = rough.rows[0].cells[0]
    assert cell is not None
    assert (cell.verdict, cell.mark) == ("~", "")


def test_a_run_without_probes_says_nothing_of_them(tmp_path: Path) -> None:
    assert probes_of(read_run(write_run(tmp_path / "small"))) is None


@pytest.mark.slow
def test_both_sections_stand_on_the_page(tmp_path: Path) -> None:
    html = render(write_probes(write_run(tmp_path / "small"), found()))
    assert 'id="probes"' in html
    assert 'id="generalisation"' in html


def test_the_probe_stage_belongs_to_the_evaluation_that_it_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "small")
    write_stage(folder, "evaluate", results()["evaluate"], "bbb", results())
    rows = folder / "round-1/evaluate/bbb/answers.jsonl"
    write_jsonl(rows, [])
    assert "probe" not in write_probes(folder, found()).stages  # read aaa; bbb is in use


def by_name(run: RunRecord) -> dict[str, float | None]:
    return {one.model: one.gap for one in curves_of(run)}


def test_every_model_stands_beside_its_held_out_figures(tmp_path: Path) -> None:
    accuracy = {"train": 0.9, "validation": 0.8, "test": 0.75}
    run = write_probes(write_run(tmp_path / "small"), found(), accuracy)
    # SFT logged 0.35 and 0.30, and loses 0.5 on the test; PPO scored 0.2 and 0.4, and 0.5 there
    gaps = by_name(run)
    assert gaps["SFT"] == pytest.approx(0.2)
    assert gaps["reward model"] == pytest.approx(0.06)
    assert gaps["DPO"] == pytest.approx(0.15)
    assert gaps["PPO"] == pytest.approx(-0.1)
    made = generalisation_of(run)
    assert made is not None
    assert [(row.model, row.mark) for row in made.rows] == [
        ("SFT", "opened"),
        ("reward model", ""),
        ("DPO", "opened"),
        ("PPO", ""),
    ]
    assert made.rows[2].test == "75\u202f%"
    assert made.rows[2].gap == "15.0 points"
    assert made.sentences[0].startswith(
        "SFT loses 0.20 more a token on held-out demonstrations than on those it learned from: the "
        "gap opened. A tenth"
    )
    plot = generalisation_plot(run)
    assert plot is not None
    assert "SFT: 0.30 on training data, 0.50 held out" in plot.svg
    html = section("generalisation", generalisation=made, generalisation_plots=[plot])
    assert html.count('class="mark failed"') == 2
    assert html.count("<figure>") == 1


def test_no_gap_is_said_in_a_sentence(tmp_path: Path) -> None:
    made = generalisation_of(read_run(write_run(tmp_path / "small")))
    assert made is not None
    assert made.sentences == ("No gap opened beyond its bound, in SFT, reward model and PPO.",)


def test_a_gap_is_dated_by_the_first_look_after_which_it_never_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # training 0 to 2 by steps of ten; held out it stays at 0.4: a gap of more than 0.5 from step 5
    rows = [
        {"step": s, "objective/scores": 0.2 * s, "objective/kl": 1.0, "held_out/reward": 0.4}
        for s in range(1, 11)
    ]
    monkeypatch.setitem(METRICS, "ppo", rows)
    stages = results()
    stages["evaluate"]["policies"]["ppo"]["proxy_reward"] = 0.4
    made = generalisation_of(read_run(write_run(tmp_path / "small", stages)))
    assert made is not None
    # two steps make a fifth: at step 5 their mean is 0.9, at step 6 it is 1.1
    assert "the gap opened at step 6." in made.sentences[0]
    assert made.sentences[0].startswith("PPO scores 1.50 higher on the prompts it trains on")


def test_what_has_no_curves_is_said_to_have_none(tmp_path: Path) -> None:
    stages = {"rejection": {"chosen": 9}, **results()}
    made = generalisation_of(read_run(write_run(tmp_path / "small", stages)))
    assert made is not None
    assert made.sentences[-1].startswith("Rejection SFT is not here: it learns from samples of its")
    plain = generalisation_of(read_run(write_run(tmp_path / "plain")))
    assert plain is not None
    assert not any("Rejection" in one for one in plain.sentences)


def test_a_reward_that_leaves_its_monitor_behind_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {
            "step": s,
            "objective/scores": s / 5,
            "objective/kl": 1.0,
            "held_out/reward": s / 5,
            "held_out/monitor": min(s / 5, 0.6),
        }
        for s in (1, 3, 5, 7)
    ]
    monkeypatch.setitem(METRICS, "ppo", rows)
    stages = results()
    stages["evaluate"]["policies"]["ppo"]["proxy_reward"] = 1.4
    made = generalisation_of(read_run(write_run(tmp_path / "small", stages)))
    assert made is not None
    assert made.sentences[0].startswith("PPO's reward is 0.80 higher by the model that was climbed")
    assert "the gap opened at step 7." in made.sentences[0]


def test_the_log_loss_of_bins_is_that_of_their_votes() -> None:
    # 3 of 4 votes said yes where 0.8 was given: -(3 ln 0.8 + ln 0.2) / 4
    assert log_loss([[0.8, 0.75, 4]]) == pytest.approx(0.5697171, abs=1e-6)
    assert log_loss(measured(0.7, 0.6, 0.8)["bins"]) < 0.6931


def test_probing_is_missed_where_the_config_knows_it(tmp_path: Path) -> None:
    def said(name: str, probe: Json) -> list[str]:
        folder = write_run(tmp_path / name, config={**CONFIG, "probe": probe})
        return missing(read_run(folder))

    assert said("on", {"enabled": True}) == [
        "Probing is not complete in this run, and not on this page."
    ]
    assert said("off", {"enabled": False}) == ["Probing is turned off in the config."]


def test_the_end_of_a_training_is_the_mean_of_its_last_fifth() -> None:
    assert tail([9.0] * 8 + [1.0, 3.0]) == 2.0
    assert tail([5.0, float("nan")]) == 5.0
    assert tail([]) is None
