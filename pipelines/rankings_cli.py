"""People's rankings: `rlhf import`, `agreement` and `withdraw`."""

from pathlib import Path
from typing import Annotated

import typer


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Preferences of other people.")],
    into: Annotated[str, typer.Option("--into", metavar="STORE", help="A path or database URL.")],
    form: Annotated[
        str | None, typer.Option("--format", help="The format, where it is not to be guessed.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(help="Name of the campaign; the file's name by default.")
    ] = None,
) -> None:
    """Read preferences from a file into a store of rankings, and report every row."""
    from pipelines.commands.importing import import_command

    import_command(file, into, form=form, campaign=campaign)


def agreement(
    source: Annotated[
        str,
        typer.Argument(
            metavar="STORE|FILE",
            help="A path or database URL of rankings; or a .json or .jsonl file with a column "
            "for each annotator, or of our rankings.",
        ),
    ],
    campaign: Annotated[
        str | None, typer.Option(help="Which campaign of a store, where there are several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """How far labelers agree: with and without ties, beyond chance, and each of them."""
    from pipelines.commands.agreement import agreement_command

    agreement_command(source, campaign=campaign, as_json=as_json)


def withdraw(
    labeler: Annotated[str, typer.Argument(metavar="LABELER", help="The pseudonym.")],
    store: Annotated[
        str, typer.Option(metavar="STORE", envvar="RLHF_STORE", help="A path or database URL.")
    ],
    runs: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="A run, or a folder of runs; may be given again."),
    ] = None,
    by_name: Annotated[
        bool, typer.Option("--by-name", help="Also rows that the store does not know.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Delete what a person said from a store and from runs, and name what was made from it."""
    from pipelines.commands.withdraw import withdraw_command

    code = withdraw_command(
        labeler,
        store,
        runs=runs or [],
        by_name=by_name,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )
    raise typer.Exit(code)
