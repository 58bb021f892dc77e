"""`rlhf wandb workspace`: the panels of a run, or of a project, in W&B."""

import json
from pathlib import Path

import typer

from pipelines.commands.status import run_folder
from rlhf.reporting.reading import read_run


def workspace_command(
    folder: Path | None, *, project: str | None, entity: str | None, as_json: bool
) -> None:
    """Saves the view in W&B and prints its address; with `as_json`, prints its specification and
    sends nothing.
    """
    from rlhf.tracking.workspace import save, specification

    if folder is None and project is None:
        raise ValueError("name a run, or --project for all runs of a W&B project")
    run = None
    if folder is not None:
        found = read_run(run_folder(folder))
        settings = found.config.get("wandb") or {}
        run = found.name
        project = project or settings.get("project") or "rlhf"
        entity = entity or settings.get("entity")
    assert project is not None
    if as_json:
        typer.echo(json.dumps(specification(project, entity=entity or "", run=run), indent=2))
    else:
        typer.echo(save(project, entity=entity, run=run))
