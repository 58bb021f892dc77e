"""`rlhf run`: plan or execute a config, and show what came of it."""

import shlex
from pathlib import Path

import yaml
from rich.console import Console

from pipelines.config import RunConfig, load_config
from pipelines.console import ConsoleObserver, make_console, policies_table
from pipelines.faults import ExitCode
from pipelines.forecasting import Forecast, forecast
from pipelines.runner import Run, Step
from pipelines.stage import UnfitRewardError
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json
from rlhf.tracking.run_folder import Completion

VERDICTS = {
    "ship": ExitCode.DONE,
    "do not ship": ExitCode.DO_NOT_SHIP,
    "not enough evidence": ExitCode.NOT_ENOUGH_EVIDENCE,
}


def run_command(
    path: Path, overrides: list[str], *, until: str | None, begin: str | None, dry_run: bool
) -> int:
    """Runs or plans; returns the exit code."""
    config = load_config(path, overrides)
    run = Run(config, until, begin)
    console = make_console()
    if dry_run:
        _show_plan(console, config, _checked_plan(run))
        return ExitCode.DONE
    try:
        done = carry_out(console, run)
    except UnfitRewardError:
        _show_why_not(console, config)
        raise
    summary = read_json(config.folder / "summary.json")
    if "evaluate" not in done:  # what an earlier call compared is not what this one is about
        summary = {}
    words = shlex.join([str(path), *overrides])
    _show_end(console, words, config, summary, reported="report" in done)
    if run.left_out:
        raise UnfitRewardError(" ".join(run.left_out.values()))
    return VERDICTS[summary["verdict"]] if "verdict" in summary else ExitCode.DONE


def carry_out(console: Console, run: Run) -> dict[str, Completion]:
    """Brings a run up to date while a person looks on; returns what each stage completed."""
    steps = _checked_plan(run)
    took = forecast(run.config.folder, steps, run.config.ledger)
    with ConsoleObserver(console, took) as observer:
        run.observer = observer
        return run.execute()


def _checked_plan(run: Run) -> list[Step]:
    """The plan; where something runs, after its `trainer:` blocks were checked."""
    steps = run.plan()
    if any(step.runs for step in steps):
        from pipelines.trainer_fields import check_trainer_blocks
        from rlhf.models.silence import silence_libraries

        silence_libraries()
        check_trainer_blocks(run.config)
    return steps


def _show_why_not(console: Console, config: RunConfig) -> None:
    """A run that stops before any policy has its certificate to show, and no report stage yet."""
    from rlhf.reporting.report import write_report

    written = write_report(config.folder, config.folder / "report.html")
    console.print(f"The evidence: {written}", markup=False)


def _show_plan(console: Console, config: RunConfig, steps: list[Step]) -> None:
    console.print(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), markup=False)
    took = forecast(config.folder, steps, config.ledger)
    for step in steps:
        if step.left_out:
            console.print(f"  leave {step.stage.name:12} {step.why}", markup=False)
            continue
        if not step.runs:
            console.print(f"  keep  {step.stage.name:12} {step.fingerprint}")
            continue
        expected = ""
        if step.stage.name in took:
            last = took[step.stage.name]
            expected = f" (last time {last.seconds:.0f} s, {last.size_bytes / 1e6:.1f} MB)"
        console.print(f"  run   {step.stage.name:12} {step.why}{expected}", markup=False)
    running = [step.stage.name for step in steps if step.runs]
    console.print(_forecast(config, running, took), markup=False)


def _forecast(config: RunConfig, running: list[str], took: dict[str, Forecast]) -> str:
    """The sums of what is to run, from earlier runs; people's time is not in them."""
    known = [took[name] for name in running if name in took]
    seconds, size = sum(one.seconds for one in known), sum(one.size_bytes for one in known)
    parts = [f"{seconds:.0f} s", f"{size / 1e6:.0f} MB"]
    if any(one.kwh is not None for one in known):
        parts.append(f"{sum(one.kwh or 0.0 for one in known):.3g} kWh")
    if any(one.money is not None for one in known):
        money = sum(one.money or 0.0 for one in known)
        parts.append(f"{money:.2f} {config.ledger.currency} for devices")
    said = f"Forecast: {', '.join(parts[:-1])} and {parts[-1]}"
    unknown = [name for name in running if name not in took]
    unpriced = [name for name in running if name in took and took[name].kwh is None]
    said += f"; no earlier run of {', '.join(unknown)} to go by" if unknown else ""
    if unpriced and len(unpriced) < len(known):
        said += f"; energy and money without {', '.join(unpriced)}, which no ledger has"
    return said


def _show_end(
    console: Console, words: str, config: RunConfig, summary: Json, *, reported: bool
) -> None:
    if "policies" in summary:
        console.print(policies_table(summary))
        best, (rate, low, high) = summary["best"], _win_rate(summary)
        who = "people's " if "people" in summary else ""
        console.print(
            f"Verdict: [bold]{summary['verdict']}[/bold] ({best} beats SFT in {rate:.0%} of {who}"
            f"comparisons, {low:.0%} to {high:.0%})"
        )
        console.print(f"Why:              rlhf verdict {config.folder}", markup=False)
    if reported:
        console.print(f"The evidence:     {config.folder / 'report.html'}", markup=False)
    if (config.folder / "round-1" / "sample" / "current").exists():
        console.print(f"Rank by hand:     rlhf label {words}", markup=False)
    if "policies" in summary:
        console.print(f"Talk to it:       rlhf chat {config.folder} --compare sft", markup=False)


def _win_rate(summary: Json) -> tuple[float, float, float]:
    """The win rate that the verdict rests on, with its interval."""
    if "people" in summary:
        row = summary["people"]["policies"][summary["best"]]
        return row["rate"], row["low"], row["high"]
    row = summary["policies"][summary["best"]]
    return row["win_rate"], row["win_rate_low"], row["win_rate_high"]
