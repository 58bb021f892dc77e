"""`rlhf status`, `rlhf clean`, `rlhf sync`: what a run holds, and what to do with it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.markup import escape
from rich.table import Table

from pipelines.console import headline, make_console
from pipelines.graph import STAGES
from rlhf.data.jsonl import read_json
from rlhf.tracking.run_folder import MARKER, StageFolder, owned, read_completion


def run_folder(folder: Path) -> Path:
    """The run's folder, given as a path or as a name under `runs/`; ValueError where there is
    none.
    """
    for candidate in (folder, Path("runs") / folder):
        if any(candidate.glob("round-*")):
            return candidate
    also = "" if folder.is_absolute() else f" (nor at {Path('runs') / folder})"
    raise ValueError(f"no run at {folder}{also}")


def status_command(folder: Path) -> None:
    """Prints a line per stage."""
    found = run_folder(folder)
    console = make_console()
    summary = read_json(found / "summary.json") if (found / "summary.json").exists() else {}
    for round_folder in sorted(found.glob("round-*")):
        left_out = summary.get("left_out", {}) if summary.get("round") == round_folder.name else {}
        table = Table(title=escape(f"{found}, {round_folder.name}"), title_justify="left")
        for column in ("stage", "state", "finished", "seconds", "MB", "says"):
            table.add_column(column, justify="right" if column in {"seconds", "MB"} else "left")
        for stage in STAGES:
            state = _state(StageFolder(round_folder / stage.name), stage.name)
            if stage.name in left_out:
                state = ("left out", "", "", "", left_out[stage.name])
            table.add_row(stage.name, *map(escape, state))
        console.print(table)


def _state(folder: StageFolder, name: str) -> tuple[str, ...]:
    current = folder.current()
    done = None if current is None else folder.completion(current.name)
    if done is None:
        if current is not None and read_completion(current) is not None:
            return ("redacted", "", "", "", "somebody withdrew what they had said")
        begun = any(folder.root.glob("*/config.json"))
        return ("cut short" if begun else "-", "", "", "", "")
    others = len(folder.completed()) - 1
    state = "complete" + (f" (+{others} other)" if others else "")
    when = done.finished_at[:19].replace("T", " ")
    size = f"{done.size_bytes / 1e6:.1f}"
    return state, when, f"{done.seconds:.1f}", size, headline(name, done.result)


def clean_command(folder: Path, *, yes: bool) -> None:
    """Removes what the run does not use; says what, and asks first."""
    found = run_folder(folder)
    with owned(found):
        unused = list(_unused(found))
        if not unused:
            typer.echo("Nothing to remove: every folder is in use.")
            return
        size = sum(
            file.stat().st_size for path in unused for file in path.rglob("*") if file.is_file()
        )
        for path in unused:
            why = "another config's" if (path / MARKER).exists() else "cut short"
            typer.echo(f"  {path.relative_to(found)} ({why})")
        if not yes:
            typer.confirm(f"Remove these {len(unused)} folders, {size / 1e6:.1f} MB?", abort=True)
        for path in unused:
            shutil.rmtree(path)
    typer.echo(f"Removed {len(unused)} folders, {size / 1e6:.1f} MB.")


def _unused(found: Path) -> Iterator[Path]:
    for root in sorted(found.glob("round-*/*")):
        current = StageFolder(root).current()
        for path in sorted(root.iterdir()) if root.is_dir() else []:
            if (
                path.is_dir()
                and not path.is_symlink()
                and path != current
                and path.resolve() != current
            ):
                yield path


def sync_command(folder: Path) -> None:
    """Uploads, and says what was left and why."""
    from rlhf.tracking.sync import sync

    report = sync(run_folder(folder))
    typer.echo(f"{len(report.uploaded)} uploaded, {len(report.before)} were there already")
    for left in report.left:
        typer.echo(f"  left: {left.folder} ({left.reason})")
