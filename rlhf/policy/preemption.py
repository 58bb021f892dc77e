"""Saving on time, and when the machine is about to be taken away."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlhf.policy.processes import Processes

TERMINATED = 128 + signal.SIGTERM  # as shells say it


class Preempted(SystemExit):
    """The process was told to end, saved what it had, and ends with code 143. Of several processes
    one says so.
    """

    def __init__(self, step: int, folder: str, *, says: bool) -> None:
        super().__init__(int(TERMINATED))
        if not says:
            return
        print(  # noqa: T201 - the last words of a process
            f"told to stop: saved step {step} in {folder}; the same command goes on from here",
            file=sys.stderr,
            flush=True,
        )


class Savings(TrainerCallback):
    """Saves at the next end of a rollout when `minutes` have passed since the last saving or when
    SIGTERM came; after SIGTERM the training stops there.
    """

    def __init__(self, minutes: float | None, updates_per_rollout: int, processes: Processes):
        self.minutes = minutes
        self.updates = updates_per_rollout
        self.processes = processes
        self.terminated = False
        self.stopped = False
        self._saved_at = time.monotonic()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """SIGTERM is noted instead of ending the process; only the main thread can ask for that."""
        self._saved_at = time.monotonic()
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _note(self, *_: Any) -> None:
        self.terminated = True

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        if state.global_step % self.updates:
            return
        if self.processes.any(self.terminated):
            control.should_save = control.should_training_stop = self.stopped = True
        elif self.minutes is not None and self.processes.any(self._waited() >= self.minutes):
            control.should_save = True

    def on_save(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        self._saved_at = time.monotonic()

    def _waited(self) -> float:
        return (time.monotonic() - self._saved_at) / 60
