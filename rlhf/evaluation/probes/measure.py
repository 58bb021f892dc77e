"""A figure with its interval; free of what it takes to make one, so that a page starts without."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure with its interval, from `count` items."""

    value: float
    low: float
    high: float
    count: int
