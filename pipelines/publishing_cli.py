"""To others: `rlhf card`, `push`, `runs` and `sync`; start without torch, pydantic and W&B."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.arguments import RunFolder

Policy = Annotated[
    str | None, typer.Option(help="ppo, dpo, rloo, rejection or sft; the best by default.")
]
CardConfig = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="CONFIG", help="Whose card section counts; the run's by default."
    ),
]


def card(
    folder: RunFolder,
    policy: Policy = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to; RUN/cards by default.")
    ] = None,
    config: CardConfig = None,
) -> None:
    """Write the model card and the data card of a run, as the Hugging Face hub reads them."""
    from pipelines.commands.push import card_command

    card_command(folder, policy=policy, out=out, config=config)


def push(
    folder: RunFolder,
    to: Annotated[str, typer.Option(metavar="ORG/NAME", help="The repository on the hub.")],
    policy: Policy = None,
    private: Annotated[bool, typer.Option("--private", help="For you alone.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List files and sizes, and stop.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also where the verdict is not to ship.")
    ] = False,
    config: CardConfig = None,
) -> None:
    """Publish a policy with its cards on the Hugging Face hub."""
    from pipelines.commands.push import push_command

    code = push_command(
        folder,
        to=to,
        policy=policy,
        private=private,
        dry_run=dry_run,
        anyway=anyway,
        config=config,
    )
    raise typer.Exit(code)


def runs(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="A run, or a folder of runs; runs/ by default."),
    ] = None,
    stage: Annotated[str | None, typer.Option(help="That stage alone.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Print a list; open nothing.")] = False,
) -> None:
    """Open what was logged offline in W&B's terminal viewer; print a list where there is none."""
    from pipelines.commands.runs import runs_command

    runs_command(folder, stage=stage, listed=listed)


def sync(folder: RunFolder) -> None:
    """Upload a run's offline W&B logs."""
    from pipelines.commands.status import sync_command

    sync_command(folder)
