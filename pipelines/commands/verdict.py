"""`rlhf verdict`: whether to ship a policy of a run, why, and an exit code that CI can stand on."""

import json
import textwrap
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from pipelines.commands.run import VERDICTS
from pipelines.commands.status import run_folder
from pipelines.console import make_console
from pipelines.faults import ExitCode
from rlhf.evaluation.gate import Check, Verdict, load_gate
from rlhf.evaluation.verdict_words import spelled
from rlhf.reporting.reading import read_run
from rlhf.reporting.verdict import gated

LINE = 100
MARKS = {
    "passed": "[green]yes[/green]",
    "failed": "[red]no[/red]",
    "open": "[yellow]not yet[/yellow]",
    "unknown": "-",
}


def verdict_command(
    folder: Path, *, policy: str | None, gate: Path | None, as_json: bool
) -> ExitCode:
    """Prints the verdict on the newest round of a run; returns its exit code: 0 ship, 3 do not, 4
    not enough evidence.
    """
    run = read_run(run_folder(folder))
    verdict = gated(run, load_gate(gate), policy=policy)
    if as_json:
        typer.echo(json.dumps(verdict.to_json(), indent=2, ensure_ascii=False))
    else:
        show_verdict(make_console(), verdict)
    return VERDICTS[verdict.decision]


def show_verdict(console: Console, verdict: Verdict) -> None:
    """The headline, the checks, and the reasons."""
    of = f" ({verdict.policy})" if verdict.policy else ""
    console.print(f"Verdict: [bold]{verdict.decision}[/bold]{of}")
    for sentence in verdict.sentences:
        console.print(textwrap.indent(textwrap.fill(sentence, LINE), "  "), markup=False)
    if not verdict.checks:
        return
    table = Table(title="The gate", title_justify="left")
    table.add_column("asked")
    for column in ("found", "95 % interval", "bound", "passed"):
        table.add_column(column, justify="right")
    for check in verdict.checks:
        table.add_row(check.rule.title, *_figures(check), MARKS[check.outcome])
    console.print(table)


def _figures(check: Check) -> tuple[str, str, str]:
    rule, fact = check.rule, check.fact
    sign = {"above": ">", "at_least": ">=", "at_most": "<="}[rule.side]
    bound = f"{sign} {spelled(rule.bound, rule)}" if rule.unit != "yes" else ""
    if fact is None:
        return "unknown", "", bound
    if fact.low == fact.high:
        return spelled(fact.value, rule), "", bound
    return spelled(fact.value, rule), f"{fact.low:.1%} to {fact.high:.1%}", bound
