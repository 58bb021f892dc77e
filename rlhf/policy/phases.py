"""How long each phase of a rollout takes, and how much memory it needed."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Adds up seconds by phase; on a GPU a phase lasts until its kernels are done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        started = _now()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + _now() - started

    def taken(self) -> dict[str, float]:
        """Seconds of each phase since the last call."""
        found, self.seconds = self.seconds, {}
        return found


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_megabytes() -> float:
    """The most memory that was held: of the GPU since the last call, where there is one; else of
    the process over its life, which is what the system knows.
    """
    if torch.cuda.is_available():
        held = torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
        return held
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
