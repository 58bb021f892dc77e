"""Uploads what a run logged to W&B while it was offline."""

import os
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from rlhf.tracking.run_folder import owned
from rlhf.tracking.wandb_log import prepare_upload
from rlhf.tracking.wandb_run import logged_in

# A server that answers errors, or nothing, is given up after about half a minute, not for hours.
PATIENCE = {
    "WANDB__GRAPHQL_RETRY_MAX": "2",
    "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "2",
    "WANDB__GRAPHQL_TIMEOUT_SECONDS": "8",
    "WANDB__FILE_STREAM_RETRY_MAX": "3",
    "WANDB__FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "2",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "3",
    "WANDB__FILE_TRANSFER_RETRY_WAIT_MAX_SECONDS": "2",
}


@dataclass(frozen=True, slots=True)
class Left:
    """A W&B run that is not (wholly) on the server, and why."""

    folder: Path
    reason: str


@dataclass(frozen=True, slots=True)
class SyncReport:
    """Folders of W&B runs: uploaded now, uploaded before, and left."""

    uploaded: tuple[Path, ...]
    before: tuple[Path, ...]
    left: tuple[Left, ...]


def sync(run_folder: Path) -> SyncReport:
    """Uploads every W&B run in a run folder that is not on the server yet; a second call finds
    nothing to do. A stage that was started again has several W&B runs under one id: they go up in
    the order in which they were logged.

    Raises ValueError where the folder is not there, where another process is running the run, and
    where there is something to upload but no account.
    """
    if not run_folder.is_dir():
        raise ValueError(f"{run_folder} is not there: give the folder of a run, as in runs/<run>")
    with owned(run_folder):
        found = _logged(run_folder)
        before = tuple(log.parent for log in found if _marker(log).exists())
        if len(before) < len(found) and not _account():
            raise ValueError(
                f"W&B has no account on this machine, and {len(found) - len(before)} of its runs "
                f"wait in {run_folder}: log in with `wandb login` first"
            )
        waves = _waves(found, run_folder)
        said = [_upload(list(wave)) for wave in waves]
        waiting = {log: files for wave in waves for log, files in wave.items()}
        left = [
            Left(log.parent, reason)
            for log, files in waiting.items()
            if (reason := _fault(log, said) or _incomplete(files))
        ]
    kept = {fault.folder for fault in left}
    uploaded = tuple(log.parent for log in waiting if log.parent not in kept)
    return SyncReport(uploaded, before, tuple(left))


def _logged(run_folder: Path) -> list[Path]:
    """The logs of all W&B runs, oldest first. `current` is a second way to the same folders."""
    logs = {log.resolve() for log in run_folder.glob("round-*/*/*/wandb/*run-*/run-*.wandb")}
    return sorted(logs, key=lambda log: log.parent.name.removeprefix("offline-"))


def _marker(log: Path) -> Path:
    """W&B's own mark of what is on the server."""
    return log.with_suffix(".wandb.synced")


def _waves(found: list[Path], run_folder: Path) -> list[dict[Path, tuple[str, ...]]]:
    """What is to go up, made ready: first the oldest log of every id, then the second, and so on.
    What goes up together must not share an id, and a later attempt leaves out the steps of an
    earlier one. A log without a run (its stage was killed at once) has nothing to upload.

    Each log stands with the files of its artifacts that are gone.
    """
    waves: dict[int, dict[Path, tuple[str, ...]]] = defaultdict(dict)
    last: dict[str, int] = defaultdict(lambda: -1)
    seen: Counter[str] = Counter()
    for log in found:
        ready = prepare_upload(log, run_folder, last[log.name])
        if ready is None:
            continue
        last[log.name] = ready.last_step
        if not _marker(log).exists():
            waves[seen[log.name]][log] = ready.missing
            seen[log.name] += 1
    return [waves[number] for number in sorted(waves)]


def _upload(logs: list[Path]) -> str:
    """Runs W&B's own upload; returns what it said. Its exit code is 0 also where it failed: the
    markers tell.
    """
    ran = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--include-online", *map(str, logs)],
        env={"WANDB_ERROR_REPORTING": "false"} | PATIENCE | os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout + ran.stderr


def _fault(log: Path, said: list[str]) -> str | None:
    """Why a run is not wholly on the server, or None: the first error that names it, or, where
    there is no mark, the first error at all. W&B marks a run also where files of it were refused:
    then the mark goes, so that the next call tries again.
    """
    lines = [line.strip() for text in said for line in text.splitlines() if line.strip()]
    errors = [line.partition("ERROR ")[2] for line in lines if "ERROR " in line]
    named = [error for error in errors if log.stem.removeprefix("run-") in error]
    if named:
        _marker(log).unlink(missing_ok=True)
    elif _marker(log).exists():
        return None
    return (named or errors or lines[-1:] or ["W&B gave no reason"])[0]


def _incomplete(missing: tuple[str, ...]) -> str | None:
    if not missing:
        return None
    return f"its figures went up, but {len(missing)} of its files are gone, the first {missing[0]}"


def _account() -> bool:
    from wandb.errors import AuthenticationError

    try:
        return logged_in()
    except AuthenticationError as error:
        raise ValueError(f"W&B cannot use the API key of this machine: {error}") from error
