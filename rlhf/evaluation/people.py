"""Blind comparisons by people: which policy's answer did they prefer, prompt by prompt."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from rlhf.data.identity import Json
from rlhf.data.records import Ranking, Response
from rlhf.evaluation.judges import Judged, Matchup
from rlhf.evaluation.sequential import ALPHA, Sequential, look
from rlhf.evaluation.winrate import WinRate, win_rate

# (the answer of a policy, the answer of the one it is compared with), to the same prompt
Contest = tuple[Response, Response]


class ByPeople:
    """People as judge: what they said so far.

    Several judgements of one contest are one comparison: the mean of 1 for the first, 0 for the
    second and 1/2 for a tie. Two answers that say the same are a tie without asking.
    """

    name = "people"
    independent = True

    def __init__(self, judgements: Iterable[Ranking]) -> None:
        self.said: dict[frozenset[str], list[Ranking]] = defaultdict(list)
        for judgement in judgements:
            self.said[frozenset(judgement.shown)].append(judgement)

    def compare(self, matchups: Sequence[Matchup]) -> list[Judged | None]:
        """The mean beside one half; None where nobody has looked."""
        means = self.means([(one.ours, one.theirs) for one in matchups])
        return [None if mean is None else Judged(mean, 0.5) for mean in means]

    def told(self) -> Json:
        """Nothing: the judge stage tells who was asked, and how often."""
        return {}

    def means(self, contests: Sequence[Contest]) -> list[float | None]:
        """What the votes on each contest come to; None where nobody has looked."""
        return [
            0.5 if ours.id == theirs.id else _mean(self._votes(ours, theirs), ours, theirs)
            for ours, theirs in contests
        ]

    def first_votes(self, contests: Sequence[Contest]) -> list[float]:
        """The first vote on each contest that anybody looked at, in the order they were given."""
        found = []
        for ours, theirs in contests:
            votes = sorted(self._votes(ours, theirs), key=lambda vote: vote.submitted_at)
            if votes and ours.id != theirs.id:
                found.append((votes[0].submitted_at, _share(votes[0], ours.id, theirs.id)))
        return [share for _, share in sorted(found, key=lambda one: one[0])]

    def _votes(self, ours: Response, theirs: Response) -> list[Ranking]:
        return self.said.get(frozenset((ours.id, theirs.id)), [])


def preferred(judgements: Iterable[Ranking], contests: Sequence[Contest]) -> WinRate | None:
    """How often people preferred the first answer of each contest; None where nobody judged any of
    those that differ. A contest is won where the mean of its votes is above 1/2.
    """
    means = ByPeople(judgements).means(contests)
    asked = [mean for mean, one in zip(means, contests, strict=True) if one[0].id != one[1].id]
    if asked and all(mean is None for mean in asked):
        return None
    shares = [mean for mean in means if mean is not None]
    return win_rate(shares, [0.5] * len(shares))


def looks(people: ByPeople, contests: Mapping[str, Sequence[Contest]]) -> dict[str, Sequential]:
    """A look at each policy that may be taken after every judgement; all of them together are wrong
    at most once in twenty (Bonferroni).
    """
    alpha = ALPHA / max(1, len(contests))
    return {name: look(people.first_votes(rows), alpha=alpha) for name, rows in contests.items()}


def may_stop(found: Iterable[Sequential]) -> bool:
    """Whether more judgements would change nothing: a policy is better, or all are worse."""
    said = [one.says for one in found]
    return "better" in said or all(one == "worse" for one in said)


def _mean(votes: Sequence[Ranking], ours: Response, theirs: Response) -> float | None:
    return fmean(_share(vote, ours.id, theirs.id) for vote in votes) if votes else None


def _share(vote: Ranking, ours: str, theirs: str) -> float:
    at = vote.positions()
    if not at or at[ours] == at[theirs]:
        return 0.5
    return 1.0 if at[ours] < at[theirs] else 0.0
