"""How each labeler works: shares with intervals, and what is expected of them.

Nothing here drops anybody: a labeler is left out of an export only where a lead names them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlhf.feedback.checks import COPY
from rlhf.feedback.intervals import Array, Share, difference, median_of, share_of, student
from rlhf.feedback.observations import Observations, Vote
from rlhf.feedback.shares import AGAINST_THE_CREW, Tally, crew_of, identical_pairs

MINIMUM = 20  # items of a kind before anything is said of a labeler
# Who understands what they read manages 200 to 400 words a minute (Rayner et al. 2016, "So Much to
# Read, So Little Time").
READING_LIMIT_WPM = 500.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """A figure of one labeler beside what is `expected`, and the p-value that they are the same."""

    labeler_id: str
    measure: str
    share: Share
    expected: float
    p_value: float


@dataclass(frozen=True, slots=True)
class LabelerQuality:
    """One labeler. `shares` is by measure:

    `gold` pairs ordered as expected; `others`, strict pairs ordered as another labeler did;
    `consistency`, strict pairs ordered alike when an item came again; `identical`, of two cards
    that say the same and are not tied, the one shown first preferred; `place`, where the best stood
    among the cards (0 first, 1 last, half by chance); `length`, the longer of two preferred;
    `ties`, pairs tied; `none`, answers that none is acceptable; `skips`, items given that were
    skipped; `late`, answers after the lease; `corrections`, answers corrected later.

    `seconds` and `words_per_minute` are medians; `hours` is the time that answers took in all.
    """

    labeler_id: str
    answers: int
    hours: float
    shares: Mapping[str, Share]
    seconds: Share
    words_per_minute: Share


def judge(observed: Observations) -> tuple[list[LabelerQuality], list[Evidence]]:
    """Every labeler, in the order of their ids, and all the evidence that there is to weigh."""
    crew = crew_of(observed)
    tallies = {name: make(crew) for name, make in AGAINST_THE_CREW.items()}
    identical = identical_pairs(crew)
    words = _words_of_items(observed)
    labelers, evidence = [], []
    known = {
        measure: [share_of(*tally.of(code), MINIMUM) for code in range(len(crew.names))]
        for measure, tally in tallies.items()
    }
    for code, name in sorted(enumerate(crew.names), key=lambda one: one[1]):
        shares = {measure: by_code[code] for measure, by_code in known.items()}
        found: list[Evidence | None] = []
        for measure, tally in tallies.items():
            compared = _against_the_rest(code, measure, tally, known[measure])
            if compared is not None:
                found.append(Evidence(name, measure, shares[measure], *compared))
        shares["identical"] = share_of(*identical.of(code), MINIMUM)
        found.append(_first_shown(name, shares["identical"], *identical.of(code)))
        votes = [crew.votes[place] for place in np.flatnonzero(crew.labelers == code).tolist()]
        shares["place"], p_place = _place_of_best(
            [vote for vote in votes if crew.items[vote.item_id].kind in ("work", "gold")]
        )
        found.append(_evidence(name, "place", shares["place"], 0.5, p_place))
        timed = [vote for vote in votes if vote.seconds > 0]
        speed = np.array([60 * words[vote.item_id] / vote.seconds for vote in timed])
        found.append(_too_fast(name, speed))
        shares |= _habits(observed, name, votes)
        evidence += [one for one in found if one is not None]
        labelers.append(
            LabelerQuality(
                name,
                len(votes),
                sum(vote.seconds for vote in votes) / 3600,
                shares,
                median_of(np.array([vote.seconds for vote in timed]), MINIMUM),
                median_of(speed, MINIMUM),
            )
        )
    return labelers, evidence


def _against_the_rest(
    labeler: int, measure: str, tally: Tally, shares: Sequence[Share]
) -> tuple[float, float] | None:
    """What is expected of a labeler by the others, and the p-value that they are like them.

    For `others`, how far the rest agree among themselves. Else the median of the others, and the
    p-value must hold without the oddest of them too: one odd colleague accuses nobody. None where
    fewer than two others are known.
    """
    known = {
        code: share.value
        for code, share in enumerate(shares)
        if code != labeler and share.value is not None
    }
    if not shares[labeler].is_known or len(known) < 2:
        return None
    own = tally.of(labeler)
    alike, total = tally.alike.sum(axis=0), tally.total.sum(axis=0)
    if measure == "others":  # each agreement stands there twice, once for each of the two
        rest = (alike / 2 - own[0], total / 2 - own[1])
        among = share_of(*rest, MINIMUM).value
        return None if among is None else (among, difference(own, rest))
    middle = float(np.median(list(known.values())))
    oddest = max(known, key=lambda code: abs(known[code] - middle))
    rest = (alike - own[0], total - own[1])
    without = (rest[0] - tally.alike[oddest], rest[1] - tally.total[oddest])
    return middle, max(difference(own, rest), difference(own, without))


# Measured against chance


def _first_shown(name: str, share: Share, first: Array, decided: Array) -> Evidence | None:
    from scipy import stats

    if not share.is_known:
        return None
    p_value = float(stats.binomtest(int(first.sum()), int(decided.sum()), 0.5).pvalue)
    return Evidence(name, "identical", share, 0.5, p_value)


def _place_of_best(votes: Sequence[Vote]) -> tuple[Share, float]:
    """Where the best stood, and the p-value that place does not matter.

    The order on the screen is drawn at random, so that by chance the best `m` of `K` cards stand at
    places drawn without replacement: their mean has a known spread.
    """
    from scipy import stats

    places, variances = [], []
    for vote in votes:
        if len(vote.groups) < 2:
            continue
        size, best = len(vote.shown), len(vote.groups[0])
        at = {response: place for place, response in enumerate(vote.shown)}
        mean = sum(at[response] for response in vote.groups[0]) / best
        places.append(mean / (size - 1))
        variances.append((size + 1) * (size - best) / (12 * best * (size - 1) ** 2))
    number = len(places)
    if number < MINIMUM:
        return Share(None, None, number, number, MINIMUM), 1.0
    mean = float(np.mean(places))
    reach = student(number - 1) * float(np.std(places, ddof=1)) / number**0.5
    error = float(np.sum(variances)) ** 0.5 / number
    p_value = float(2 * stats.norm.sf(abs(mean - 0.5) / error))
    interval = (max(0.0, mean - reach), min(1.0, mean + reach))
    return Share(mean, interval, number, number, MINIMUM), p_value


def _evidence(
    name: str, measure: str, share: Share, expected: float, p_value: float
) -> Evidence | None:
    return Evidence(name, measure, share, expected, p_value) if share.is_known else None


def _words_of_items(observed: Observations) -> dict[int, float]:
    """What there is to read in each item, in words."""
    words = observed.words
    return {
        item.id: words.get(item.prompt_id, 0.0)
        + sum(words.get(one.removesuffix(COPY), 0.0) for one in item.response_ids)
        for item in observed.items.values()
    }


def _too_fast(name: str, speed: Array) -> Evidence | None:
    from scipy import stats

    median = median_of(speed, MINIMUM)
    if not median.is_known:
        return None
    above = int((speed > READING_LIMIT_WPM).sum())
    p_value = stats.binomtest(above, len(speed), 0.5, alternative="greater").pvalue
    return Evidence(name, "words_per_minute", median, READING_LIMIT_WPM, float(p_value))


def _habits(observed: Observations, name: str, votes: Sequence[Vote]) -> dict[str, Share]:
    """What counts against nobody: it is shown, and never becomes a finding."""
    late = sum(vote.late for vote in votes)
    skipped = observed.given.get((name, "skipped"), 0)
    corrected = observed.corrections.get(name, 0)
    return {
        "late": _proportion(late, len(votes)),
        "skips": _proportion(skipped, skipped + observed.given.get((name, "done"), 0)),
        "corrections": _proportion(min(corrected, len(votes)), len(votes)),
    }


def _proportion(number: int, cases: int) -> Share:
    said = np.zeros(cases)
    said[:number] = 1
    return share_of(said, np.ones(cases), MINIMUM)
