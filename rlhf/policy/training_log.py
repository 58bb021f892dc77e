"""What PPO logs of a stretch of training: means of what was noted, and how fast it went."""

import time
from collections.abc import Mapping

from rlhf.policy.phases import Clock, peak_megabytes


class Averages:
    """Means of what was noted since the last report."""

    def __init__(self) -> None:
        self.noted: dict[str, list[float]] = {}

    def note(self, numbers: Mapping[str, float]) -> None:
        """Adds one value of each number."""
        for name, value in numbers.items():
            self.noted.setdefault(name, []).append(float(value))

    def taken(self) -> dict[str, float]:
        """The means; the next ones start anew."""
        found = {name: sum(values) / len(values) for name, values in self.noted.items()}
        self.noted = {}
        return found


class Pace:
    """Episodes and tokens a second since the last report, or since the training began or was
    resumed: what is loaded from a checkpoint was not made in this time.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._since: tuple[float, int] | None = None

    def begin(self, episode: int) -> None:
        """Time runs from now, where it does not yet."""
        if self._since is None:
            self._since = (time.monotonic(), episode)

    def taken(self, episode: int, tokens_each: float) -> dict[str, float]:
        """The numbers at this many episodes, of so many tokens; the next ones start anew."""
        self.begin(episode)
        assert self._since is not None
        now = time.monotonic()
        since, before = self._since
        self._since = (now, episode)
        each_second = (episode - before) / max(now - since, 1e-9)
        return {
            "episode": episode,
            "eps": each_second,
            "time/tokens_per_second": tokens_each * each_second,
            **{f"time/{phase}_seconds": spent for phase, spent in self.clock.taken().items()},
            "memory/peak_mb": peak_megabytes(),
        }
