"""Train, validation and test by prompt: near-duplicates stay together, and what was decided holds.

Near-duplicates are found exactly, not by sketches: prefix filtering (Bayardo, Ma and Srikant 2007,
"Scaling up all pairs similarity search") finds every pair above the threshold.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlhf.data.identity import seed_from
from rlhf.data.records import SPLITS, Prompt, Split

Shingle = tuple[str, ...]
SHINGLE_WORDS = 3
_WORD = re.compile(r"\w+|[^\w\s]+")


@dataclass(frozen=True, slots=True)
class SplitResult:
    """Which prompt is on which side (`splits`, by prompt id).

    `set_aside` are new prompts that would join two sides; `near_duplicates` is the number of
    prompts beyond the first in each of the `clusters`.
    """

    splits: dict[str, Split]
    set_aside: tuple[str, ...]
    clusters: int
    near_duplicates: int


def assign_splits(
    prompts: Sequence[Prompt],
    shares: Mapping[Split, float],
    *,
    kept: Mapping[str, Split] | None = None,
    seed: int = 0,
    near_duplicate_threshold: float = 0.85,
) -> SplitResult:
    """Assigns every prompt to a side, whole clusters of near-duplicates at a time.

    Two prompts are near-duplicates where the Jaccard similarity of their word 3-grams reaches the
    threshold; clusters are chained. The order of `prompts` does not matter. Assignments in `kept`
    hold: give the earlier prompts again beside the new ones, or new near-duplicates of theirs are
    not seen. Raises ValueError for shares that are negative or do not sum to 1.
    """
    _check(shares, near_duplicate_threshold)
    held = kept or {}
    clusters = near_duplicate_clusters(prompts, near_duplicate_threshold)
    splits: dict[str, Split] = {}
    set_aside: list[str] = []
    for cluster in clusters:
        sides = {held[prompt] for prompt in cluster if prompt in held}
        side = sides.pop() if len(sides) == 1 else None
        if not sides and side is None:
            side = _side(shares, seed, cluster[0])
        for prompt in cluster:
            if prompt in held:
                splits[prompt] = held[prompt]
            elif side is None:
                set_aside.append(prompt)
            else:
                splits[prompt] = side
    total = sum(map(len, clusters))
    return SplitResult(
        splits, tuple(sorted(set_aside)), len(clusters), near_duplicates=total - len(clusters)
    )


def near_duplicate_clusters(
    prompts: Sequence[Prompt], threshold: float = 0.85
) -> list[tuple[str, ...]]:
    """Prompt ids in clusters of (chained) near-duplicates, sorted; most clusters hold one."""
    by_shingles: dict[frozenset[Shingle], list[str]] = defaultdict(list)
    for prompt in {prompt.id: prompt for prompt in prompts}.values():
        by_shingles[_shingles(prompt)].append(prompt.id)
    parents = list(range(len(by_shingles)))
    for left, right in _similar(list(by_shingles), threshold, parents):
        parents[_root(parents, left)] = _root(parents, right)
    clusters: dict[int, list[str]] = defaultdict(list)
    for index, ids in enumerate(by_shingles.values()):
        clusters[_root(parents, index)].extend(ids)
    return sorted(tuple(sorted(ids)) for ids in clusters.values())


def near_duplicates_of(
    prompts: Sequence[Prompt], others: Sequence[Prompt], threshold: float = 0.85
) -> dict[str, str]:
    """Of each prompt that has a near-duplicate among `others`, its id and that one's (the first by
    id). A prompt that stands among the others itself is its own.
    """
    sides = [(0, one) for one in prompts] + [(1, one) for one in others]
    documents = [_shingles(one) for _, one in sides]
    found: dict[str, str] = {}
    for later, earlier in _similar(documents, threshold, list(range(len(sides)))):
        (side, other), (earlier_side, one) = sides[later], sides[earlier]
        if side != earlier_side:
            found[one.id] = min(other.id, found.get(one.id, other.id))
    return found


def _similar(
    documents: list[frozenset[Shingle]], threshold: float, parents: list[int]
) -> Iterator[tuple[int, int]]:
    """Pairs at or above the threshold, less those that `parents` joins already.

    Two sets that similar share one of their rarest n - ceil(threshold * n) + 1 members.
    """
    frequency = Counter(shingle for document in documents for shingle in document)
    by_rarity = sorted(frequency, key=frequency.__getitem__)
    numbers = {shingle: number for number, shingle in enumerate(by_rarity)}
    sets = [frozenset(numbers[shingle] for shingle in document) for document in documents]
    index: dict[int, list[int]] = defaultdict(list)
    for current, members in enumerate(sets):
        size = len(members)
        prefix = sorted(members)[: size - math.ceil(threshold * size - 1e-9) + 1]
        for other in {other for member in prefix for other in index[member]}:
            if _root(parents, current) != _root(parents, other):
                shared = len(members & sets[other])
                if shared >= threshold * (size + len(sets[other]) - shared):
                    yield current, other
        for member in prefix:
            index[member].append(current)


def _shingles(prompt: Prompt) -> frozenset[Shingle]:
    """Word 3-grams of the conversation. A system turn that many prompts share says nothing about
    which of them are alike, and is left out.
    """
    turns = [message.content for message in prompt.messages if message.role != "system"]
    words = _WORD.findall(" ".join(turns).casefold())
    starts = range(max(1, len(words) - SHINGLE_WORDS + 1))
    return frozenset(tuple(words[start : start + SHINGLE_WORDS]) for start in starts)


def _root(parents: list[int], node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


def _side(shares: Mapping[Split, float], seed: int, representative: str) -> Split:
    point = seed_from("split", seed, representative) / 2**63
    sides = [side for side in SPLITS if shares.get(side, 0.0) > 0]
    for side in sides:
        point -= shares[side]
        if point < 0:
            return side
    return sides[-1]


def _check(shares: Mapping[Split, float], threshold: float) -> None:
    if set(shares) - set(SPLITS):
        raise ValueError(f"splits are {', '.join(SPLITS)}; got shares for {sorted(shares)}")
    if any(not share >= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"the shares of the splits must sum to 1, got {dict(shares)}")
    if not 0 < threshold <= 1:
        raise ValueError(f"near_duplicate_threshold must be in (0, 1], got {threshold}")
