"""The `rlhf` command. Starts without torch; what a command needs is imported when it runs.

Exit codes: 0 done, 1 unexpected, 2 the user's mistake, 3 do not ship, 4 not enough evidence, 5
waiting for people.
"""

import os
import sys
from collections.abc import Callable

import typer

from pipelines.arguments import ConfigFile, Overrides
from pipelines.evidence_cli import lineage, power, report, suspicious, verdict
from pipelines.faults import ExitCode, guarded
from pipelines.loop_cli import chat, clean, label, run, status
from pipelines.publishing_cli import card, push, runs, sync
from pipelines.rankings_cli import agreement, import_file, withdraw
from pipelines.reward_cli import reward_app
from pipelines.store_cli import store_app
from pipelines.wandb_cli import wandb_app

app = typer.Typer(
    help="From people's rankings to an aligned policy: one loop, resumable, with its evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="About config files.", no_args_is_help=True)
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "The loop": (run, status, clean, label, chat),
    "Rankings": (import_file, agreement, withdraw),
    "Evidence": (verdict, report, power, suspicious, lineage),
    "To others": (card, push, runs, sync),
}
for panel, commands in PANELS.items():
    for command in commands:
        name = command.__name__.removesuffix("_file")
        app.command(name, rich_help_panel=panel)(command)
app.add_typer(config_app, name="config")
app.add_typer(reward_app, name="reward")
app.add_typer(store_app, name="store")
app.add_typer(wandb_app, name="wandb")


@app.command()
def env() -> None:
    """Versions and devices, for bug reports."""
    import json

    import torch  # noqa: F401 - so that threads and GPUs are reported too

    from rlhf.tracking.environment import environment

    typer.echo(json.dumps(environment(), indent=2))


@config_app.command("schema")
def config_schema() -> None:
    """The JSON Schema of config files, for editors."""
    import json

    from pipelines.config import RunConfig

    typer.echo(json.dumps(RunConfig.model_json_schema(), indent=2))


@config_app.command("show")
def config_show(config: ConfigFile, overrides: Overrides = None) -> None:
    """A config with its defaults filled in."""
    import yaml

    from pipelines.config import load_config

    loaded = load_config(config, overrides or [])
    typer.echo(yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False), nl=False)


def main() -> None:
    """Runs the command line and leaves with its exit code; a fault is one sentence."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(guarded(app))


if __name__ == "__main__":
    main()

__all__ = ["ExitCode", "app", "main"]
