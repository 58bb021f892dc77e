"""Who judged: how often each labeler who compared answers blind, and each group of labelers,
preferred a policy to SFT.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from rlhf.data.jsonl import read_jsonl
from rlhf.data.policies import TRAINED
from rlhf.data.records import Message, Prompt, Ranking, Response
from rlhf.evaluation.winrate import wilson
from rlhf.reporting.reading import RunRecord

FEWEST = 10  # comparisons of a labeler


@dataclass(frozen=True, slots=True)
class Judged:
    """What one labeler (or all who compared too few, together: an empty name) made of a policy."""

    policy: str
    labeler: str
    rate: float
    low: float
    high: float
    comparisons: int


def judged_by_labeler(run: RunRecord) -> list[Judged]:
    """Each policy by each labeler; nothing where no people judged. Several judgements of one
    contest by one labeler are one comparison: the last.
    """
    return [*_rows({key: [*one.values()] for key, one in _held(run).items()})]


def judged_by_group(run: RunRecord) -> list[Judged]:
    """Each policy by each group of `label.groups`, whose names stand in `labeler`; what several of
    a group said of one contest is one comparison: their mean.
    """
    groups = (run.config.get("label") or {}).get("groups") or {}
    group_of = {one: name for name, members in groups.items() for one in members}
    said: dict[tuple[str, str], dict[frozenset[str], list[float]]] = {}
    for (policy, labeler), contests in _held(run).items():
        if labeler not in group_of:
            continue
        own = said.setdefault((policy, group_of[labeler]), defaultdict(list))
        for contest, share in contests.items():
            own[contest].append(share)
    found = []
    for (policy, group), together in sorted(said.items()):
        rate = fmean(fmean(one) for one in together.values())
        found.append(Judged(policy, group, rate, *wilson(rate, len(together)), len(together)))
    return found


def _held(run: RunRecord) -> dict[tuple[str, str], dict[frozenset[str], float]]:
    """(policy, labeler) -> contest -> 1 where the policy was preferred, 0 where SFT was."""
    held: dict[tuple[str, str], dict[frozenset[str], float]] = defaultdict(dict)
    sides = dict(_contests(run))
    for vote in _judgements(run):
        contest = frozenset(vote.shown)
        for policy, ours, theirs in sides.get(contest, ()):
            held[policy, vote.labeler_id][contest] = _share(vote, ours, theirs)
    return held


def _rows(held: dict[tuple[str, str], list[float]]) -> Iterator[Judged]:
    few: dict[str, list[float]] = defaultdict(list)
    for (policy, labeler), shares in sorted(held.items()):
        if len(shares) >= FEWEST:
            rate = fmean(shares)
            yield Judged(policy, labeler, rate, *wilson(rate, len(shares)), len(shares))
        else:
            few[policy] += shares
    for policy, shares in few.items():
        rate = fmean(shares)
        yield Judged(policy, "", rate, *wilson(rate, len(shares)), len(shares))


def _judgements(run: RunRecord) -> Iterator[Ranking]:
    if "judge" in run.stages:
        path = run.stages["judge"].folder / "judgements.jsonl"
        yield from map(Ranking.from_json, read_jsonl(path))


def _contests(run: RunRecord) -> Iterator[tuple[frozenset[str], list[tuple[str, str, str]]]]:
    """The two answers of a contest, and which policies it is between: (policy, ours, theirs). Two
    policies may have written the same answer.
    """
    found: dict[frozenset[str], list[tuple[str, str, str]]] = defaultdict(list)
    for row in run.answers:
        prompt = Prompt.of(tuple(Message.from_json(one) for one in row["prompt"]))
        ids = {
            name: Response.of(prompt.id, one["text"], finished=one["finished"]).id
            for name, one in row["answers"].items()
        }
        for name in TRAINED:
            if name in ids and ids[name] != ids["reference"]:
                pair = frozenset((ids[name], ids["reference"]))
                found[pair].append((name, ids[name], ids["reference"]))
    yield from found.items()


def _share(vote: Ranking, ours: str, theirs: str) -> float:
    """1 where ours is preferred, 0 where theirs is, one half for a tie or where none will do."""
    at = vote.positions()
    if not at or at[ours] == at[theirs]:
        return 0.5
    return 1.0 if at[ours] < at[theirs] else 0.0
