"""`rlhf store`: backing up, moving, checking and exporting a store of rankings."""

from pathlib import Path
from typing import Literal

import typer

from pipelines.faults import ExitCode
from rlhf.feedback import moving
from rlhf.feedback.restoring import restore
from rlhf.feedback.snapshot import write_snapshot
from rlhf.feedback.store import Campaign, Store
from rlhf.feedback.verifying import Verified

ExportForm = Literal["rankings", "preferences", "datasets"]


def backup_command(address: str, to: Path) -> int:
    """Copies a store into one SQLite file while others work in it."""
    verified = moving.backup(address, to)
    typer.echo(f"backed up to {to} ({to.stat().st_size:,} bytes)")
    return _report(verified)


def migrate_command(address: str, to: str) -> int:
    """Copies a store into an empty database."""
    moved = moving.migrate_store(address, to)
    rows = ", ".join(f"{count:,} {table}" for table, count in moved.rows.items() if count)
    typer.echo(f"copied to {moved.target}: {rows}")
    typer.echo("the store it came from is as it was: stop the app there, and start it on this one")
    return _report(moved.verified)


def upgrade_command(address: str) -> int:
    """Brings a store to the newest version."""
    done = moving.upgrade_store(address)
    if done.backup is not None:
        typer.echo(f"backed up to {done.backup}")
    if done.before == done.after:
        typer.echo(f"the store is at version {done.after}, the newest")
    else:
        typer.echo(f"upgraded from version {done.before} to {done.after}")
    return ExitCode.DONE


def verify_command(address: str) -> int:
    """Checks the log and the answers; 1 where something was found."""
    with _opened(address) as store:
        return _report(store.verify())


def _report(verified: Verified) -> int:
    for finding in verified.findings:
        typer.secho(finding, err=True, fg="red")
    if verified.findings:
        typer.echo("the store is not what was saved in it: keep it, and compare with a backup")
        return ExitCode.UNEXPECTED
    if verified.head:
        typer.echo(
            f"verified: {verified.entries:,} log entries, {verified.answers:,} answers, "
            f"{verified.withdrawn:,} withdrawn; the log ends at {verified.head}"
        )
    return ExitCode.DONE


def export_command(
    address: str, to: Path, *, campaign: str | None, form: ExportForm, plain: bool
) -> int:
    """Writes a campaign: whole, or as preferences, and says what is left out."""
    if plain and form == "rankings":
        raise ValueError("--plain goes with `--as preferences` or `--as datasets`")
    with _opened(address) as store:
        chosen = campaign_named(store, campaign)
        if form == "rankings":
            with store.database.reading() as db:
                written = write_snapshot(db, chosen, to)
            told = [f"{count:,} {name.split('.')[0]}" for name, count in written.rows.items()]
            lost = written.left_out
        else:
            from rlhf.feedback import training_export

            found = training_export.preferences_of(store, chosen, "plain" if plain else "messages")
            save = {
                "preferences": training_export.write_preferences,
                "datasets": training_export.write_dataset,
            }
            save[form](found, to)
            told, lost = [f"{len(found.rows):,} pairs"], found.lost
    typer.echo(f"campaign {chosen.name!r} to {to}: {', '.join(told)}")
    left = [f"{count:,} {what}" for what, count in lost.items() if count]
    if form == "rankings":
        left.append("drafts, accounts, consents and the log")
    typer.echo(f"left out: {', '.join(left) or 'nothing'}")
    return ExitCode.DONE


def import_command(folder: Path, into: str, *, campaign: str | None) -> int:
    """Takes in a campaign that `rlhf store export` wrote."""
    with Store(into) as store, store.database.writing() as db:
        made = restore(db, folder, campaign)
        rows = ", ".join(f"{count:,} {name.split('.')[0]}" for name, count in made.rows.items())
        name = store.database.name
    typer.echo(f"campaign {made.campaign!r} in {name}: {rows}")
    return ExitCode.DONE


def withdraw_command(address: str, labeler: str, *, yes: bool) -> int:
    """Deletes what a labeler said."""
    with _opened(address) as store:
        if not yes and not typer.confirm(
            f"Delete all that {labeler} said, for good? Exports and backups are not changed."
        ):
            return ExitCode.MISTAKE
        done = store.withdraw(labeler)
        verified = store.verify()
    typer.echo(f"{labeler}: {done.answers:,} answers emptied, {done.drafts:,} drafts deleted")
    if not done.wiped:
        typer.echo(
            "the database is in use, so its files may still hold the deleted bytes: give the same "
            "command again when nobody works"
        )
    typer.echo("delete or replace older backups and exports: they still hold what was said")
    return _report(verified)


def _opened(address: str) -> Store:
    moving.check_there(address)
    return Store(address)


def campaign_named(store: Store, name: str | None) -> Campaign:
    """The campaign of this name, or the only one. Raises ValueError where that leaves a choice."""
    if name is not None:
        return store.campaign(name)
    held = store.campaigns()
    if len(held) != 1:
        known = ", ".join(campaign.name for campaign in held) or "none yet"
        raise ValueError(f"which campaign? Name it with --campaign (there: {known})")
    return held[0]
