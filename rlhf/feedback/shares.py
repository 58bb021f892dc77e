"""Cases counted by labeler and item, of which a part are alike: what shares are made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf.feedback.checks import COPY
from rlhf.feedback.intervals import Array
from rlhf.feedback.observations import Asked, Observations, Vote
from rlhf.feedback.verdicts import Ints, Verdicts, verdicts_of, votes_on_pairs


@dataclass(frozen=True, slots=True)
class Tally:
    """Cases that are `alike`, and cases in all, by labeler and cluster: (labelers, clusters)."""

    alike: Array
    total: Array

    def of(self, labeler: int) -> tuple[Array, Array]:
        return self.alike[labeler], self.total[labeler]


@dataclass(frozen=True, slots=True)
class Crew:
    """Votes with the codes of their labelers, and the table of their pairs (expected orders of
    gold items stand at its end, as votes of nobody).
    """

    names: tuple[str, ...]
    items: Mapping[int, Asked]
    votes: tuple[Vote, ...]
    labelers: Ints
    prompts: Ints
    kinds: NDArray[np.str_]
    table: Verdicts
    words: Mapping[str, float]

    def pairs(self, *kinds: str) -> Verdicts:
        """The verdicts on items of these kinds, each labeler's last on a pair."""
        by_people = self.table.rankings < len(self.votes)
        place = np.where(by_people, self.table.rankings, 0)
        kept = by_people & np.isin(self.kinds, kinds)[place] if len(self.votes) else by_people
        return self.table.where(kept).latest()

    def tally(self, labelers: Ints, prompts: Ints, alike: Array, total: Array) -> Tally:
        clusters, codes = np.unique(prompts, return_inverse=True)
        shape = (len(self.names), len(clusters))
        keys = labelers * shape[1] + codes
        size = shape[0] * shape[1]
        return Tally(
            np.bincount(keys, weights=alike, minlength=size).astype(np.float64).reshape(shape),
            np.bincount(keys, weights=total, minlength=size).astype(np.float64).reshape(shape),
        )


def crew_of(observed: Observations) -> Crew:
    votes = tuple(v for v in observed.votes if observed.items[v.item_id].kind != "review")
    expected = [
        Vote(0, item.id, item.prompt_id, "", item.expected, (), False, 0.0, 0.0)
        for item in observed.items.values()
        if item.kind == "gold" and item.expected
    ]
    codes: dict[str, int] = {}
    prompts: dict[str, int] = {}
    labelers = [codes.setdefault(vote.labeler_id, len(codes)) for vote in votes]
    return Crew(
        tuple(codes),
        observed.items,
        votes,
        np.array(labelers, dtype=np.int64),
        np.array([prompts.setdefault(v.prompt_id, len(prompts)) for v in votes], dtype=np.int64),
        np.array([observed.items[vote.item_id].kind for vote in votes], dtype=np.str_),
        verdicts_of([*votes, *expected]),
        observed.words,
    )


def _others(crew: Crew) -> Tally:
    table = crew.pairs("work")
    votes = votes_on_pairs(table)  # (pairs, 3)
    strict = table.signs != 0
    same = votes[table.pairs, table.signs + 1] - 1
    both = votes[table.pairs, 0] + votes[table.pairs, 2] - 1
    return crew.tally(table.labelers, table.prompts, same * strict, both * strict)


def _gold(crew: Crew) -> Tally:
    wanted = crew.table.where(crew.table.rankings >= len(crew.votes))
    size = int(crew.table.pairs.max()) + 1 if len(crew.table) else 0
    signs = np.zeros(size, dtype=np.int64)
    signs[wanted.pairs] = wanted.signs
    table = crew.pairs("gold")
    asked = signs[table.pairs] != 0
    right = (signs[table.pairs] == table.signs) & asked
    return crew.tally(
        table.labelers, table.prompts, right.astype(np.float64), asked.astype(np.float64)
    )


def _consistency(crew: Crew) -> Tally:
    first, again = crew.pairs("work"), crew.pairs("repeat")
    people = len(crew.names) + 1
    _, one, two = np.intersect1d(
        first.pairs * people + first.labelers,
        again.pairs * people + again.labelers,
        assume_unique=True,
        return_indices=True,
    )
    strict = (first.signs[one] != 0) & (again.signs[two] != 0)
    same = (first.signs[one] == again.signs[two]) & strict
    return crew.tally(
        first.labelers[one], first.prompts[one], same.astype(np.float64), strict.astype(np.float64)
    )


def _length(crew: Crew) -> Tally:
    table = crew.pairs("work")
    words = np.array([crew.words.get(response, 0.0) for response in table.response_ids])
    longer = np.sign(words[table.firsts] - words[table.seconds]) if len(table) else np.empty(0)
    judged = (longer != 0) & (table.signs != 0)
    loved = (longer == table.signs) & judged
    return crew.tally(
        table.labelers, table.prompts, loved.astype(np.float64), judged.astype(np.float64)
    )


def _ties(crew: Crew) -> Tally:
    table = crew.pairs("work")
    tied = (table.signs == 0).astype(np.float64)
    return crew.tally(table.labelers, table.prompts, tied, np.ones(len(table)))


def _none(crew: Crew) -> Tally:
    kept = crew.kinds == "work"
    said = np.array([vote.none_acceptable for vote in crew.votes], dtype=np.float64)[kept]
    return crew.tally(crew.labelers[kept], crew.prompts[kept], said, np.ones(len(said)))


AGAINST_THE_CREW: dict[str, Callable[[Crew], Tally]] = {
    "gold": _gold,
    "others": _others,
    "consistency": _consistency,
    "length": _length,
    "ties": _ties,
    "none": _none,
}


def identical_pairs(crew: Crew) -> Tally:
    """Of two cards that say the same: was the one shown first put above the other?"""
    first, decided = np.zeros(len(crew.votes)), np.zeros(len(crew.votes))
    for place in np.flatnonzero(crew.kinds == "identical").tolist():
        vote = crew.votes[place]
        level = {one: number for number, group in enumerate(vote.groups) for one in group}
        copies = [one for one in vote.shown if one.endswith(COPY)]
        if not level or not copies:
            continue
        twins = [one for one in vote.shown if one in (copies[0], copies[0].removesuffix(COPY))]
        first[place] = level[twins[0]] < level[twins[1]]
        decided[place] = level[twins[0]] != level[twins[1]]
    return crew.tally(crew.labelers, np.arange(len(crew.votes)), first, decided)
