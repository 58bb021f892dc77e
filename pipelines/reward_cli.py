"""The `rlhf reward` commands. Starts without torch: a command imports what it needs as it runs."""

from pathlib import Path
from typing import Annotated

import typer

reward_app = typer.Typer(help="About a reward model.", no_args_is_help=True)

RewardModel = Annotated[
    Path,
    typer.Option(
        "--model",
        metavar="RUN_OR_FOLDER",
        help="A run (its reward model), or the folder of a model or adapter.",
    ),
]


@reward_app.command("score")
def reward_score(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="JSON Lines: `prompt` and `response` or `responses`."),
    ],
    model: RewardModel,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to write; else printed.")
    ] = None,
    members: Annotated[
        bool, typer.Option("--members", help="What each member of an ensemble says, too.")
    ] = False,
    max_bad: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Fail where more than this share of the rows cannot be scored."
        ),
    ] = 0.1,
) -> None:
    """Score responses: each row comes out with its reward."""
    from pipelines.commands.reward import score_command

    score_command(file, model, to=to, members=members, max_bad=max_bad)


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
