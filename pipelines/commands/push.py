"""`rlhf card` and `rlhf push`: a policy of a run described, and published on the hub."""

import re
import tempfile
from pathlib import Path

import typer

from pipelines.artifacts import model_of
from pipelines.commands.status import run_folder
from pipelines.config import load_config
from pipelines.faults import ExitCode
from rlhf.reporting.cards import CARD, DATA_CARD, Stated, policy_of, verdict_on_policy, write_cards
from rlhf.reporting.formatting import size
from rlhf.reporting.reading import RunRecord, read_run
from rlhf.tracking.wandb_run import first_line


def card_command(
    folder: Path, *, policy: str | None, out: Path | None, config: Path | None
) -> None:
    """Writes both cards, by default beside the report; says where."""
    found = run_folder(folder)
    run = read_run(found)
    target = out or found / "cards"
    for path in write_cards(run, target, policy_of(run, policy), _stated(run, config)):
        typer.echo(path)


def push_command(
    folder: Path,
    *,
    to: str,
    policy: str | None,
    private: bool,
    dry_run: bool,
    anyway: bool,
    config: Path | None,
) -> ExitCode:
    """Publishes a policy with its cards in one commit; with `dry_run` lists it and sends nothing.

    A policy that is not to be shipped is refused unless `anyway`.
    """
    run = read_run(run_folder(folder))
    chosen = policy_of(run, policy)
    _check_name(to)
    verdict = verdict_on_policy(run, chosen)
    if verdict.tone == "stop" and not anyway:
        said = " ".join([verdict.headline, *verdict.sentences[:1]])
        typer.echo(f"{said} Push it all the same with --anyway; its card will say so.", err=True)
        return ExitCode.DO_NOT_SHIP
    if not dry_run:
        _check_ready()
    with tempfile.TemporaryDirectory() as scratch:
        write_cards(run, Path(scratch), chosen, _stated(run, config))
        files = _files(model_of(run.stages[chosen].folder), Path(scratch))
        for name, path in files.items():
            typer.echo(f"{name:32} {size(path.stat().st_size):>10}")
        total = size(sum(path.stat().st_size for path in files.values()))
        if dry_run:
            typer.echo(f"{len(files)} files, {total}, would go to {to}: {verdict.headline}")
            return ExitCode.DONE
        address = _publish(files, to, private=private, message=f"{run.name}: {chosen}")
    typer.echo(f"{len(files)} files, {total}, are at {address}")
    return ExitCode.DONE


def _stated(run: RunRecord, config: Path | None) -> Stated:
    """What people say of the model: as the run has it, or as a config file says it now."""
    if config is None:
        return Stated.of(run)
    return Stated(**load_config(config).card.model_dump())


def _files(model: Path, cards: Path) -> dict[str, Path]:
    """What goes up, by its name there: the model's folder, and the cards over what lies there."""
    found = {
        path.relative_to(model).as_posix(): path
        for path in sorted(model.rglob("*"))
        if path.is_file()
    }
    if not any(name.endswith(".safetensors") for name in found):
        raise ValueError(f"{model} holds no weights: run the stage again with `rlhf run`")
    return found | {name: cards / name for name in (CARD, DATA_CARD)}


def _check_name(to: str) -> None:
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", to):
        raise ValueError(f"--to takes ORG/NAME of letters, digits, '-', '_' and '.', got {to!r}")


def _check_ready() -> None:
    """ValueError in one sentence where the hub cannot be asked at all."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise ValueError("HF_HUB_OFFLINE is set: unset it to push, or list with --dry-run")
    if get_token() is None:
        raise ValueError("the hub has no token on this machine: log in with `hf auth login` first")


def _publish(files: dict[str, Path], to: str, *, private: bool, message: str) -> str:
    """One commit, whole or not at all; returns the address of the model.

    Raises ValueError in one sentence where there is no network, where the hub refuses, and where
    what should be private is public already.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    operations = [CommitOperationAdd(name, path) for name, path in files.items()]
    try:
        address = api.create_repo(to, private=private, exist_ok=True)
        is_public = private and not api.model_info(to).private
        if not is_public:
            api.create_commit(to, operations, commit_message=message)
    except Exception as error:  # of the hub's library, of its network, of its server
        raise ValueError(f"the hub did not take it: {first_line(error)}") from error
    if is_public:
        raise ValueError(f"{to} is on the hub already, and public: nothing was sent")
    return str(address)
