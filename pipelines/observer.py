"""Who is told what the runner does."""

from pipelines.stage import Stage
from rlhf.tracking.run_folder import Completion


class Observer:
    """Is told what the runner does; this one says nothing."""

    def kept(self, stage: Stage, done: Completion) -> None:
        """A complete stage was skipped."""

    def left_out(self, stage: Stage, why: str) -> None:
        """A stage may not start, and the run goes on without it."""

    def started(self, stage: Stage, why: str) -> None:
        """A stage begins."""

    def progressed(self, stage: Stage, done: int, total: int) -> None:
        """A stage did `done` of `total` steps."""

    def finished(self, stage: Stage, done: Completion) -> None:
        """A stage is complete."""
