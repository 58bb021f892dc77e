"""The `rlhf` command. Starts without torch; what a command needs is imported when it runs.

Exit codes: 0 done, 1 unexpected, 2 the user's mistake, 3 do not ship, 4 not enough evidence, 5
waiting for people.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.faults import ExitCode, guarded
from pipelines.publishing_cli import card, push, runs
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
app.add_typer(config_app, name="config")
app.add_typer(reward_app, name="reward")
app.add_typer(store_app, name="store")
app.add_typer(wandb_app, name="wandb")

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The run's YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Overrides of the config."),
]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's folder, or its name under runs/.")
]


@app.command()
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", help="Do this stage and those after it again, beside what is there."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the config and what would run, and stop.")
    ] = False,
) -> None:
    """Bring a run up to date: what is complete is kept, the rest is done."""
    from pipelines.commands.run import run_command

    code = run_command(config, overrides or [], until=until, begin=begin, dry_run=dry_run)
    raise typer.Exit(code)


@app.command()
def status(folder: RunFolder) -> None:
    """What a run has completed, when, and where it is."""
    from pipelines.commands.status import status_command

    status_command(folder)


@app.command()
def clean(
    folder: RunFolder,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove what a run no longer uses: attempts cut short, and what other configs wrote."""
    from pipelines.commands.status import clean_command

    clean_command(folder, yes=yes)


@app.command()
def label(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG]", help="The run's YAML file; not needed with --db."),
    ] = None,
    overrides: Overrides = None,
    mode: Annotated[
        str,
        typer.Option(
            help="With CONFIG: rank the responses, demonstrate (write answers for SFT), or "
            "evaluate (compare the trained policies with SFT, blind)."
        ),
    ] = "rank",
    labeler: Annotated[
        str | None, typer.Option(help="Who ranks; by default a pseudonym made from your login.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes a free one.")] = 7860,
    host: Annotated[
        str, typer.Option(help="Address to bind to; others than this machine need --accounts.")
    ] = "127.0.0.1",
    db: Annotated[
        str | None, typer.Option(metavar="STORE", help="A path or database URL of rankings.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(help="With --db alone: the campaign; else people choose.")
    ] = None,
    accounts: Annotated[bool, typer.Option("--accounts", help="People sign in.")] = False,
    public_url: Annotated[
        str | None, typer.Option(help="Where people find it, as https://rank.example.org.")
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address of a proxy whose X-Forwarded headers are believed."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open the pages where people answer: over a run's responses, or over a store."""
    from pipelines.commands.label import Place, label_command

    place = Place(host, port, accounts, public_url, tuple(proxy or ()), browser)
    label_command(
        config,
        overrides or [],
        db=db,
        campaign=campaign,
        mode=mode,
        labeler=labeler,
        place=place,
    )


@app.command()
def chat(
    folder: RunFolder,
    policy: Annotated[
        str, typer.Option(help="ppo, dpo, rloo, rejection or sft; the best by default.")
    ] = "best",
    compare: Annotated[str | None, typer.Option(help="A second policy to answer as well.")] = None,
) -> None:
    """Talk to a trained policy in the terminal."""
    from pipelines.commands.chat import chat_command

    chat_command(folder, policy=policy, compare=compare)


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Preferences of other people.")],
    into: Annotated[str, typer.Option("--into", metavar="STORE", help="A path or database URL.")],
    form: Annotated[
        str | None, typer.Option("--format", help="The format, where it is not to be guessed.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(help="Name of the campaign; the file's name by default.")
    ] = None,
) -> None:
    """Read preferences from a file into a store of rankings, and report every row."""
    from pipelines.commands.importing import import_command

    import_command(file, into, form=form, campaign=campaign)


@app.command()
def agreement(
    source: Annotated[
        str,
        typer.Argument(
            metavar="STORE|FILE",
            help="A path or database URL of rankings; or a .json or .jsonl file with a column "
            "for each annotator, or of our rankings.",
        ),
    ],
    campaign: Annotated[
        str | None, typer.Option(help="Which campaign of a store, where there are several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """How far labelers agree: with and without ties, beyond chance, and each of them."""
    from pipelines.commands.agreement import agreement_command

    agreement_command(source, campaign=campaign, as_json=as_json)


@app.command()
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


@app.command()
def withdraw(
    labeler: Annotated[str, typer.Argument(metavar="LABELER", help="The pseudonym.")],
    store: Annotated[
        str, typer.Option(metavar="STORE", envvar="RLHF_STORE", help="A path or database URL.")
    ],
    runs: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="A run, or a folder of runs; may be given again."),
    ] = None,
    by_name: Annotated[
        bool, typer.Option("--by-name", help="Also rows that the store does not know.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Delete what a person said from a store and from runs, and name what was made from it."""
    from pipelines.commands.withdraw import withdraw_command

    code = withdraw_command(
        labeler,
        store,
        runs=runs or [],
        by_name=by_name,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command()
def sync(folder: RunFolder) -> None:
    """Upload a run's offline W&B logs."""
    from pipelines.commands.status import sync_command

    sync_command(folder)


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


for command in (card, push, runs):
    app.command()(command)


def main() -> None:
    """Runs the command line and leaves with its exit code; a fault is one sentence."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(guarded(app))


if __name__ == "__main__":
    main()

__all__ = ["ExitCode", "app", "main"]
