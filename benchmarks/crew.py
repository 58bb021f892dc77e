"""Labelers of the controlled world: who they are, and the comparisons they make."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.world import Array, World

Temper = Literal["careful", "random", "contrary", "longest", "position", "tying"]

TEMPERATURE = 0.5  # of the Bradley-Terry choice, in standard deviations of gold
POSITION_BIAS = 1.5  # what being shown first is worth to a position-biased labeler
TIE_WIDTH = 0.5  # differences below this are no difference to a tying labeler


@dataclass(frozen=True, slots=True)
class Labels:
    """n comparisons. `prompt` indexes prompts; `first` and `second` responses, in the order shown;
    `labeler` the crew; `vote` is 1 where the first is better, 0 the second, 0.5 a tie. All (n,).
    """

    prompt: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    labeler: NDArray[np.int64]
    vote: Array

    def __len__(self) -> int:
        return len(self.vote)

    def __getitem__(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Labels":
        return Labels(
            self.prompt[index],
            self.first[index],
            self.second[index],
            self.labeler[index],
            self.vote[index],
        )


def crew(bad: Temper, *, size: int = 10, share: float = 0.2) -> list[Temper]:
    """A crew of which the first `share` have the temper `bad`, and the others are careful."""
    num_bad = round(size * share)
    return [bad] * num_bad + ["careful"] * (size - num_bad)


def compare(world: World, tempers: list[Temper], count: int, *, seed: int) -> Labels:
    """`count` comparisons: a training prompt, two different responses drawn from the reference,
    and a labeler, each at random.
    """
    random = np.random.default_rng([29, seed])
    prompt = random.choice(world.train, count)
    chances = np.exp(world.logprobs)
    first, second = _drawn(chances, prompt, random), _drawn(chances, prompt, random)
    while (same := first == second).any():
        second[same] = _drawn(chances, prompt[same], random)
    labeler = random.integers(len(tempers), size=count)
    gap = world.gold[prompt, first] - world.gold[prompt, second]
    longer = np.sign(world.lengths[first] - world.lengths[second]).astype(float)
    noise = TEMPERATURE * random.logistic(size=count)
    coin = random.integers(2, size=count).astype(float)
    said: dict[Temper, Array] = {
        "careful": _sign(gap + noise),
        "random": coin,
        "contrary": 1 - _sign(gap + noise),
        "longest": np.where(longer == 0, coin, _sign(longer)),
        "position": _sign(gap + noise + POSITION_BIAS),
        "tying": np.where(np.abs(gap + noise) < TIE_WIDTH, 0.5, _sign(gap + noise)),
    }
    vote = np.empty(count)
    for number, temper in enumerate(tempers):
        vote[labeler == number] = said[temper][labeler == number]
    return Labels(prompt, first, second, labeler, vote)


def _drawn(
    chances: Array, prompt: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """A response for each of `prompt` (n,), by its row of `chances` (P, N)."""
    point = random.random(len(prompt))
    made = np.empty(len(prompt), dtype=np.int64)
    for one in np.unique(prompt):
        here = prompt == one
        up_to = np.cumsum(chances[one])
        made[here] = np.searchsorted(up_to / up_to[-1], point[here], side="right")
    return made


def _sign(difference: Array) -> Array:
    return (difference > 0).astype(float)
