"""Ours and TRL by turns on one machine: what one costs beside the other."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from rlhf.data.identity import Json

OURS, TRL = TRAINERS = ("ours", "trl")


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median seconds of each, how many times faster ours is, and the lowest and the highest
    ratio of a round.
    """

    ours: float
    trl: float
    low: float
    high: float

    @property
    def speedup(self) -> float:
        return self.trl / self.ours

    def to_json(self, name: str) -> Json:
        return {
            f"speedup_{name}": round(self.speedup, 3),
            f"speedup_{name}_spread": [round(self.low, 3), round(self.high, 3)],
        }


def by_turns(rounds: int, seconds_of: Callable[[str, int], float]) -> Ratio:
    """What `seconds_of(trainer, round)` says, the trainers in one order and then in the other."""
    seconds: dict[str, list[float]] = {name: [] for name in TRAINERS}
    for number in range(rounds):
        for name in TRAINERS[::-1] if number % 2 else TRAINERS:
            seconds[name].append(seconds_of(name, number))
    ratios = [trl / ours for ours, trl in zip(seconds["ours"], seconds["trl"], strict=True)]
    return Ratio(median(seconds["ours"]), median(seconds["trl"]), min(ratios), max(ratios))
