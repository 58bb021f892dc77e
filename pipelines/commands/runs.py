"""`rlhf runs`: what was logged offline, in W&B's own terminal viewer; a list without a terminal."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.table import Table

from pipelines.console import make_console
from rlhf.tracking.viewing import LoggedRun, link_runs, logged_runs

RUNS = Path("runs")
NO_VIEWER = (
    "this W&B has no terminal viewer: pip install -U wandb (`wandb leet` is in 0.31 and later); "
    "`rlhf runs --list` goes without"
)


def runs_command(folder: Path | None, *, stage: str | None, listed: bool) -> None:
    """Opens the viewer on every W&B run of a run, or of all runs in a folder."""
    place = _place(folder)
    found = logged_runs(place, stage)
    if not found:
        of_stage = f" of the {stage} stage" if stage else ""
        raise ValueError(f"no W&B run{of_stage} in {place}: was wandb.enabled turned off?")
    if listed or not (sys.stdin.isatty() and sys.stdout.isatty()):
        _print(found)
    else:
        _view(found)


def _place(folder: Path | None) -> Path:
    """A run, given by its folder or its name under `runs/`, or a folder of runs."""
    for candidate in (folder or RUNS, RUNS / (folder or "")):
        if any(candidate.glob("round-*")) or any(candidate.glob("*/round-*")):
            return candidate
    raise ValueError(f"no run at {folder or RUNS}, nor below it")


def _print(found: Sequence[LoggedRun]) -> None:
    table = Table()
    for column in ("run", "round", "stage", "started", "state", "log"):
        table.add_column(column)
    for one in found:
        state = "complete" if one.complete else "cut short"
        day, _, clock = one.started_at.partition("_")
        started = f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:4]}"
        uploaded = ", uploaded" if one.uploaded else ""
        table.add_row(one.run, one.round, one.stage, started, state + uploaded, str(one.log.parent))
    make_console().print(table)
    typer.echo("In a terminal, `rlhf runs` opens them; `wandb leet LOG` opens one.")


def _view(found: Sequence[LoggedRun]) -> None:
    from rlhf.tracking.wandb_run import has_viewer

    if not has_viewer():
        raise ValueError(NO_VIEWER)
    with tempfile.TemporaryDirectory(prefix="rlhf-runs-") as scratch:
        place = found[0].log if len(found) == 1 else link_runs(found, Path(scratch) / "wandb")
        subprocess.run([sys.executable, "-m", "wandb", "leet", str(place)], check=False)
