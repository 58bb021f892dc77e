"""`rlhf import`: other people's preferences into a store of rankings."""

from pathlib import Path

import typer

from rlhf.data.importing import read_file
from rlhf.feedback.intake import save_import
from rlhf.feedback.store import Store


def import_command(file: Path, into: str, *, form: str | None, campaign: str | None) -> None:
    """Reads, saves, and reports every row: read, kept, dropped by reason."""
    imported = read_file(file, format=form)
    typer.echo(imported.summary())
    with Store(into) as store:
        report = save_import(store, campaign or file.name.split(".")[0], imported)
        name = store.database.name  # without the password of a URL
    typer.echo(
        f"campaign {report.campaign} in {name}: {report.items_added:,} items and "
        f"{report.rankings_added:,} rankings added, {report.already_there:,} were there"
    )
