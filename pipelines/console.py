"""What a person sees while a run works: a bar with a time to go, a line per stage, a table at the
end.
"""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipelines.forecasting import Forecast
from pipelines.observer import Observer
from pipelines.stage import Stage
from rlhf.data.identity import Json
from rlhf.tracking.run_folder import Completion

QUIET_SECONDS = 20.0
WIDE_COLUMNS = 140


def make_console() -> Console:
    """Standard output; where it is no terminal, wide enough that tables keep their words."""
    terminal = Console(highlight=False, soft_wrap=True)
    if terminal.is_terminal:
        return terminal
    return Console(highlight=False, soft_wrap=True, width=WIDE_COLUMNS)


class ConsoleObserver(Observer):
    """Shows progress on a terminal; elsewhere, a line now and then."""

    def __init__(self, console: Console, took: dict[str, Forecast]) -> None:
        self.console = console
        self.took = took
        self.progress = Progress(
            TextColumn("  {task.description:28}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(compact=True),
            TextColumn("to go"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task: TaskID | None = None
        self.spoke_at = 0.0
        self.began_at = 0.0

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.progress.stop()

    def kept(self, stage: Stage, done: Completion) -> None:
        self.console.print(
            f"  [dim]kept[/dim] {stage.title:28} [dim]{headline(stage.name, done.result)}[/dim]"
        )

    def left_out(self, stage: Stage, why: str) -> None:
        self.console.print(f"  left out {stage.title}: {why}", markup=False)

    def started(self, stage: Stage, why: str) -> None:
        self.spoke_at = self.began_at = time.monotonic()
        if self.console.is_terminal:
            self.task = self.progress.add_task(stage.title, total=None)
        else:
            last = (
                f", {self.took[stage.name].seconds:.0f} s last time"
                if stage.name in self.took
                else ""
            )
            self.console.print(f"  ...  {stage.title} ({why}{last})", markup=False)

    def progressed(self, stage: Stage, done: int, total: int) -> None:  # noqa: ARG002
        if self.task is not None:
            self.progress.update(self.task, completed=done, total=total)
        elif time.monotonic() - self.spoke_at > QUIET_SECONDS and total:
            self.spoke_at = time.monotonic()
            left = (self.spoke_at - self.began_at) * (total - done) / max(done, 1)
            self.console.print(f"       {done} of {total}, {left:.0f} s to go")

    def finished(self, stage: Stage, done: Completion) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None
        said = headline(stage.name, done.result)
        self.console.print(f"  [green]done[/green] {stage.title:28} {done.seconds:6.1f} s  {said}")


def headline(stage: str, result: Json) -> str:
    """The figure of a stage that one wants to see first."""
    match stage:
        case "prompts":
            return f"{result['prompts']:,} prompts, {result['test']:,} of them for the test"
        case "pretrain":
            return f"{result['parameters']:,} parameters, loss {result['loss']:.2f}"
        case "sft" if "validation_loss" in result:
            loss, texts = result["validation_loss"], result["demonstrations"]
            return f"validation loss {loss:.3f} after {texts:,} texts"
        case "sample":
            return f"{result['responses']:,} responses to {result['prompts']:,} prompts"
        case "label":
            agreed = result["agreement"]["strict"]
            said = "" if agreed is None else f", agreement {agreed:.0%} without ties"
            return f"{result['rankings']:,} rankings by {result['labelers']} labelers{said}"
        case "preferences":
            return f"{result['train']['pairs']:,} pairs to train on"
        case "reward" | "monitor":
            held_out = result.get("test") or result.get("validation")
            if held_out is None:
                return "no held-out rankings"
            value, length = held_out["accuracy"]["value"], held_out["length_baseline"]["value"]
            return f"held-out accuracy {value:.1%} (longest is best: {length:.1%})"
        case "certify":
            return str(result["verdict"])
        case "dpo" if "rewards/accuracies" in result:
            return f"implicit accuracy {result['rewards/accuracies']:.0%}"
        case "ppo" if "objective/scores" in result:
            return f"reward {result['objective/scores']:.2f}, KL {result['objective/kl']:z.1f} nats"
        case "rloo" if "reward" in result:
            return f"reward {result['reward']:.2f}"
        case "rejection":
            first, *_, last = result["reward_best_of"].values()
            return f"{result['chosen']:,} chosen; reward {first:.2f}, of the best {last:.2f}"
        case "evaluate":
            row = result["policies"][result["best"]]
            return f"{result['best']} beats SFT in {row['win_rate']:.0%}"
        case "probe":
            verdicts = [one["verdict"] for one in result["probes"].values()]
            counted = [f"{verdicts.count(one)} {one}" for one in ("ok", "beware", "fail")]
            return f"{len(verdicts)} probes: {', '.join(counted)}"
    return ""


def policies_table(summary: Json) -> Table:
    """The policies beside one another."""
    table = Table(
        title=escape(f"Against SFT on held-out prompts, judged by: {summary['judge']}"),
        title_justify="left",
    )
    table.add_column("policy")
    for column in ("beats SFT", "95 % interval", "at equal length", "reward", "KL, nats", "tokens"):
        table.add_column(column, justify="right")
    rows = sorted(summary["policies"].items(), key=lambda item: -item[1]["win_rate"])
    for name, row in rows:
        table.add_row(
            name.replace("_", " "),
            f"{row['win_rate']:.1%}",
            f"{row['win_rate_low']:.1%} to {row['win_rate_high']:.1%}",
            f"{row['length_controlled']['rate']:.1%}",
            f"{row['gold_reward']:.2f}",
            _distance(row),
            f"{row['mean_tokens']:.1f}",
        )
    return table


def _distance(row: Json) -> str:
    if "kl" in row:
        return f"{round(row['kl'], 1) + 0.0:.1f}"
    return f"<= {row['kl_bound']:.1f}" if "kl_bound" in row else "-"
