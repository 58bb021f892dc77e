"""Blind comparisons by people: which policy's answer did they prefer, prompt by prompt."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from rlhf.data.identity import Json
from rlhf.data.records import Ranking, Response
from rlhf.evaluation.judges import Judged, Matchup
from rlhf.evaluation.paired import each_two
from rlhf.evaluation.sequential import ALPHA, Sequential, look
from rlhf.evaluation.winrate import WinRate, outcome, win_rate

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

    def judged(self, contests: Sequence[Contest]) -> list[float | None]:
        """The same, without a word on answers that nobody was asked about: None where both say the
        same.
        """
        means = zip(contests, self.means(contests), strict=True)
        return [None if same(one) else mean for one, mean in means]

    def first_votes(self, contests: Sequence[Contest]) -> list[float]:
        """The first vote on each contest that anybody looked at, in the order they were given."""
        found = []
        for ours, theirs in contests:
            votes = sorted(self._votes(ours, theirs), key=lambda vote: vote.submitted_at)
            if votes and not same((ours, theirs)):
                found.append((votes[0].submitted_at, _share(votes[0], ours.id, theirs.id)))
        return [share for _, share in sorted(found, key=lambda one: one[0])]

    def _votes(self, ours: Response, theirs: Response) -> list[Ranking]:
        return self.said.get(frozenset((ours.id, theirs.id)), [])


def preferred(people: ByPeople, contests: Sequence[Contest]) -> WinRate | None:
    """How often people preferred the first answer of each contest that they judged; None where
    nobody judged any of those that differ. A contest is won where the mean of its votes is above
    1/2.

    Answers that are the same count for nothing: all of them are known, and of those that differ
    only the ones that somebody judged, so that ties by sameness would draw the rate to one half
    the more, the fewer were judged. Where no answers differ, nothing is known: one half, 0 to 1.
    """
    if all(same(one) for one in contests):
        return WinRate(0.5, 0.0, 1.0, 0, 0, 0)
    shares = [mean for mean in people.judged(contests) if mean is not None]
    return win_rate(shares, [0.5] * len(shares)) if shares else None


def differences(
    people: ByPeople, contests: Mapping[str, Sequence[Contest]], *, seed: int = 0
) -> list[Json]:
    """Each two policies: by how much the first is preferred to SFT more often than the second, on
    the prompts where people judged both; without pairs that have none.
    """
    shares = {
        name: {
            ours.prompt_id: outcome(mean, 0.5)
            for (ours, _), mean in zip(rows, people.judged(rows), strict=True)
            if mean is not None
        }
        for name, rows in contests.items()
    }
    return each_two(shares, seed=seed)


def same(contest: Contest) -> bool:
    """Whether both answers say the same, so that nobody is asked."""
    return contest[0].id == contest[1].id


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
