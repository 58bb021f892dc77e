"""What is seen on held-out prompts while a policy trains, shown as soon as it is seen."""

from collections.abc import Callable
from pathlib import Path

from pipelines.stage import Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_jsonl
from rlhf.tracking.alerts import alarms_of

HELD_OUT = "held_out/"


def watched(work: Work, checkpoints: str) -> Callable[[Json], None]:
    """`work.log`, which beside each row of held-out figures shows the samples that they were taken
    from, as a table at the same step, and sends what is alarming as alerts.

    The trainer writes the samples of all evaluations into its folder of checkpoints before it logs
    the figures. A resumed training logs its rows from the first on, so that the n-th row is that of
    the n-th evaluation.
    """
    history: list[Json] = []
    shown: dict[int, list[Json]] = {}  # the last step has two: before its update, and at the end

    def log(numbers: Json) -> None:
        work.log(numbers)
        seen = {name: value for name, value in numbers.items() if name.startswith(HELD_OUT)}
        if not seen:
            return
        from rlhf.policy.held_out import alarms
        from rlhf.policy.ppo import SAMPLES

        rows = _of_evaluation(work.folder / checkpoints / SAMPLES, len(history))
        history.append({"episode": rows[0]["episode"] if rows else numbers["step"], **seen})
        if rows:
            together = shown.setdefault(numbers["step"], [])
            together += rows
            work.table("samples", together, numbers["step"])
        if len(history) > 1:
            for alert in alarms_of(work.folder.parent.name, alarms(history)):
                work.alert(alert)

    return log


def _of_evaluation(samples: Path, number: int) -> list[Json]:
    """The samples of one evaluation, counted from 0; none where they are not there."""
    rows = list(read_jsonl(samples)) if samples.exists() else []
    episodes = sorted({int(row["episode"]) for row in rows})
    if number >= len(episodes):
        return []
    return [row for row in rows if row["episode"] == episodes[number]]
