"""How fast a training says it goes, and how much memory it says it held."""

import time

import pytest
import torch

from rlhf.policy.phases import Clock, peak_megabytes
from rlhf.policy.training_log import Averages, Pace


def test_means_of_what_was_noted() -> None:
    made = Averages()
    made.note({"a": 1.0, "b": 4.0})
    made.note({"a": 2.0})
    assert made.taken() == {"a": 1.5, "b": 4.0}
    assert made.taken() == {}


def test_pace_counts_from_where_a_training_began_or_went_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([100.0, 104.0, 106.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    pace = Pace(Clock())
    pace.begin(1000)  # resumed there
    pace.begin(1016)  # the training began once
    first = pace.taken(1016, 10.0)
    assert first["eps"] == pytest.approx(16 / 4)
    assert first["time/tokens_per_second"] == pytest.approx(160 / 4)
    assert first["episode"] == 1016
    assert pace.taken(1024, 5.0)["eps"] == pytest.approx(8 / 2)


def test_the_peak_of_a_gpu_is_that_since_the_last_log(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [3 * 2**20]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: held[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: held.__setitem__(0, 2**20))
    assert [peak_megabytes(), peak_megabytes()] == [3, 1]
