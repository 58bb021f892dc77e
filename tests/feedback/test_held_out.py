"""Labelers held out by hash: about the share asked for, and nobody moves when others join."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.feedback.held_out import held_out_labelers

CROWD = [f"labeler-{number}" for number in range(2000)]


def test_the_share_is_held_and_the_seed_matters() -> None:
    held = held_out_labelers(CROWD, 0.2)
    assert 340 < len(held) < 460  # 400 +- 3.4 standard deviations
    assert held == held_out_labelers(reversed(CROWD), 0.2)
    assert held != held_out_labelers(CROWD, 0.2, seed=1)
    assert held < held_out_labelers(CROWD, 0.5)
    assert held_out_labelers(CROWD, 0.0) == frozenset()
    assert held_out_labelers([], 0.5) == frozenset()


@given(st.sets(st.text(min_size=1), min_size=1, max_size=8), st.floats(0, 0.99))
def test_somebody_trains_and_joining_moves_nobody(names: set[str], share: float) -> None:
    held = held_out_labelers(names, share)
    assert held < names
    more = held_out_labelers([*names, *CROWD[:50]], share)
    if len(held) < len(names) - 1:
        assert more & names == held


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, float("nan")])
def test_a_share_that_leaves_nobody_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        held_out_labelers(CROWD, share)
