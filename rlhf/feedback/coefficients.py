"""Agreement beyond chance: Krippendorff's alpha, Cohen's kappa and Kendall's tau-b.

Two alphas, because they answer different questions. Nominal over verdicts on pairs (win, tie,
loss) is pair agreement with ties, less what chance would give; it takes lists of any length and is
the one to quote. Ordinal over places within an item uses the whole order, so that a best answer put
last weighs more than two neighbours swapped; it compares campaigns whose lists have one length.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlhf.feedback.agreement import Interval
from rlhf.feedback.intervals import student
from rlhf.feedback.verdicts import Judged, Verdicts, votes_on_pairs

Level = Literal["nominal", "ordinal"]
Floats = NDArray[np.float64]
PARTS = 50  # of the jackknife: prompts are dealt into these, and each is left out in turn


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A coefficient with its 95 % interval (None below three prompts) over so many prompts."""

    value: float | None
    interval: Interval | None
    prompts: int


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's kappa of two labelers over the `pairs` that both judged."""

    first: str
    second: str
    pairs: int
    coefficient: Coefficient


def alpha_over_pairs(verdicts: Verdicts) -> Coefficient:
    """Krippendorff's alpha, nominal, over verdicts on pairs (each labeler judged a pair once).

    Each pair counts in both directions, since which of two responses is named first says nothing.
    """
    votes = votes_on_pairs(verdicts)
    prompt_of = np.zeros(len(votes), dtype=np.int64)  # a part of a table leaves pairs out
    prompt_of[verdicts.pairs] = verdicts.prompts
    both = np.concatenate([votes, votes[:, ::-1]])
    return krippendorff_alpha(both, np.concatenate([prompt_of, prompt_of]), "nominal")


