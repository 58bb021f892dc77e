"""The `rlhf store` commands. Starts without torch; a command imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

store_app = typer.Typer(help="About a store of rankings.", no_args_is_help=True)

StoreAddress = Annotated[
    str,
    typer.Argument(metavar="STORE", envvar="RLHF_STORE", help="A path, or a database URL."),
]


@store_app.command("backup")
def store_backup(
    store: StoreAddress,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="A file that is not there yet.")],
) -> None:
    """Copy a store into one SQLite file, while people work in it."""
    from pipelines.commands.store import backup_command

    raise typer.Exit(backup_command(store, to))


@store_app.command("migrate")
def store_migrate(
    store: StoreAddress,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="An empty database, or a path.")],
) -> None:
    """Copy a store into another database: from SQLite to PostgreSQL, or back."""
    from pipelines.commands.store import migrate_command

    raise typer.Exit(migrate_command(store, to))


@store_app.command("upgrade")
def store_upgrade(store: StoreAddress) -> None:
    """Bring a store to the newest version, with a backup beside it."""
    from pipelines.commands.store import upgrade_command

    raise typer.Exit(upgrade_command(store))


@store_app.command("verify")
def store_verify(store: StoreAddress) -> None:
    """Check that a store holds what was saved in it; 1 where it does not."""
    from pipelines.commands.store import verify_command

    raise typer.Exit(verify_command(store))


@store_app.command("export")
def store_export(
    store: StoreAddress,
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help="What is to be written.")],
    campaign: Annotated[
        str | None, typer.Option(help="Which campaign, where there are several.")
    ] = None,
    form: Annotated[
        Literal["rankings", "preferences", "datasets"],
        typer.Option(
            "--as", help="A folder that holds all; TRL's rows; a folder for Hugging Face datasets."
        ),
    ] = "rankings",
    plain: Annotated[
        bool, typer.Option("--plain", help="Preferences as texts, not as messages.")
    ] = False,
) -> None:
    """Write a campaign to files, and say what they leave out."""
    from pipelines.commands.store import export_command

    raise typer.Exit(export_command(store, to, campaign=campaign, form=form, plain=plain))


@store_app.command("import")
def store_import(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `export` wrote.")],
    into: Annotated[
        str,
        typer.Option("--into", metavar="STORE", envvar="RLHF_STORE", help="A path or URL."),
    ],
    campaign: Annotated[str | None, typer.Option(help="Another name for the campaign.")] = None,
) -> None:
    """Take in a campaign that `rlhf store export` wrote."""
    from pipelines.commands.store import import_command

    raise typer.Exit(import_command(folder, into, campaign=campaign))


@store_app.command("withdraw")
def store_withdraw(
    store: StoreAddress,
    labeler: Annotated[str, typer.Option("--labeler", help="The pseudonym.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete all that a labeler said: they take their consent back."""
    from pipelines.commands.store import withdraw_command

    raise typer.Exit(withdraw_command(store, labeler, yes=yes))
