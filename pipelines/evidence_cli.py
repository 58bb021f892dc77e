"""What a run shows: `rlhf verdict`, `power`, `report`, `suspicious` and `lineage`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.arguments import RunFolder


def verdict(
    folder: RunFolder,
    policy: Annotated[
        str | None, typer.Option(help="dpo, ppo, rloo or rejection; the best by default.")
    ] = None,
    gate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rules of your own, as in gate.yaml.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Ship, do not ship (exit code 3), or not enough evidence yet (4), and why."""
    from pipelines.commands.verdict import verdict_command

    raise typer.Exit(verdict_command(folder, policy=policy, gate=gate, as_json=as_json))


def power(
    rate: Annotated[
        float | None, typer.Option(help="The win rate to tell; with --from that run's.")
    ] = None,
    against: Annotated[float, typer.Option(help="The win rate to tell it from.")] = 0.5,
    chance: Annotated[float, typer.Option("--power", help="How surely to find it.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="How often to be wrong where there is none.")] = 0.05,
    run: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Count what this run has.")
    ] = None,
) -> None:
    """How many more judgements it takes to tell a win rate from one half."""
    from pipelines.commands.power import power_command

    power_command(rate, against=against, power=chance, alpha=alpha, run=run)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="A run's folder, or its name under runs/."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where to write; RUN/report.html or comparison.html by default."
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    personal: Annotated[
        bool,
        typer.Option("--personal", help="Show samples as they are, with personal data in them."),
    ] = False,
) -> None:
    """Write the page of a run; or, of several, one that compares them."""
    from pipelines.commands.report import report_command

    report_command(runs, out=out, show=show, personal=personal)


def suspicious(
    folder: RunFolder,
    queue: Annotated[
        bool, typer.Option("--queue", help="Let people judge them: a campaign of the store.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Queue there, not in the run's own store."),
    ] = None,
    most: Annotated[int, typer.Option(help="How many to list.", min=1)] = 20,
) -> None:
    """Answers of trained policies that rules object to: gamed, too long, repeating, copying."""
    from pipelines.commands.suspicious import suspicious_command

    suspicious_command(folder, queue=queue, store=store, most=most)


def lineage(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A weight file, a model, a stage or a report in a run folder; a run with the "
            "options.",
        ),
    ],
    ranking: Annotated[str | None, typer.Option(help="Begin at this ranking of the run.")] = None,
    labeler: Annotated[str | None, typer.Option(help="Begin at this labeler's votes.")] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Where to look for a file that lies in no run."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Back to every ranking and labeler behind something, and on to all that was made from it."""
    from pipelines.commands.lineage import lineage_command

    code = lineage_command(path, ranking=ranking, labeler=labeler, runs=runs or [], as_json=as_json)
    raise typer.Exit(code)
