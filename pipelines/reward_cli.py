"""The `rlhf reward` commands. Starts without torch: a command imports what it needs as it runs."""

from pathlib import Path
from typing import Annotated

import typer

reward_app = typer.Typer(help="About a reward model.", no_args_is_help=True)


@reward_app.command("certify")
def reward_certify(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_CONFIG", help="A run's folder or name, or its YAML file."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Overrides of the config."),
    ] = None,
) -> None:
    """Say whether a run's reward model is good enough, and why: 0 fit for RL, 4 not."""
    from pipelines.commands.certify import certify_command

    raise typer.Exit(certify_command(run, overrides or []))
