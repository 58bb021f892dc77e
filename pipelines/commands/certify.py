"""`rlhf reward certify`: brings a run up to its certificate, and shows it."""

import textwrap
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.artifacts import read_certificate_of
from pipelines.commands.run import carry_out
from pipelines.commands.status import run_folder
from pipelines.config import RunConfig, load_config, override_config
from pipelines.console import make_console
from pipelines.faults import ExitCode
from pipelines.fitness import FIT
from pipelines.graph import STAGES
from pipelines.runner import Run
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json
from rlhf.tracking.run_folder import StageFolder

MARKS = {True: "[green]yes[/green]", False: "[red]no[/red]", None: "-"}
LINE = 100


def certify_command(path: Path, overrides: list[str]) -> int:
    """Runs what is missing, prints the certificate; returns the exit code."""
    config = config_of(path, overrides)
    if not config.certify.enabled:
        config = override_config(config, ["certify.enabled=true"])
    console = make_console()
    run = Run(config, until="certify")
    done = carry_out(console, run)
    folder = StageFolder(run.folder / "certify").at(done["certify"].fingerprint)
    certificate = read_certificate_of(folder)
    show_certificate(console, certificate)
    return ExitCode.DONE if certificate["verdict"] == FIT else ExitCode.NOT_ENOUGH_EVIDENCE


def config_of(path: Path, overrides: list[str]) -> RunConfig:
    """The config in a file, or the one that a run was last brought up to date with, as far as its
    reward model goes.

    Raises ValueError where there is neither.
    """
    if path.is_file():
        return load_config(path, overrides)
    found = run_folder(path)
    newest = max(found.glob("round-*"), key=lambda one: int(one.name.removeprefix("round-")))
    names = ["reward", *(stage.name for stage in reversed(STAGES))]
    for name in names:
        current = StageFolder(newest / name).current()
        if current is not None:
            asked = read_json(current / "config.json")["run"]
            config = RunConfig.model_validate(asked | {"runs_dir": str(found.parent)})
            return override_config(config, overrides)
    raise ValueError(f"no stage of {found} is complete yet: `rlhf run CONFIG` begins one")


def show_certificate(console: Console, certificate: Json) -> None:
    """The checks beside their thresholds, the verdict, and why."""
    table = Table(title="The reward model's certificate", title_justify="left")
    table.add_column("check")
    for column in ("measured", "RL asks", "passed", "best-of-n asks", "passed"):
        table.add_column(column, justify="right")
    for check in certificate["checks"]:
        threshold, passes = check["threshold"], check["passes"]
        table.add_row(
            threshold["title"],
            _spelled(check["value"], threshold["unit"]),
            _bound(threshold, "rl"),
            MARKS[passes["rl"]],
            _bound(threshold, "best_of_n"),
            MARKS[passes["best_of_n"]],
        )
    console.print(table)
    console.print(f"Verdict: [bold]{certificate['verdict']}[/bold]")
    for sentence in certificate["sentences"]:
        console.print(textwrap.indent(textwrap.fill(sentence, LINE), "  "), markup=False)


def _bound(threshold: Json, use: str) -> str:
    if threshold[use] is None:
        return "-"
    sign = "<=" if threshold["most"] else ">="
    return f"{sign} {_spelled(threshold[use], threshold['unit'])}"


def _spelled(value: float | None, unit: str) -> str:
    from rlhf.reward.certificate import spelled

    return "unknown" if value is None else spelled(value, unit)  # type: ignore[arg-type]