def alpha_over_places(rankings: Sequence[Judged]) -> Coefficient:
    """Krippendorff's alpha, ordinal, over places within an item: 1 for the best, those who tie
    share the mean of their places. A labeler who ranked an item again counts with the last.
    """
    units: dict[tuple[str, frozenset[str]], int] = {}
    latest: dict[tuple[int, str], Judged] = {}
    for ranking in rankings:
        ranked = frozenset(one for group in ranking.groups for one in group)
        if ranked:
            item = units.setdefault((ranking.prompt_id, ranked), len(units))
            latest[item, ranking.labeler_id] = ranking
    votes: dict[tuple[int, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for (item, _), ranking in latest.items():
        for response, place in _places(ranking.groups):
            votes[item, response][place] += 1
    most = max((place for said in votes.values() for place in said), default=0) + 1
    counts = np.zeros((len(votes), most), dtype=np.int64)
    for row, said in enumerate(votes.values()):
        for place, number in said.items():
            counts[row, place] = number
    codes: dict[str, int] = {}
    prompts = [codes.setdefault(prompt_id, len(codes)) for prompt_id, _ in units]
    return krippendorff_alpha(
        counts, np.array([prompts[item] for item, _ in votes], dtype=np.int64), "ordinal"
    )


def _places(groups: tuple[tuple[str, ...], ...]) -> list[tuple[str, int]]:
    """Each response with twice its place, a whole number also where it shares one."""
    placed, before = [], 0
    for group in groups:
        placed += [(one, 2 * before + len(group) + 1) for one in group]
        before += len(group)
    return placed


def krippendorff_alpha(
    counts: NDArray[np.int64], prompts: NDArray[np.int64], level: Level
) -> Coefficient:
    """Alpha over `counts` (units, values): how many gave a unit each value, values in their order.

    The interval is a jackknife over parts of the `prompts`, one code per unit. Ordinal values that
    nobody gives change nothing. (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".)
    """
    judged = counts.sum(axis=1) > 1
    counts, prompts = counts[judged].astype(np.float64), prompts[judged]
    kept, prompts = np.unique(prompts, return_inverse=True)
    if len(kept) == 0:
        return Coefficient(None, None, 0)
    parts = min(PARTS, len(kept))
    coincidences = np.zeros((parts, counts.shape[1], counts.shape[1]))
    for part in range(parts):
        coincidences[part] = _coincidences(counts[prompts % parts == part])
    return _jackknifed(coincidences, lambda whole: _alpha_of(whole, level), len(kept))


def _jackknifed(
    tables: Floats, value_of: Callable[[Floats], float | None], prompts: int
) -> Coefficient:
    """The coefficient of the sum of `tables` (parts, values, values), with an interval by leaving
    out each part in turn.
    """
    whole = tables.sum(axis=0)
    value = value_of(whole)
    if value is None or len(tables) < 3:
        return Coefficient(value, None, prompts)
    without = [value_of(whole - part) for part in tables]
    held = np.array([one for one in without if one is not None])
    spread = sqrt((len(held) - 1) / len(held) * float(((held - held.mean()) ** 2).sum()))
    reach = float(student(len(held) - 1) * spread)
    return Coefficient(value, (value - reach, min(1.0, value + reach)), prompts)


def kappas(verdicts: Verdicts) -> list[Kappa]:
    """Cohen's kappa over verdicts of win, tie and loss, of each two labelers with a pair in common,
    in the order of their ids (each labeler judged a pair once).

    What chance would give depends on which of two responses is called the first: `verdicts` should
    hold them in a direction that no vote decides.
    """
    by_labeler = {
        name: verdicts.where(verdicts.labelers == code)
        for code, name in enumerate(verdicts.labeler_ids)
    }
    found = []
    for first, second in combinations(sorted(by_labeler), 2):
        one, two = by_labeler[first], by_labeler[second]
        _, ones, twos = np.intersect1d(
            one.pairs, two.pairs, assume_unique=True, return_indices=True
        )
        if not len(ones):
            continue
        kept, prompts = np.unique(one.prompts[ones], return_inverse=True)
        parts = min(PARTS, len(kept))
        tables = np.zeros((parts, 3, 3))
        said = (prompts % parts, one.signs[ones] + 1, two.signs[twos] + 1)
        np.add.at(tables, said, 1)
        found.append(Kappa(first, second, len(ones), _jackknifed(tables, _kappa_of, len(kept))))
    return found


def _kappa_of(table: Floats) -> float | None:
    """Cohen's kappa of a (values, values) table of cases; None where one value is all there is."""
    total = table.sum()
    chance = float(table.sum(0) @ table.sum(1)) / total**2
    return float((np.trace(table) / total - chance) / (1 - chance)) if chance < 1 else None


def _coincidences(counts: Floats) -> Floats:
    """(values, values): ordered pairs of values within units, each unit weighing its votes."""
    weights = 1 / (counts.sum(axis=1) - 1)
    found = np.einsum("uc,uk,u->ck", counts, counts, weights, optimize=True)
    return np.asarray(found - np.diag(counts.T @ weights))


def _alpha_of(coincidences: Floats, level: Level) -> float | None:
    """1 - observed / expected disagreement; None where only one value was ever given."""
    marginal = coincidences.sum(axis=0)
    if level == "nominal":
        distance = 1 - np.eye(len(marginal))
    else:  # the squared number of judgements between two places, the two half counted
        reach = np.cumsum(marginal) - marginal / 2
        distance = (reach[:, None] - reach[None, :]) ** 2
    expected = float((np.outer(marginal, marginal) * distance).sum())
    if expected == 0:
        return None
    observed = float((coincidences * distance).sum())
    return float(1 - (marginal.sum() - 1) * observed / expected)


def kendall_tau(verdicts: Verdicts) -> Coefficient:
    """Kendall's tau-b between each two labelers of an item, averaged over them and then over items
    (each labeler judged a pair once).

    A labeler who ties every response of an item orders nothing, and is left out there.
    """
    by_item: dict[tuple[int, bytes], list[NDArray[np.int64]]] = defaultdict(list)
    if len(verdicts):
        starts = np.flatnonzero(np.diff(verdicts.rankings, prepend=-1))
        ends = np.append(starts[1:], len(verdicts))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            key = (int(verdicts.prompts[start]), verdicts.pairs[start:end].tobytes())
            by_item[key].append(verdicts.signs[start:end])
    by_shape: dict[tuple[int, int], list[list[NDArray[np.int64]]]] = defaultdict(list)
    prompts: dict[tuple[int, int], list[int]] = defaultdict(list)
    for (prompt, _), signs in by_item.items():
        if len(signs) > 1:
            by_shape[len(signs), len(signs[0])].append(signs)
            prompts[len(signs), len(signs[0])].append(prompt)
    found = [_mean_tau(np.array(items, dtype=np.float64)) for items in by_shape.values()]
    taus = np.concatenate(found) if found else np.empty(0)
    taus = taus[~np.isnan(taus)]
    if len(taus) == 0:
        return Coefficient(None, None, 0)
    mean = float(taus.mean())
    if len(taus) < 3:
        return Coefficient(mean, None, len(taus))
    reach = student(len(taus) - 1) * float(taus.std(ddof=1)) / sqrt(len(taus))
    return Coefficient(mean, (max(-1.0, mean - reach), min(1.0, mean + reach)), len(taus))


def _mean_tau(signs: Floats) -> Floats:
    """(items,): the mean tau-b of items from their labelers' signs (items, labelers, pairs)."""
    products = np.einsum("iap,ibp->iab", signs, signs, optimize=True)
    sizes = np.sqrt(np.einsum("iaa->ia", products))
    one, two = np.triu_indices(signs.shape[1], 1)
    norms = sizes[:, one] * sizes[:, two]
    ordered = norms > 0
    taus = np.where(ordered, products[:, one, two] / np.where(ordered, norms, 1), 0)
    number = ordered.sum(axis=1)
    return np.asarray(np.where(number > 0, taus.sum(axis=1) / np.maximum(number, 1), np.nan))
