"""The run folder: what a stage wrote is never overwritten, and is complete or not there.

`runs/<run>/round-<r>/<stage>/<fingerprint>/` holds what one stage wrote for one config and one set
of inputs; `current` beside it points to the one in use. The completion marker is written last.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlhf.data.identity import Json, tree_sha256
from rlhf.data.jsonl import read_json, write_json

MARKER = "complete.json"
METRICS = "metrics.jsonl"
CURRENT = "current"
# Written beside the outputs: about the stage, not of it, so no part of what later stages depend on.
ABOUT = {MARKER, METRICS, "config.json", "environment.json", "inputs.json"}
ABOUT_FOLDERS = {"checkpoints", "wandb"}


@dataclass(frozen=True, slots=True)
class Completion:
    """What the marker says: the hash of the outputs, the figures, and what it took; `redacted`,
    where what somebody said was taken out of the outputs since, for whom and when.
    """

    fingerprint: str
    digest: str
    seconds: float
    size_bytes: int
    finished_at: str
    result: Json
    redacted: Json | None = None

    def to_json(self) -> Json:
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if self.redacted is None:
            del row["redacted"]
        return row


def read_completion(folder: Path) -> Completion | None:
    """What the marker of one stage's folder says, redacted or not; None where there is none.

    Raises ValueError where it is damaged.
    """
    marker = folder / MARKER
    if not marker.exists():
        return None
    try:
        return Completion(**read_json(marker))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{marker} is damaged: move that folder out of the run, and `rlhf run` does the stage "
            "again"
        ) from error


@dataclass(frozen=True, slots=True)
class StageFolder:
    """All that one stage of a run ever wrote, by fingerprint."""

    root: Path

    def at(self, fingerprint: str) -> Path:
        """The folder of one fingerprint; it need not exist."""
        return self.root / fingerprint

    def completion(self, fingerprint: str) -> Completion | None:
        """What the stage completed for this fingerprint, or None; what was redacted since has to be
        done again.
        """
        done = read_completion(self.at(fingerprint))
        return done if done is not None and done.redacted is None else None

    def newest(self, fingerprint: str) -> tuple[str, int]:
        """The last complete attempt at a fingerprint (`<fingerprint>`, `-2`, `-3`), and its number;
        the fingerprint itself and 1 where there is no other.
        """
        name, number = fingerprint, 1
        while self.completion(f"{fingerprint}-{number + 1}") is not None:
            number += 1
            name = f"{fingerprint}-{number}"
        return name, number

    def current(self) -> Path | None:
        """The folder in use, or None."""
        link = self.root / CURRENT
        return link.resolve() if link.exists() else None

    def point(self, fingerprint: str) -> None:
        """Makes this fingerprint the one in use, in one step."""
        temporary = self.root / f".{CURRENT}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(fingerprint)
        temporary.replace(self.root / CURRENT)

    def begin(self, fingerprint: str) -> Path:
        """An empty folder to write in; of an attempt that was cut short only the checkpoints are
        kept.
        """
        folder = self.at(fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if entry.name in ABOUT_FOLDERS:
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        return folder

    def drop_checkpoints(self, fingerprint: str) -> None:
        """Removes what a finished training no longer needs; before its outputs are listed
        anywhere.
        """
        shutil.rmtree(self.at(fingerprint) / "checkpoints", ignore_errors=True)

    def complete(
        self, fingerprint: str, *, seconds: float, finished_at: str, result: Json
    ) -> Completion:
        """Hashes the outputs, drops the checkpoints, writes the marker last, and points to the
        folder.
        """
        folder = self.at(fingerprint)
        self.drop_checkpoints(fingerprint)
        files = outputs(folder)
        done = Completion(
            fingerprint,
            tree_sha256(folder, files),
            round(seconds, 2),
            sum(path.stat().st_size for path in files),
            finished_at,
            result,
        )
        write_json(folder / MARKER, done.to_json())
        self.point(fingerprint)
        return done

    def completed(self) -> list[Completion]:
        """Every completed fingerprint, redacted ones too, oldest first."""
        found = [
            read_completion(marker.parent)
            for marker in self.root.glob(f"*/{MARKER}")
            if marker.parent.name != CURRENT
        ]
        return sorted(filter(None, found), key=lambda done: done.finished_at)


def outputs(folder: Path) -> list[Path]:
    """The files that a stage produced, without those about it."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.relative_to(folder).parts[0] not in ABOUT_FOLDERS
        and not (path.parent == folder and (path.name in ABOUT or path.name.startswith(".")))
    ]


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Holds a run folder for this process; the kernel lets go when the process ends, however it
    ends.

    Raises ValueError naming the owner where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            raise ValueError(
                f"{folder} is in use by process {owner}: wait for it, or give this run another name"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
