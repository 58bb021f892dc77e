"""Faults as one sentence and an exit code: what went wrong, and what to do."""

import errno
import sys
import tempfile
import traceback
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

import typer

OURS = tuple(
    str(Path(__file__).resolve().parents[1] / name)
    for name in ("rlhf", "pipelines", "labeling_app")
)
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells say it
FULL_DISK = (
    "No space left on device",
    "database or disk is full",
    "PytorchStreamWriter failed writing",
    "enforce fail at inline_container",
)


class ExitCode(IntEnum):
    """What the exit codes of every command mean."""

    DONE = 0
    UNEXPECTED = 1
    MISTAKE = 2
    DO_NOT_SHIP = 3
    NOT_ENOUGH_EVIDENCE = 4
    WAITING = 5


def guarded(app: Callable[[], None]) -> int:
    """Runs a command; returns its exit code."""
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # typer turns Ctrl-C into this
            _say("stopped; the same command goes on from here")
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:  # noqa: BLE001 - the one place where anything may arrive
        return _explain(error)
    return ExitCode.DONE


def _explain(error: Exception) -> ExitCode:
    if _waits_for_people(error):
        typer.secho(f"Waiting for people: {error}", err=True, fg="yellow")
        return ExitCode.WAITING
    if _is_unfit(error):
        _say(str(error))
        return ExitCode.NOT_ENOUGH_EVIDENCE
    if _disk_is_full(error):
        filename = getattr(error, "filename", None)
        where = f" at {filename}" if filename else ""
        _say(f"the disk is full{where}: make room, and give the same command again; it goes on")
        return ExitCode.UNEXPECTED
    if isinstance(
        error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError
    ):
        # A library may raise one with a text alone.
        parts = [str(part) for part in (error.strerror, error.filename) if part is not None]
        _say(": ".join(parts) or str(error) or type(error).__name__)
        return ExitCode.MISTAKE
    if _store_failed(error):
        _say(str(error))
        return ExitCode.UNEXPECTED
    if isinstance(error, ValueError | FloatingPointError) and _raised_by_us(error):
        _say(str(error))
        return ExitCode.MISTAKE
    _say(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    for note in getattr(error, "__notes__", ()):
        _say(note)  # what was saved before it, say
    _say(f"This was not expected; the details are in {_write_details(error)}.")
    return ExitCode.UNEXPECTED


def _waits_for_people(error: Exception) -> bool:
    from pipelines.stage import WaitingForPeopleError  # here: `rlhf --help` needs no config

    return isinstance(error, WaitingForPeopleError)


def _is_unfit(error: Exception) -> bool:
    from pipelines.stage import UnfitRewardError  # here: `rlhf --help` needs no config

    return isinstance(error, UnfitRewardError)


def _store_failed(error: Exception) -> bool:
    from rlhf.feedback.database import StoreUnavailableError  # here: `rlhf --help` needs no store

    return isinstance(error, StoreUnavailableError)


def _disk_is_full(error: BaseException | None) -> bool:
    """Also where a library wraps it: torch, safetensors and SQLite each say it in their own way."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if any(words in str(error) for words in FULL_DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


def _raised_by_us(error: Exception) -> bool:
    """A ValueError of ours is a user's mistake, explained; one of a library is a surprise."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(OURS)


def _write_details(error: Exception) -> str:
    with tempfile.NamedTemporaryFile("w", prefix="rlhf-", suffix=".log", delete=False) as file:
        file.writelines(traceback.format_exception(error))
    return file.name


def _say(message: str) -> None:
    if sys.stderr.isatty():
        typer.secho(message, err=True, fg="red")
    else:
        typer.echo(message, err=True)
