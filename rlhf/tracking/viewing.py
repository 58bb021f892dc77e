"""The W&B runs that lie in run folders, found and named, for a viewer in the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlhf.tracking.run_folder import MARKER


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """One log of W&B: of which stage, of which attempt at it, and where it is."""

    run: str
    round: str
    stage: str
    fingerprint: str
    log: Path
    complete: bool
    uploaded: bool

    @property
    def started_at(self) -> str:
        """As W&B writes it into the folder's name: `20261126_160333`."""
        return self.log.parent.name.removeprefix("offline-").split("-")[1]


def logged_runs(folder: Path, stage: str | None = None) -> list[LoggedRun]:
    """The logs of a run, or of every run in a folder, oldest first; with `stage`, of that alone.

    What another config wrote and is no longer in use is left out.
    """
    runs = [folder] if any(folder.glob("round-*")) else sorted(folder.glob("*/"))
    found = []
    for run in runs:
        for current in run.glob(f"round-*/{stage or '*'}/current"):
            at = current.resolve()
            for log in at.glob("wandb/*run-*/run-*.wandb"):
                done = log.with_suffix(".wandb.synced").exists()
                found.append(
                    LoggedRun(
                        run.resolve().name,
                        current.parents[1].name,
                        current.parent.name,
                        at.name,
                        log,
                        (at / MARKER).exists(),
                        done,
                    )
                )
    return sorted(found, key=lambda one: (one.started_at, one.run))


def link_runs(runs: Sequence[LoggedRun], into: Path) -> Path:
    """A folder as W&B makes it, `run-<when>-<id>/run-<id>.wandb`, with links to the logs, for its
    viewer, which shows no other name than the id: here the stage, and the run and the round where
    there are several.
    """
    several = len({one.run for one in runs}) > 1
    rounds = len({one.round for one in runs}) > 1
    for one in runs:
        words = [one.run] if several else []
        words += [one.round.replace("round-", "r")] if rounds else []
        name = ".".join([one.stage, *words])
        place = into / f"run-{one.started_at}-{name}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"run-{name}.wandb").symlink_to(one.log)
    return into
