"""What a stage is, and what it is given to work with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.artifacts import model_of
from pipelines.config import RunConfig
from rlhf.data.identity import Json, seed_from
from rlhf.tracking.alerts import Alert


class WaitingForPeopleError(Exception):
    """The run cannot go on until people have done their part; the message says what and how."""


class UnfitRewardError(Exception):
    """The reward model is not certified to be fit for RL, and nobody said to start all the same."""


class Table(Protocol):
    """Takes named rows for whoever reviews the run; without a step, at the next one."""

    def __call__(self, name: str, rows: Sequence[Json], step: int | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """One stage at work: where it writes, what it reads, and whom it tells.

    `inputs` maps the stages it needs to their folders (only those that are part of this run).
    """

    config: RunConfig
    folder: Path
    inputs: dict[str, Path]
    log: Callable[[Json], None]
    progress: Callable[[int, int], None]
    table: Table
    alert: Callable[[Alert], None] = lambda _: None

    def seed(self, *parts: object) -> int:
        """A 31-bit seed of this run for one purpose."""
        return seed_from(self.config.seed, *parts) & 0x7FFFFFFF

    @property
    def base_model(self) -> str | Path:
        """Where the model to align comes from: the pretrain stage, a folder or the hub."""
        if "pretrain" in self.inputs:
            return model_of(self.inputs["pretrain"])
        return self.config.model.path or ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the loop.

    `settings` gives the part of the config that changes its outcome, `outside` the state of
    whatever it reads beyond the run folder (files, the store); both go into the fingerprint with
    `version`, which is raised when the code changes what comes out. `run` returns the figures of
    the stage: the same for the same fingerprint. `show` puts what is complete in its folder where
    people look for it, each time the stage is brought up to date.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    version: int
    settings: Callable[[RunConfig], Json]
    run: Callable[[Work], Json]
    outside: Callable[[RunConfig, dict[str, Path]], Json] = lambda *_: {}
    enabled: Callable[[RunConfig], bool] = lambda _: True
    kind: str = "dataset"
    show: Callable[[RunConfig, Path], None] = lambda *_: None
