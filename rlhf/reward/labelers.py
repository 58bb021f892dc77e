"""A reward that is linear in features, learned together with the reliability of the labelers.

The features may be anything: those of a small world, the last hidden states of a model, or, in one
column, the scores of a reward model that is trained already. What comes out beside the weights is
one reliability per labeler, for the trainer of a larger model to weigh rankings by.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array

from rlhf.data.records import Ranking
from rlhf.feedback.manners import (
    Array,
    Reliability,
    first_chance,
    labeler_weights,
    log_chance,
    manners,
    posterior,
    reliabilities,
)
from rlhf.feedback.pairs import comparisons

FOLDS = 5
RIDGE = 3.0
GATE_STANDARD_ERRORS = 1.0


@dataclass(frozen=True, slots=True)
class Comparisons:
    """n votes between two responses each. All arrays have n rows.

    `difference`: features of the first less those of the second, (n, D). `vote`: 1 the first is
    better, 0 the second, 0.5 a tie. `labeler`: an index, (n,). `leanings`: +1 or -1 where a habit
    points to the first or the second, else 0, (n, L). `prompt`: an index, (n,), for folds and
    clustered errors. `weight`: how often a vote counts, (n,).
    """

    difference: Array
    vote: Array
    labeler: NDArray[np.int64]
    leanings: Array
    prompt: NDArray[np.int64]
    weight: Array

    def __len__(self) -> int:
        return len(self.vote)

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> "Comparisons":
        return Comparisons(
            self.difference[index],
            self.vote[index],
            self.labeler[index],
            self.leanings[index],
            self.prompt[index],
            self.weight[index],
        )


@dataclass(frozen=True, slots=True)
class Learned:
    """`weights` of the reward, (D,), in log-odds per unit of a feature, and the reliability of each
    labeler, by index.

    `gain`: by how many nats the labelers' reliabilities improve the prediction of held-out votes,
    and its standard error; `aware` is whether that is beyond noise. Where it is not, the weights
    are the plain ones; the reliabilities are given all the same.
    """

    weights: Array
    reliability: list[Reliability]
    gain: float
    gain_standard_error: float
    aware: bool


def weights_by_reward(
    rankings: Iterable[Ranking],
    features: Mapping[str, Sequence[float]],
    words: Mapping[str, int],
) -> dict[str, float]:
    """What each labeler's rankings weigh in training, 0 to 1, by how far they follow a reward that
    is linear in `features` (of responses, by id). 1 for everybody where the gate stays closed.
    """
    learned, labelers = learn_from(rankings, features, words)
    return weights_of(learned, labelers)


def learn_from(
    rankings: Iterable[Ranking],
    features: Mapping[str, Sequence[float]],
    words: Mapping[str, int],
) -> tuple[Learned, tuple[str, ...]]:
    """The reward that is linear in `features`, with its labelers; and who they are, by index."""
    made, labelers = comparisons_from(rankings, features, words)
    return learn(made, len(labelers)), labelers


def weights_of(learned: Learned, labelers: Sequence[str]) -> dict[str, float]:
    """What the rankings of these labelers weigh: 1 for everybody where the gate stayed closed."""
    found = dict(zip(labelers, learned.reliability, strict=True))
    return labeler_weights(found) if learned.aware else dict.fromkeys(labelers, 1.0)


def comparisons_from(
    rankings: Iterable[Ranking],
    features: Mapping[str, Sequence[float]],
    words: Mapping[str, int],
) -> tuple[Comparisons, tuple[str, ...]]:
    """The pairs of `rankings`, and the labelers by index; habits: the longer, the one shown first.

    Features are brought to unit scale over their differences. A ranking of K weighs K - 1 pairs.
    Raises ValueError for a ranked response without features or words.
    """
    labelers: dict[str, int] = {}
    prompts: dict[str, int] = {}
    rows: list[tuple[str, str, float, int, int, float]] = []
    for ranking in rankings:
        place = {response: number for number, response in enumerate(ranking.shown)}
        missing = [one for one in place if one not in features or one not in words]
        if missing:
            raise ValueError(f"{ranking.id} ranks {missing[0]}, whose features are not given")
        labeler = labelers.setdefault(ranking.labeler_id, len(labelers))
        prompt = prompts.setdefault(ranking.prompt_id, len(prompts))
        for better, worse, margin in comparisons(ranking):
            first, second = sorted((better, worse), key=place.__getitem__)
            vote = 0.5 if margin == 0 else float(better == first)
            rows.append((first, second, vote, labeler, prompt, 2 / len(place)))
    gaps = [np.subtract(features[first], features[second]) for first, second, *_ in rows]
    difference = np.array(gaps, dtype=np.float64).reshape(len(rows), -1 if rows else 0)
    scale = np.sqrt((difference**2).mean(0)) if rows else np.ones(0)
    longer = [np.sign(words[first] - words[second]) for first, second, *_ in rows]
    made = Comparisons(
        difference / np.where(scale > 0, scale, 1.0),
        np.array([row[2] for row in rows]),
        np.array([row[3] for row in rows], dtype=np.int64),
        np.stack([np.array(longer, dtype=np.float64), np.ones(len(rows))], 1),
        np.array([row[4] for row in rows], dtype=np.int64),
        np.array([row[5] for row in rows]),
    )
    return made, tuple(labelers)


def plain_weights(made: Comparisons, *, ridge: float = RIDGE) -> Array:
    """Weights of the Bradley-Terry reward that believes every labeler alike, (D,).

    Maximises sum(weight * log sigmoid(margin)) - ridge / 2 * |weights|^2 (a normal prior of
    variance 1 / ridge; features at unit scale are assumed). A tie is half a vote each way.
    """

    def loss(weights: Array) -> tuple[float, Array]:
        margin = made.difference @ weights
        nats = made.weight * (np.logaddexp(0, margin) - made.vote * margin)
        slope = made.weight * (first_chance(margin) - made.vote)
        return (
            float(nats.sum() + ridge / 2 * weights @ weights),
            made.difference.T @ slope + ridge * weights,
        )

    return _minimise(loss, np.zeros(made.difference.shape[1]))


def aware_weights(
    made: Comparisons, num_labelers: int, *, ridge: float = RIDGE, start: Array | None = None
) -> tuple[Array, Array]:
    """Weights of the reward, (D,), and the probability of each manner for each labeler, (J, T).

    Maximises the likelihood with the manners summed out, from the plain weights on: sum over
    labelers of log sum over manners of prior * product of their votes' probabilities.
    """
    known = manners(made.leanings.shape[1])
    habits = made.leanings @ known.leaning.T  # (n, T)
    vote = made.vote[:, None]
    # (J, n): sums what a labeler said, each vote as often as it counts
    by_labeler = csr_array(
        (made.weight, (made.labeler, np.arange(len(made)))), (num_labelers, len(made))
    )

    def chances(weights: Array) -> tuple[float, Array, Array]:
        first = first_chance((made.difference @ weights)[:, None] * known.alpha + habits)
        joint = by_labeler @ log_chance(vote, first)
        top = (joint + known.log_prior).max(1)
        total = np.log(np.exp(joint + known.log_prior - top[:, None]).sum(1)) + top
        return float(total.sum()), posterior(joint, known.log_prior), first

    def loss(weights: Array) -> tuple[float, Array]:
        evidence, manner, first = chances(weights)
        slope = made.weight * (manner[made.labeler] * (vote - first) * known.alpha).sum(1)
        return (
            float(-evidence + ridge / 2 * weights @ weights),
            -made.difference.T @ slope + ridge * weights,
        )

    weights = _minimise(loss, plain_weights(made, ridge=ridge) if start is None else start)
    return weights, chances(weights)[1]


def learn(made: Comparisons, num_labelers: int, *, ridge: float = RIDGE) -> Learned:
    """The reward and the reliability of each labeler; labeler-aware only where that helps.

    The gate: both rewards are fitted to four fifths of the prompts and predict the votes on the
    rest, in turn. Unless knowing the labelers gains more than one standard error (clustered by
    prompt), the plain weights are used.
    """
    plain = plain_weights(made, ridge=ridge)
    weights, manner = aware_weights(made, num_labelers, ridge=ridge, start=plain)
    gain, error = held_out_gain(made, num_labelers, ridge=ridge)
    aware = gain > GATE_STANDARD_ERRORS * error
    count = np.bincount(made.labeler, made.weight, num_labelers).astype(np.float64)
    found = reliabilities(manner, manners(made.leanings.shape[1]), count)
    return Learned(weights if aware else plain, found, gain, error, aware)


def held_out_gain(
    made: Comparisons, num_labelers: int, *, ridge: float = RIDGE, folds: int = FOLDS
) -> tuple[float, float]:
    """By how many nats labeler-aware beats plain on held-out votes, and its standard error.

    Prompts are dealt to folds in their order of index. (0, inf) with fewer than two prompts: there
    is nothing to hold out.
    """
    names, prompt = np.unique(made.prompt, return_inverse=True)
    if len(names) < 2:
        return 0.0, float("inf")
    known = manners(made.leanings.shape[1])
    gained = np.zeros(len(names))
    for fold in range(min(folds, len(names))):
        held = prompt % folds == fold
        train, test = made[~held], made[held]
        plain = plain_weights(train, ridge=ridge)
        weights, manner = aware_weights(train, num_labelers, ridge=ridge, start=plain)
        logits = (test.difference @ weights)[:, None] * known.alpha
        first = first_chance(logits + test.leanings @ known.leaning.T)
        aware = _log_mixture(log_chance(test.vote[:, None], first), manner[test.labeler])
        margin = test.difference @ plain
        nats = test.weight * (aware - (test.vote * margin - np.logaddexp(0, margin)))
        gained += np.bincount(prompt[held], nats, len(names))
    spread = np.sqrt(((gained - gained.mean()) ** 2).sum() * len(names) / (len(names) - 1))
    return float(gained.sum()), float(spread)


def _log_mixture(log_chances: Array, chances: Array) -> Array:
    """log sum over the last axis of chances * exp(log_chances)."""
    mixed: Array = np.log((np.exp(log_chances) * chances).sum(1))
    return mixed


def _minimise(loss: object, start: Array) -> Array:
    found = minimize(loss, start, jac=True, method="L-BFGS-B")
    return np.asarray(found.x, dtype=np.float64)
