"""Blind comparisons by people: which policy's answer did they prefer, prompt by prompt."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from rlhf.data.records import Ranking, Response
from rlhf.evaluation.winrate import WinRate, win_rate

# (the answer of a policy, the answer of the one it is compared with), to the same prompt
Contest = tuple[Response, Response]


def preferred(judgements: Iterable[Ranking], contests: Sequence[Contest]) -> WinRate | None:
    """How often people preferred the first answer of each contest; None where nobody judged any of
    those that differ.

    Several judgements of one contest are one comparison: the mean of 1 for the first, 0 for the
    second and 1/2 for a tie, won where it is above 1/2. Two answers that say the same are a tie
    without asking.
    """
    said: dict[frozenset[str], list[Ranking]] = defaultdict(list)
    for judgement in judgements:
        said[frozenset(judgement.shown)].append(judgement)
    judged = []
    same = 0
    for ours, theirs in contests:
        votes = said.get(frozenset((ours.id, theirs.id)), [])
        same += ours.id == theirs.id
        if votes:
            judged.append(fmean(_share(vote, ours.id, theirs.id) for vote in votes))
    if not judged and same < len(contests):
        return None
    shares = [*judged, *[0.5] * same]
    return win_rate(shares, [0.5] * len(shares))


def _share(vote: Ranking, ours: str, theirs: str) -> float:
    at = vote.positions()
    if not at or at[ours] == at[theirs]:
        return 0.5
    return 1.0 if at[ours] < at[theirs] else 0.0
