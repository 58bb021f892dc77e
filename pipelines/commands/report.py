"""`rlhf report`: the page of one run, or a page that compares several."""

import webbrowser
from pathlib import Path

import typer

from pipelines.commands.status import run_folder


def report_command(runs: list[Path], *, out: Path | None, show: bool, personal: bool) -> None:
    """Writes the page, says where it is, and opens it where asked."""
    if out is not None and out.is_dir():
        raise ValueError(f"{out} is a folder: give --out the name of a file")
    folders = [run_folder(run) for run in runs]
    if len(folders) == 1:
        from rlhf.reporting.report import write_report

        page = write_report(folders[0], out or folders[0] / "report.html", personal=personal)
    else:
        from rlhf.reporting.comparison import write_comparison

        page = write_comparison(folders, out or Path("comparison.html"))
    typer.echo(f"{page} ({page.stat().st_size:,} bytes)")
    if show:
        webbrowser.open(page.resolve().as_uri())
