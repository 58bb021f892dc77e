"""Rows cut into chunks: every row once, within the bounds, and no other cut costs less."""

from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.models import chunks as module
from rlhf.models.chunks import CPU_PASS_TOKENS, chunks

LENGTHS = st.lists(st.integers(0, 200), max_size=9)


@pytest.fixture(scope="module", autouse=True)
def _a_pass_costs_what_it_does_on_a_cpu() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "pass_tokens", lambda: CPU_PASS_TOKENS)
        yield


def cost(cut: list[list[int]], lengths: list[int]) -> int:
    return sum(
        max(1, *(lengths[i] for i in part)) * len(part) + CPU_PASS_TOKENS for part in cut if part
    )


def every_cut(order: list[int]) -> list[list[list[int]]]:
    inside = range(1, len(order))
    return [
        [order[a:b] for a, b in zip((0, *at), (*at, len(order)), strict=True)]
        for many in range(len(order))
        for at in combinations(inside, many)
    ]


def fits(cut: list[list[int]], lengths: list[int], rows: int | None, tokens: int | None) -> bool:
    return all(
        len(part) == 1
        or (
            (rows is None or len(part) <= rows)
            and (tokens is None or max(1, *(lengths[i] for i in part)) * len(part) <= tokens)
        )
        for part in cut
    )


@given(LENGTHS, st.none() | st.integers(1, 5), st.none() | st.integers(1, 600))
@settings(deadline=None)
def test_no_cut_of_the_sorted_rows_costs_less(
    lengths: list[int], rows: int | None, tokens: int | None
) -> None:
    found = chunks(lengths, rows=rows, tokens=tokens)
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    assert [place for part in found for place in part] == order
    assert fits(found, lengths, rows, tokens)
    if lengths:
        allowed = [one for one in every_cut(order) if fits(one, lengths, rows, tokens)]
        assert cost(found, lengths) == min(cost(one, lengths) for one in allowed)


def test_chunks_by_hand() -> None:
    # Two passes: 2 * 10 + 32, and 1 * 90 + 32; one pass would be 3 * 90 + 32.
    assert chunks([10, 90, 8]) == [[2, 0], [1]]
    # A pass more costs more than the padding that it saves.
    assert chunks([10, 12, 8]) == [[2, 0, 1]]
    assert chunks([10, 12, 8], rows=2) == [[2], [0, 1]]
    assert chunks([10, 12, 8], tokens=20) == [[2, 0], [1]]
    assert chunks([]) == []


@pytest.mark.parametrize("tokens", [1, 5])
def test_a_row_longer_than_the_budget_goes_alone(tokens: int) -> None:
    assert chunks([7, 6], tokens=tokens) == [[1], [0]]
