"""`rlhf power`: how many more judgements it takes to tell a win rate from another."""

from pathlib import Path

import typer

from pipelines.commands.status import run_folder
from rlhf.evaluation.evidence import subject_of
from rlhf.evaluation.power import judgements_needed, rate_told
from rlhf.reporting.reading import read_run


def power_command(
    rate: float | None, *, against: float, power: float, alpha: float, run: Path | None
) -> None:
    """Prints the number. `run`: counts the comparisons that it has, and takes its win rate where no
    `rate` is given. Raises ValueError where there is neither.
    """
    held = 0
    if run is not None:
        record = read_run(run_folder(run))
        if not record.result("evaluate"):
            raise ValueError(f"{run} has compared no policies yet: give --rate without --from")
        subject = subject_of({name: record.result(name) for name in record.stages})
        held = subject.comparisons
        rate = subject.win_rate.value if rate is None else rate
    if rate is None:
        raise ValueError("which win rate? Give --rate 0.6, or --from RUN")
    needed = judgements_needed(rate, against=against, power=power, alpha=alpha)
    told = f"{_percent(rate)} from {_percent(against)}"
    if held:
        smallest = rate_told(held, against=against, power=power, alpha=alpha)
        such = "" if smallest is None else f", which tell {_percent(smallest)} or more"
        typer.echo(f"There are {held:,} comparisons{such}.")
    if held >= needed:
        typer.echo(f"They are enough to tell {told}: {needed:,} would do.")
    else:
        more = needed - held
        typer.echo(f"Collect {more:,} more judgement{'s' * (more != 1)} to tell {told}.")
    typer.echo(
        f"(Two-sided at {_percent(alpha)}, found with a probability of {_percent(power)}; "
        "judgements of different prompts.)"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0") + " %"
