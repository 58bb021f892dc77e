"""The loop: `rlhf run`, `status`, `clean`, `label` and `chat`; start without torch."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.arguments import ConfigFile, Overrides, RunFolder


def run(
    config: ConfigFile,
    overrides: Overrides = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", help="Do this stage and those after it again, beside what is there."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the config and what would run, and stop.")
    ] = False,
) -> None:
    """Bring a run up to date: what is complete is kept, the rest is done."""
    from pipelines.commands.run import run_command

    code = run_command(config, overrides or [], until=until, begin=begin, dry_run=dry_run)
    raise typer.Exit(code)


def status(folder: RunFolder) -> None:
    """What a run has completed, when, and where it is."""
    from pipelines.commands.status import status_command

    status_command(folder)


def clean(
    folder: RunFolder,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove what a run no longer uses: attempts cut short, and what other configs wrote."""
    from pipelines.commands.status import clean_command

    clean_command(folder, yes=yes)


def label(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG]", help="The run's YAML file; not needed with --db."),
    ] = None,
    overrides: Overrides = None,
    mode: Annotated[
        str,
        typer.Option(
            help="With CONFIG: rank the responses, demonstrate (write answers for SFT), or "
            "evaluate (compare the trained policies with SFT, blind)."
        ),
    ] = "rank",
    labeler: Annotated[
        str | None, typer.Option(help="Who ranks; by default a pseudonym made from your login.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes a free one.")] = 7860,
    host: Annotated[
        str, typer.Option(help="Address to bind to; others than this machine need --accounts.")
    ] = "127.0.0.1",
    db: Annotated[
        str | None, typer.Option(metavar="STORE", help="A path or database URL of rankings.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(help="With --db alone: the campaign; else people choose.")
    ] = None,
    accounts: Annotated[bool, typer.Option("--accounts", help="People sign in.")] = False,
    public_url: Annotated[
        str | None, typer.Option(help="Where people find it, as https://rank.example.org.")
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address of a proxy whose X-Forwarded headers are believed."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open the pages where people answer: over a run's responses, or over a store."""
    from pipelines.commands.label import Place, label_command

    place = Place(host, port, accounts, public_url, tuple(proxy or ()), browser)
    label_command(
        config,
        overrides or [],
        db=db,
        campaign=campaign,
        mode=mode,
        labeler=labeler,
        place=place,
    )


def chat(
    folder: RunFolder,
    policy: Annotated[
        str, typer.Option(help="ppo, dpo, rloo, rejection or sft; the best by default.")
    ] = "best",
    compare: Annotated[str | None, typer.Option(help="A second policy to answer as well.")] = None,
) -> None:
    """Talk to a trained policy in the terminal."""
    from pipelines.commands.chat import chat_command

    chat_command(folder, policy=policy, compare=compare)
