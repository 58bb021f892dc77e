"""What the runner tells the mirror of a stage: alerts, the best policy, and how it ended."""

from pathlib import Path
from typing import Any

import pytest

import pipelines.runner
from pipelines.config import RunConfig
from pipelines.runner import Run
from pipelines.stage import Stage, WaitingForPeopleError, Work
from rlhf.data.identity import Json
from rlhf.tracking.alerts import Alert
from rlhf.tracking.run_folder import StageFolder


class Told:
    """A mirror that only remembers."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.alerts: list[Alert] = []
        self.outputs: list[Json] = []
        self.ended: list[tuple[Json, int]] = []

    def log(self, numbers: Json, step: int | None = None) -> None: ...

    def table(self, name: str, rows: Any, step: int | None = None) -> None: ...

    def alert(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def output(self, name: str, kind: str, folder: Path, **about: Any) -> None:
        self.outputs.append({"name": name, "kind": kind, **about})

    def finish(self, summary: Json, exit_code: int = 0) -> None:
        self.ended.append((summary, exit_code))


def told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, work: Any, kind: str = "dataset"
) -> Told:
    told = Told(name)
    monkeypatch.setattr(pipelines.runner, "open_mirror", lambda *_, **__: told)
    stage = Stage(name, name, (), 1, lambda _: {}, work, kind=kind)
    run = Run(RunConfig(name="quick", runs_dir=str(tmp_path)))
    try:
        run._run(stage, StageFolder(run.folder / name), "f00", {})
    except (FloatingPointError, WaitingForPeopleError, KeyboardInterrupt):
        assert told.ended == [({}, 1)]
    return told


def test_a_report_tells_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = {"bytes": 4000, "verdict": "do not ship", "headline": "dpo is no better than SFT."}
    told = told_of(tmp_path, monkeypatch, "report", lambda _: result, "report")
    assert told.alerts == [Alert("verdict: do not ship", "dpo is no better than SFT.", "ERROR")]


def test_an_evaluation_marks_the_best_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"verdict": "do not ship", "best": "dpo", "judge": "built-in"}
    told = told_of(tmp_path, monkeypatch, "evaluate", lambda _: result, "evaluation")
    assert told.alerts == []
    (made,) = told.outputs
    assert (made["name"], made["kind"], made["best"]) == ("evaluate", "evaluation", "dpo")
    assert told.ended == [(result, 0)]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            FloatingPointError("loss is nan"),
            [Alert("ppo: stopped", "FloatingPointError: loss is nan", "ERROR")],
        ),
        (
            WaitingForPeopleError("3 are there"),
            [Alert("ppo: waits for people", "3 are there", "INFO")],
        ),
        (KeyboardInterrupt(), []),
    ],
)
def test_a_stage_that_stops_tells_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, expected: list[Alert]
) -> None:
    def work(work: Work) -> Json:
        work.alert(Alert("ppo: alarm", "It repeats itself."))
        raise error

    told = told_of(tmp_path, monkeypatch, "ppo", work)
    assert told.alerts == [Alert("ppo: alarm", "It repeats itself."), *expected]
    assert told.outputs == []
