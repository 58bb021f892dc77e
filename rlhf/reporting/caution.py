"""What a reader is told to be wary of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caution:
    """A headline in a few words, and what the figures are. A `grave` one stands before the
    verdict.
    """

    headline: str
    text: str
    grave: bool = False
