"""How rows are dealt to several processes."""

import pytest
from accelerate.data_loader import BatchSamplerShard  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from rlhf.models.parallel import filled_up


@pytest.mark.parametrize(("index", "expected"), [(0, 1), (1, 2)])
def test_the_last_batches_are_filled_up_from_the_end(index: int, expected: int) -> None:
    """5 rows, two at once in two processes: 0 1 | 2 3, then 4 0 | 1 2."""
    assert filled_up(5, 2, 2, index) == expected


@given(st.integers(1, 40), st.integers(1, 5), st.integers(2, 4))
def test_as_accelerate_deals_them(rows: int, size: int, processes: int) -> None:
    """Without what is filled up, every row stands in the epoch once."""
    dealt = []
    for index in range(processes):
        plain = BatchSampler(range(rows), size, drop_last=False)
        own = [one for batch in BatchSamplerShard(plain, processes, index) for one in batch]
        dealt += own[: len(own) - filled_up(rows, size, processes, index)]
    assert sorted(dealt) == list(range(rows))
