"""Work that nobody waits for."""

import threading

import pytest

from rlhf.tracking import courier
from rlhf.tracking.courier import Courier


def test_all_is_done_in_order_and_what_fails_is_told() -> None:
    done: list[int] = []
    told: list[tuple[str, str]] = []
    works = Courier(lambda what, error: told.append((what, str(error))))

    def fail() -> None:
        raise ValueError("no")

    for number in range(50):
        works.hand(str(number), fail if number == 20 else lambda n=number: done.append(n))  # type: ignore[misc]
    assert works.wait(5)
    assert done == [number for number in range(50) if number != 20]
    assert told == [("20", "no")]


def test_where_nothing_moves_nobody_waits_and_memory_has_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(courier, "MOST_WAITING", 3)
    stuck, done = threading.Event(), []
    told: list[str] = []
    works = Courier(lambda what, error: told.append(f"{what}: {error}"))
    works.hand("stuck", lambda: stuck.wait(30))
    for number in range(4):
        works.hand(str(number), lambda n=number: done.append(n))  # type: ignore[misc]
    assert told == ["2: 3 things wait and none is done", "3: 3 things wait and none is done"]
    assert not works.wait(0.05)
    stuck.set()
    assert works.wait(5)
    assert done == [0, 1]
