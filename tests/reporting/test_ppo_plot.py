"""PPO's plot: what held-out prompts and the monitor said stands in it, and alarms beside it."""

from datetime import UTC, datetime
from pathlib import Path

from rlhf.data.identity import Json
from rlhf.reporting.reading import RunRecord, StageRecord
from rlhf.reporting.training_plots import ppo_plot
from rlhf.tracking.run_folder import Completion

ROWS: tuple[Json, ...] = tuple(
    {"step": s, "objective/scores": s / 10, "objective/kl": s / 5} for s in (2, 4, 6)
)
WATCHED = ({**ROWS[0], "held_out/reward": 0.2, "held_out/monitor": 0.1}, *ROWS[1:])


def run_with(rows: tuple[Json, ...], result: Json) -> RunRecord:
    at = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    done = Completion("f", "d", 1.0, 1, at, result)
    stage = StageRecord("ppo", Path(), done, {}, {}, rows)
    return RunRecord("r", "round-1", {"ppo": stage}, {}, (), (), ())


def test_the_monitor_stands_in_the_plot() -> None:
    plain = ppo_plot(run_with(ROWS, {}))
    watched = ppo_plot(run_with(WATCHED, {"alarms": ["the policy writes longer"]}))
    assert plain is not None
    assert watched is not None
    assert len(watched.svg) > len(plain.svg)  # two more kinds of marks, and a legend
    assert "At the end, the policy writes longer." in watched.caption
    assert "At the end" not in plain.caption
