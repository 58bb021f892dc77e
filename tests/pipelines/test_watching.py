"""Held-out figures are shown with their samples while a policy trains."""

from pathlib import Path

from pipelines.config import RunConfig
from pipelines.stage import Work
from pipelines.watching import watched
from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.tracking.alerts import Alert
from rlhf.tracking.mirror import mirrored_name

FIGURES = {
    "held_out/reward": 0.5,
    "held_out/tokens": 20.0,
    "held_out/entropy": 1.0,
    "held_out/repetition": 0.1,
    "held_out/finished": 0.9,
}


def test_every_evaluation_is_a_table_at_its_step_and_alarms_are_alerts(tmp_path: Path) -> None:
    folder = tmp_path / "ppo" / "f00"
    rows: list[Json] = []
    tables: list[tuple[str, list[Json], int | None]] = []
    alerts: list[Alert] = []
    work = Work(
        RunConfig(name="quick"),
        folder,
        {},
        rows.append,
        lambda *_: None,
        lambda name, given, step=None: tables.append((name, [dict(row) for row in given], step)),
        alerts.append,
    )
    log = watched(work, "checkpoints")
    samples = [
        {"episode": episode, "score": score} for episode in (0, 64, 96) for score in (1.0, 2.0)
    ]
    write_jsonl(folder / "checkpoints" / "samples.jsonl", samples[:2])
    log({"step": 0, **FIGURES})
    log({"step": 1, "loss": 0.5})
    write_jsonl(folder / "checkpoints" / "samples.jsonl", samples)
    log({"step": 8, "loss": 0.4, **FIGURES, "held_out/tokens": 31.0})
    log({"step": 8, **FIGURES})
    # Without samples (a checkpoint that somebody moved away) figures and alarms go on.
    log({"step": 16, **FIGURES})

    assert [row["step"] for row in rows] == [0, 1, 8, 8, 16]
    assert tables == [
        ("samples", samples[:2], 0),
        ("samples", samples[2:4], 8),
        ("samples", samples[2:], 8),
    ]
    assert alerts == [
        Alert(
            "ppo: alarm",
            "The policy writes longer: tokens went from 20.00 to 31.00 on held-out prompts.",
            "WARN",
        )
    ]


def test_figures_of_different_stages_have_names_of_their_own_in_wandb() -> None:
    assert [mirrored_name("sft", name) for name in ("loss", "objective/kl")] == [
        "sft/loss",
        "objective/kl",
    ]
