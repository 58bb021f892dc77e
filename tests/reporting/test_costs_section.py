"""What it cost, in words; and a damaged file of figures, which is named and breaks nothing."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from run_by_hand import plain, write_run

from pipelines.summary import write_summary
from rlhf.reporting.cautions import cautions_of
from rlhf.reporting.comparison import cost_table, named
from rlhf.reporting.costs import costs_section, energy, grams
from rlhf.reporting.reading import read_run
from rlhf.reporting.report import render
from rlhf.tracking.ledger import LEDGER, Spent
from rlhf.tracking.lineage import read_made


def entry(stage: str, seconds: float, outcome: str = "complete", **more: Any) -> Spent:
    place = f"round-1/{stage}/aaa"
    return Spent(stage, place, f"2026-11-23T{seconds}", outcome, seconds, **more)


def with_ledger(folder: Path, *entries: Spent) -> Path:
    run = write_run(folder / "small")
    lines = [json.dumps(asdict(one)) + "\n" for one in entries]
    (run / LEDGER).write_text("".join(lines))
    return run


def test_the_sentences_say_what_is_known(tmp_path: Path) -> None:
    watts: dict[str, Any] = {"energy": "assumed: 60 W", "currency": "EUR"}
    run = with_ledger(
        tmp_path,
        entry("label", 20.0, kwh=0.0004, labeler_minutes=90.0, labeler_money=45.0, **watts),
        entry("ppo", 40.0, "failed", kwh=0.0006, money=1.0, **watts),
        entry("ppo", 240.0, kwh=0.004, money=6.0, co2e_kg=0.002, **watts),
    )
    found = costs_section(read_run(run))
    assert found is not None
    assert [plain(one) for one in found.sentences] == [
        "All attempts at all stages took 5 min 0 s, 5 min 0 s of device time; 40 s of it went into "
        "attempts that came to nothing.",
        "Energy: 5.0 Wh (assumed: 60 W), 2.0 g of CO2e.",
        "Labelers took 90 min.",
        "Money: 7.00 EUR for devices and 45.00 EUR for labelers.",
        # Four rankings; DPO won 70 %.
        "For each accepted ranking: 1 min 15 s of device time, 1.2 Wh, 22.5 a labeler's minutes "
        "and 13.00 EUR.",
        "For each point of win rate above one half: 15 s of device time, 0.25 Wh, 4.5 a labeler's "
        "minutes and 2.60 EUR.",
    ]
    assert [(row.stage, row.attempts, plain(row.lost), row.money) for row in found.rows] == [
        ("label", "1", "–", "–"),
        ("ppo", "2", "40 s", "7.00"),
        ("all", "3", "40 s", "7.00"),
    ]
    page = render(read_run(run))
    assert '<h2 id="costs">What it cost</h2>' in page
    assert '<th scope="col">EUR</th>' in page


def test_runs_beside_one_another_show_what_their_ledgers_know(tmp_path: Path) -> None:
    watts: dict[str, Any] = {"energy": "assumed: 60 W", "currency": "EUR"}
    folders = [
        with_ledger(tmp_path / "a", entry("ppo", 240.0, kwh=0.004, money=6.0, **watts)),
        with_ledger(
            tmp_path / "b",
            entry("ppo", 40.0, "failed", kwh=0.0006, **watts),
            entry("ppo", 60.0, kwh=0.0014, **watts),
        ),
    ]
    runs = named([(folder, read_run(folder)) for folder in folders])
    rows = {row.name: [plain(cell.value) for cell in row.cells] for row in cost_table(runs)}
    assert rows == {
        "time of all stages": rows["time of all stages"],
        "lost in attempts that came to nothing": ["–", "40 s"],
        "energy": ["4.0 Wh", "2.0 Wh"],
        "machines and people, EUR": ["6.00", "–"],
        "rankings": ["4", "4"],
        "labeler hours": rows["labeler hours"],
    }


def test_small_figures_show_their_first_digits() -> None:
    assert [plain(energy(kwh)) for kwh in (8.68e-6, 0.0003, 0.0059, 2.5, 0.0)] == [
        "0.0087 Wh",
        "0.3 Wh",
        "5.9 Wh",
        "2.5 kWh",
        "0.0 Wh",
    ]
    assert [plain(grams(one)) for one in (3.5e-6, 0.02, 1.5, None)] == [
        "0.0035 g",
        "20.0 g",
        "1.5 kg",
        "–",
    ]


def test_what_is_not_known_is_not_invented(tmp_path: Path) -> None:
    clock: dict[str, Any] = {"labeler_minutes": 90.0, "simulated": True}
    run = with_ledger(tmp_path, entry("label", 9.0, energy="assumed: 60 W", kwh=1.5, **clock))
    found = costs_section(read_run(run))
    assert found is not None
    assert [plain(one) for one in found.sentences[1:4]] == [
        "Energy: 1.5 kWh (assumed: 60 W); its CO2e is not known: set ledger.grams_per_kwh, or "
        "ledger.country with CodeCarbon installed.",
        "The simulated labelers' clock shows 90 min, which cost nobody anything.",
        "What that is in money is not said: set ledger.device_hour and ledger.labeler_hour.",
    ]
    assert not found.priced
    page = render(read_run(run))
    assert '<th scope="col">EUR</th>' not in page
    assert costs_section(read_run(write_run(tmp_path / "none"))) is None


DAMAGE = {
    "cut": b'{"step": 2, "objective/scores": 0.2}\n{"step": 4, "objec',
    "junk": b'{"step": 2, "objective/scores": 0.2}\n\x00\xff\xfe\x80junk\n{"step": 4}\n',
    "not figures": b'[1, 2]\n"text"\n',
    "empty": b"",
    "nothing finite": b'{"step": 2, "objective/scores": NaN, "objective/kl": Infinity}\n',
}


@pytest.mark.parametrize("damage", [*DAMAGE, "missing"])
@pytest.mark.parametrize("stage", [pytest.param("dpo", marks=pytest.mark.slow), "ppo"])
def test_damaged_figures_break_nothing(tmp_path: Path, stage: str, damage: str) -> None:
    run = write_run(tmp_path / "small")
    path = run / "round-1" / stage / "aaa" / "metrics.jsonl"
    path.unlink()
    if damage != "missing":
        path.write_bytes(DAMAGE[damage])
    found = read_run(run)
    page = render(found)
    assert page.count("<section") >= 8
    said = [caution.text for caution in cautions_of(found)]
    wanted = {
        "cut": f"{stage}/metrics.jsonl could be read up to row 1 only",
        "junk": f"{stage}/metrics.jsonl could be read up to row 1 only",
        "not figures": f"{stage}/metrics.jsonl could be read up to row 0 only",
        "missing": f"{stage}/metrics.jsonl is missing.",
    }
    if damage in wanted:
        assert [one for one in said if one.startswith(wanted[damage])], said
        assert "A file of the run is damaged." in page
    else:
        assert said == []
    assert read_made(run).faults == ()
    done = {name: one.done for name, one in found.stages.items() if name != "certify"}
    summary = json.loads(write_summary(run, run / "round-1", done).read_text())
    assert summary["best"] == "dpo"
