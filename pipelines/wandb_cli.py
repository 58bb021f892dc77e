"""The `rlhf wandb` commands; starts without torch, pydantic and W&B."""

from pathlib import Path
from typing import Annotated

import typer

wandb_app = typer.Typer(help="A run in W&B.", no_args_is_help=True)


@wandb_app.callback()
def about() -> None:
    """A run in W&B."""


@wandb_app.command()
def workspace(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="A run's folder, or its name under runs/."),
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="The W&B project; that of the run by default.")
    ] = None,
    entity: Annotated[
        str | None, typer.Option(help="The team or user that owns it; yours by default.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the specification; send nothing.")
    ] = False,
) -> None:
    """Lay out the panels of a run, or with --project alone of all runs in a W&B project."""
    from pipelines.commands.wandb import workspace_command

    workspace_command(folder, project=project, entity=entity, as_json=as_json)
