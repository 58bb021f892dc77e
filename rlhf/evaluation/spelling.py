"""Figures and names in the sentences of a verdict, with plain spaces."""

from collections.abc import Sequence

from rlhf.data.identity import Json


def percent(share: float, digits: int = 0) -> str:
    """0.701 -> "70 %"."""
    return f"{100 * share:.{digits}f} %"


def span(low: float, high: float) -> str:
    """0.65, 0.74 -> "65 to 74 %"."""
    return f"{100 * low:.0f} to {percent(high)}"


def count(value: int, singular: str) -> str:
    """1046, "comparison" -> "1,046 comparisons"."""
    return f"{value:,} {singular}" + ("" if value == 1 else "s")


def listed(words: Sequence[str]) -> str:
    """ "a", "b", "c" -> "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def kl(row: Json) -> str:
    """A policy's distance from SFT, with its unit."""
    return f"{row['kl']:.1f} nats" if row.get("kl") is not None else "an unknown distance"
