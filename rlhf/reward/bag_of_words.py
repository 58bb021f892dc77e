"""The baseline that a reward model must beat to have understood anything: which words are in it.

Bradley-Terry on the differences of word counts, by ridge regression of the log-odds.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array

from rlhf.data.identity import seed_from
from rlhf.reward.votes import Votes

Array = NDArray[np.float64]

WORD = re.compile(r"\w+|[^\w\s]")
LEAST_RESPONSES = 2  # a word of one response alone says nothing about another
RIDGE = 10.0


@dataclass(frozen=True, slots=True)
class BagOfWords:
    """`weights` by word; a response is worth their sum over its words, each as log(1 + count)."""

    weights: Mapping[str, float]

    def worth(self, text: str) -> float:
        """What the words of `text` are worth, in log-odds."""
        return sum(self.weights.get(word, 0.0) * value for word, value in _counts(text).items())


def fit_bag_of_words(votes: Votes, texts: Mapping[str, str], *, ridge: float = RIDGE) -> BagOfWords:
    """Weights that predict `votes`, where each prompt counts once; `texts` are of responses, by id.

    Minimises the sum over votes of weight * log(1 + exp(-margin)), plus ridge / 2 * |weights|^2:
    a normal prior of variance 1 / ridge. Raises ValueError without any vote.
    """
    if not len(votes):
        raise ValueError("no vote to fit a bag of words on")
    rows = {one: row for row, one in enumerate(dict.fromkeys((*votes.better, *votes.worse)))}
    counts = [_counts(texts[one]) for one in rows]
    words = _vocabulary(counts)
    features = _matrix(counts, words)
    better = [rows[one] for one in votes.better]
    worse = [rows[one] for one in votes.worse]
    difference = csr_array(features[better] - features[worse])  # (V, W)
    _, prompt, votes_of = np.unique(votes.prompt, return_inverse=True, return_counts=True)
    weight = 1 / votes_of[prompt]

    def loss(weights: Array) -> tuple[float, Array]:
        margin = difference @ weights
        slope = -weight * 0.5 * (1 - np.tanh(margin / 2))
        value = float(weight @ np.logaddexp(0, -margin) + ridge / 2 * weights @ weights)
        return value, difference.T @ slope + ridge * weights

    found = minimize(loss, np.zeros(len(words)), jac=True, method="L-BFGS-B")
    return BagOfWords(dict(zip(words, map(float, found.x), strict=True)))


def in_folds(
    votes: Votes, texts: Mapping[str, str], *, folds: int = 5, ridge: float = RIDGE
) -> Array:
    """By how much words put the better above the worse, (V,): each vote by a model that saw no
    vote on its prompt. Prompts are dealt to folds by hash.
    """
    fold = np.array([seed_from("fold", prompt) % folds for prompt in votes.prompt])
    gaps = np.zeros(len(votes))
    for held_out in np.unique(fold):
        seen, asked = votes.where(fold != held_out), votes.where(fold == held_out)
        model = fit_bag_of_words(seen, texts, ridge=ridge)
        gaps[fold == held_out] = asked.gaps(worths(model, texts, (*asked.better, *asked.worse)))
    return gaps


def worths(model: BagOfWords, texts: Mapping[str, str], ids: Iterable[str]) -> dict[str, float]:
    """What the words of each response are worth, by id."""
    return {one: model.worth(texts[one]) for one in dict.fromkeys(ids)}


def _counts(text: str) -> dict[str, float]:
    found = Counter(WORD.findall(text.lower()))
    return {word: float(np.log1p(count)) for word, count in found.items()}


def _vocabulary(counts: Sequence[Mapping[str, float]]) -> list[str]:
    held_by = Counter(word for one in counts for word in one)
    return sorted(word for word, responses in held_by.items() if responses >= LEAST_RESPONSES)


def _matrix(counts: Sequence[Mapping[str, float]], words: Sequence[str]) -> csr_array:
    """(responses, words)."""
    column = {word: place for place, word in enumerate(words)}
    cells = [
        (row, column[word], value)
        for row, one in enumerate(counts)
        for word, value in one.items()
        if word in column
    ]
    row, place, value = zip(*cells, strict=True) if cells else ((), (), ())
    shape = (len(counts), len(words))
    return csr_array((np.array(value, dtype=np.float64), (row, place)), shape=shape)
