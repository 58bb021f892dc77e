"""How reliable each labeler is, from agreement alone: who judges like the others on what both saw.

Every pair of responses has a margin, unknown, on which all labelers vote in their own manner
(`rlhf.feedback.manners`). Margins and manners are inferred from each other in turn: expectation
maximisation after Dawid and Skene (1979), where what a labeler is judged by leaves out their own
votes (as in belief propagation; Liu, Peng and Ihler 2012), so that nobody confirms themselves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rlhf.data.records import Ranking
from rlhf.feedback.manners import (
    Array,
    Reliability,
    first_chance,
    log_chance,
    manners,
    posterior,
    reliabilities,
)
from rlhf.feedback.pairs import comparisons

HABITS = ("longer", "shown first")
MARGINS = np.array([-4.0, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 4.0])  # log-odds of the first, (M,)
MARGIN_DEVIATION = 2.0
PRIOR_PAIRS = 4.0
MAX_ROUNDS = 100
TOLERANCE = 1e-7
# Everything that a vote can be: (vote for the first, the first is longer, shown first), (C, 3).
KINDS = np.array(
    [(vote, longer, shown) for vote in (0, 0.5, 1) for longer in (-1, 0, 1) for shown in (-1, 1)]
)


@dataclass(frozen=True, slots=True)
class Votes:
    """V votes of J labelers on P pairs. `pair`, `labeler`, `kind` (into KINDS) and `weight`: (V,).
    `longer` is 1 where a pair's first response is the longer one, 0 equal or unknown, else -1,
    (P,).
    """

    pair: NDArray[np.int64]
    labeler: NDArray[np.int64]
    kind: NDArray[np.int64]
    weight: Array
    longer: NDArray[np.int64]
    labelers: tuple[str, ...]


def reliability_by_agreement(
    rankings: Iterable[Ranking], words: Mapping[str, int] | None = None
) -> dict[str, Reliability]:
    """The reliability of each labeler, by id, with the habits that `HABITS` names.

    `words` are the lengths of responses by id: without them, labelers who prefer the longer one
    cannot be told from careful ones once they agree with each other. A ranking of K counts as
    K - 1 comparisons, since its pairs follow from one another; a ranking given twice counts twice.
    `comparisons` counts those of pairs that somebody else judged too: without any, the value is
    what the prior says, unless a habit shows. Leave superseded rankings out. A crew that flips
    coins as one is alike, and called reliable: `pair_agreement` tells.
    """
    votes = votes_of(rankings, words or {})
    if not votes.labelers:
        return {}
    chances = infer_manners(votes)
    together = csr_array((np.ones(len(votes.pair)), (votes.pair, votes.labeler)))
    others = np.diff((together > 0).tocsr().indptr) > 1  # pairs that two or more judged
    count = np.bincount(
        votes.labeler, votes.weight * others[votes.pair], minlength=len(votes.labelers)
    ).astype(np.float64)
    found = reliabilities(chances, manners(len(HABITS)), count)
    return dict(zip(votes.labelers, found, strict=True))


def votes_of(rankings: Iterable[Ranking], words: Mapping[str, int]) -> Votes:
    """The pairs of `rankings` as votes; the first of a pair is the one with the lower id."""
    pairs: dict[tuple[str, str, str], int] = {}
    labelers: dict[str, int] = {}
    longer: list[int] = []
    rows: list[tuple[int, int, int, float]] = []
    for ranking in rankings:
        labeler = labelers.setdefault(ranking.labeler_id, len(labelers))
        place = {response: number for number, response in enumerate(ranking.shown)}
        for better, worse, margin in comparisons(ranking):
            first, second = sorted((better, worse))
            pair = pairs.setdefault((ranking.prompt_id, first, second), len(pairs))
            if pair == len(longer):
                more = words.get(first, 0) - words.get(second, 0)
                known = first in words and second in words
                longer.append((more > 0) - (more < 0) if known else 0)
            vote = 1 if margin == 0 else 2 if better == first else 0  # of (0, 0.5, 1)
            kind = vote * 6 + (longer[pair] + 1) * 2 + (place[first] < place[second])
            rows.append((pair, labeler, kind, 2 / len(place)))
    pair_of, labeler_of, kinds, weight = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Votes(
        np.array(pair_of, dtype=np.int64),
        np.array(labeler_of, dtype=np.int64),
        np.array(kinds, dtype=np.int64),
        np.array(weight, dtype=np.float64),
        np.array(longer, dtype=np.int64),
        tuple(labelers),
    )


def infer_manners(votes: Votes) -> Array:
    """The probability of each manner for each labeler, (J, T).

    Where two agree as coins would, each finds the other out in one round, and has nobody to be
    judged by in the next: what never settles is the mean of its last two rounds. Which of the two
    is the coin nobody can tell.
    """
    known = manners(len(HABITS))
    num_labelers, num_votes = len(votes.labelers), len(votes.pair)
    logits = known.alpha[:, None] * MARGINS + (KINDS[:, 1:] @ known.leaning.T)[:, :, None]
    table = np.exp(log_chance(KINDS[:, :1, None], first_chance(logits)))  # (C, T, M)
    manner = np.tile(np.exp(known.log_prior), (num_labelers, 1))
    if num_votes == 0:
        return manner
    _, own = np.unique(votes.pair * num_labelers + votes.labeler, return_inverse=True)
    by_pair, by_own, by_labeler = (
        csr_array((votes.weight, (rows, np.arange(num_votes))))
        for rows in (votes.pair, own, votes.labeler)
    )
    by_labeler.resize((num_labelers, num_votes))
    longer_better = 0.5
    for _ in range(MAX_ROUNDS):
        said = np.log(np.einsum("jt,ctm->jcm", manner, table))[votes.labeler, votes.kind]  # (V, M)
        heard = np.log(_margins(longer_better))[votes.longer + 1] + by_pair @ said  # (P, M)
        without = _normalised(heard[votes.pair] - (by_own @ said)[own])  # (V, M)
        before, manner = (
            manner,
            posterior(by_labeler @ _log_likelihood(without, votes.kind, table), known.log_prior),
        )
        longer_better = _longer_better(_normalised(heard), votes.longer)
        if np.abs(manner - before).max() < TOLERANCE:
            return manner
    swinging: Array = (before + manner) / 2
    return swinging


def _log_likelihood(margins: Array, kind: NDArray[np.int64], table: Array) -> Array:
    """Log-probability of each vote in each manner, (V, T), given what the others say of margins."""
    made = np.empty((len(kind), table.shape[1]))
    for one in np.unique(kind):
        made[kind == one] = np.log(margins[kind == one] @ table[one].T)
    return made


def _margins(longer_better: float) -> Array:
    """Chances of the margins where the second, neither, the first is longer, (3, M).

    Their size stays what it is before anything is known: learned, it would shrink to nothing in a
    crew of mixed manners, and whoever votes on nothing is like the others.
    """
    bell = np.exp(-0.5 * (MARGINS / MARGIN_DEVIATION) ** 2)
    tilt = np.array([[1 - longer_better], [0.5], [longer_better]])
    return _share(bell * np.where(MARGINS > 0, tilt, 1 - tilt))


def _longer_better(margins: Array, longer: NDArray[np.int64]) -> float:
    """How often the longer one is better, as if `PRIOR_PAIRS` had said half; margins (P, M)."""
    first = margins[:, MARGINS > 0].sum(1)
    said = first[longer > 0].sum() + (1 - first[longer < 0]).sum()
    return float((said + PRIOR_PAIRS / 2) / ((longer != 0).sum() + PRIOR_PAIRS))


def _normalised(logs: Array) -> Array:
    return _share(np.exp(logs - logs.max(1, keepdims=True)))


def _share(masses: Array) -> Array:
    """Rows that sum to 1."""
    shares: Array = masses / masses.sum(1, keepdims=True)
    return shares
