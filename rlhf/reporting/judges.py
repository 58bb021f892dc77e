"""Who judged: how often each labeler who compared answers blind preferred a policy to SFT."""

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
    held: dict[tuple[str, str], dict[frozenset[str], float]] = defaultdict(dict)
    sides = dict(_contests(run))
    for vote in _judgements(run):
        contest = frozenset(vote.shown)
        for policy, ours, theirs in sides.get(contest, ()):
            held[policy, vote.labeler_id][contest] = _share(vote, ours, theirs)
    return [*_rows({key: [*one.values()] for key, one in held.items()})]


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
