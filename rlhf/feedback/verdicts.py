"""Rankings as one table of verdicts on pairs, in arrays: what agreement is counted from.

A hundred thousand rankings become millions of pairs: no loop of Python runs over those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Judged(Protocol):
    """What is needed of a ranking: who ordered which responses, to what."""

    @property
    def prompt_id(self) -> str: ...
    @property
    def labeler_id(self) -> str: ...
    @property
    def groups(self) -> tuple[tuple[str, ...], ...]: ...


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One row for each pair of responses that a ranking orders or ties.

    `rankings` is the ranking's place among those given. `firsts` and `seconds` are codes of
    responses, and `signs` says 1 where the first is better, -1 where the second is, 0 for a tie;
    the same two responses to the same prompt stand in the same order in every row. `pairs` codes
    the two. `response_ids` and `labeler_ids` spell the codes.
    """

    prompts: Ints
    pairs: Ints
    labelers: Ints
    rankings: Ints
    firsts: Ints
    seconds: Ints
    signs: Ints
    response_ids: tuple[str, ...]
    labeler_ids: tuple[str, ...]
    num_prompts: int

    def __len__(self) -> int:
        return len(self.pairs)

    def where(self, kept: NDArray[Any]) -> "Verdicts":
        """The rows that a mask or a list of places keeps."""
        return Verdicts(
            self.prompts[kept],
            self.pairs[kept],
            self.labelers[kept],
            self.rankings[kept],
            self.firsts[kept],
            self.seconds[kept],
            self.signs[kept],
            self.response_ids,
            self.labeler_ids,
            self.num_prompts,
        )

    def latest(self) -> "Verdicts":
        """The rows without those of a labeler who judged the same pair again later."""
        keys = self.pairs * max(1, len(self.labeler_ids)) + self.labelers
        order = np.lexsort((self.rankings, keys))
        last = np.append(keys[order][1:] != keys[order][:-1], True) if len(self) else order
        return self.where(np.sort(order[last]))


def verdicts_of(rankings: Sequence[Judged]) -> Verdicts:
    """The table of `rankings`; prompts, responses and labelers are coded as they come."""
    known: dict[str, dict[str, int]] = {}
    fresh = count()
    labelers: dict[str, int] = {}
    by_size: dict[int, list[list[int]]] = {}
    prompt_of: dict[str, int] = {}
    prompt_codes, labeler_codes = [], []
    for place, ranking in enumerate(rankings):
        responses = known.setdefault(ranking.prompt_id, {})
        prompt_codes.append(prompt_of.setdefault(ranking.prompt_id, len(prompt_of)))
        labeler_codes.append(labelers.setdefault(ranking.labeler_id, len(labelers)))
        coded: list[int] = []
        levels: list[int] = []
        for level, group in enumerate(ranking.groups):
            for response in group:
                code = responses.get(response)
                if code is None:
                    code = responses[response] = next(fresh)
                coded.append(code)
                levels.append(level)
        if len(coded) > 1:
            by_size.setdefault(len(coded), []).append([place, *coded, *levels])
    tables = [_pairs(np.array(rows, dtype=np.int64)) for rows in by_size.values()]
    table = np.concatenate(tables, axis=1) if tables else np.empty((4, 0), dtype=np.int64)
    rows = table[:, np.argsort(table[0], kind="stable")]
    response_ids: list[str] = [""] * next(fresh)
    for responses in known.values():
        for response, code in responses.items():
            response_ids[code] = response
    _, pairs = np.unique(rows[1] * max(1, len(response_ids)) + rows[2], return_inverse=True)
    return Verdicts(
        np.array(prompt_codes, dtype=np.int64)[rows[0]],
        pairs.astype(np.int64),
        np.array(labeler_codes, dtype=np.int64)[rows[0]],
        rows[0],
        rows[1],
        rows[2],
        rows[3],
        tuple(response_ids),
        tuple(labelers),
        len(prompt_of),
    )


def _pairs(rows: Ints) -> Ints:
    """(4, pairs): place, first, second, sign; from rows of place, K codes, K levels."""
    size = (rows.shape[1] - 1) // 2
    codes, levels = rows[:, 1 : size + 1], rows[:, size + 1 :]
    order = np.argsort(codes, axis=1)
    codes, levels = np.take_along_axis(codes, order, 1), np.take_along_axis(levels, order, 1)
    one, two = np.triu_indices(size, 1)
    signs = np.sign(levels[:, two] - levels[:, one])
    places = np.repeat(rows[:, 0], len(one))
    return np.stack([places, codes[:, one].ravel(), codes[:, two].ravel(), signs.ravel()])


def votes_on_pairs(verdicts: Verdicts) -> Ints:
    """(pairs, 3): how many say that the second is better, that they tie, that the first is."""
    num_pairs = int(verdicts.pairs.max()) + 1 if len(verdicts) else 0
    flat = np.bincount(verdicts.pairs * 3 + verdicts.signs + 1, minlength=num_pairs * 3)
    return flat.reshape(-1, 3).astype(np.int64)
