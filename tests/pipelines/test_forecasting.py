"""What a run will take: from the newest earlier run of each stage, at the prices of now."""

import json
from dataclasses import asdict
from pathlib import Path

from pipelines.commands.run import _forecast
from pipelines.config import load_config, override_config
from pipelines.forecasting import Forecast, forecast
from pipelines.graph import STAGES
from pipelines.runner import Step
from pipelines.stage import Work
from pipelines.stages.label import _let_the_crew_work
from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Item, Store
from rlhf.tracking.ledger import LEDGER, Spent
from rlhf.tracking.run_folder import StageFolder

TINY = Path(__file__).parent / "tiny.yaml"
NEWER, OLDER = "2026-02-02T00:00:00+00:00", "2026-01-01T00:00:00+00:00"


def complete(run: Path, stage: str, seconds: float, at: str, kwh: float | None) -> None:
    folder = StageFolder(run / "round-1" / stage)
    (folder.begin("aaa") / "out.txt").write_text("x" * 1000)
    folder.complete("aaa", seconds=seconds, finished_at=at, result={})
    if kwh is not None:
        place = f"round-1/{stage}/aaa"
        spent = Spent(stage, place, at, "complete", seconds, devices=2, kwh=kwh)
        failed = Spent(stage, place, "earlier", "failed", 9999.0, kwh=9.0)
        with (run / LEDGER).open("a") as file:
            file.writelines(json.dumps(asdict(one)) + "\n" for one in (failed, spent))


def test_the_newest_run_of_each_stage_is_what_is_expected(tmp_path: Path) -> None:
    complete(tmp_path / "one", "sft", 100.0, OLDER, 0.5)
    complete(tmp_path / "two", "sft", 1800.0, NEWER, 0.25)
    complete(tmp_path / "one", "ppo", 60.0, OLDER, None)
    overrides = [f"runs_dir={tmp_path}", "name=new", "ledger.device_hour=3", "ledger.currency=CHF"]
    config = load_config(TINY, overrides)
    names = ("sft", "ppo", "dpo")
    steps = [Step(stage, None, None, "") for stage in STAGES if stage.name in names]
    took = forecast(config.folder, steps, config.ledger)
    # Half an hour of two devices at 3 CHF.
    assert took["sft"] == Forecast(1800.0, 1000, 0.25, 3.0)
    assert took["ppo"] == Forecast(60.0, 1000, None, None)
    assert _forecast(config, list(names), took) == (
        "Forecast: 1860 s, 0 MB, 0.25 kWh and 3.00 CHF for devices; no earlier run of dpo to go by"
        "; energy and money without ppo, which no ledger has"
    )
    free = override_config(config, ["ledger.device_hour=null"])
    took = forecast(free.folder, steps, free.ledger)
    assert _forecast(free, ["sft"], took) == "Forecast: 1800 s, 0 MB and 0.25 kWh"


def test_a_simulated_labeler_who_withdrew_is_not_asked_again(tmp_path: Path) -> None:
    crew = ["label.crew.careful=2", "label.crew.careless=0", "label.crew.hurried=0"]
    config = load_config(TINY, [f"runs_dir={tmp_path}", *crew])
    prompt = Prompt.of("My mirror arrived broken.", family="support")
    shown = tuple(Response.of(prompt.id, text) for text in ("Sorry.", "We will send a new one."))
    work = Work(config, tmp_path, {}, print, lambda *_: None, lambda *_: None)
    with Store(tmp_path / "rankings.db") as store:
        campaign = store.create_campaign("small")
        store.add_items(campaign, [Item(prompt, shown, 2)])
        _let_the_crew_work(work, store, "small")
        first, second = store.rankings(campaign)
        store.withdraw(first.labeler_id)
        _let_the_crew_work(work, store, "small")
        assert store.rankings(campaign) == [second]
