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
    first, second = _two_of(np.exp(world.logprobs[prompt]), random)
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


def _two_of(
    chances: Array, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two different draws from each row of `chances` (n, N), with its probabilities in turn."""
    scores = np.log(chances) + random.gumbel(size=chances.shape)
    best = np.argpartition(-scores, 1, axis=1)[:, :2]
    rows = np.arange(len(best))
    swap = scores[rows, best[:, 0]] < scores[rows, best[:, 1]]
    one = np.where(swap, best[:, 1], best[:, 0])
    two = np.where(swap, best[:, 0], best[:, 1])
    return one, two


def _sign(difference: Array) -> Array:
    return (difference > 0).astype(float)
