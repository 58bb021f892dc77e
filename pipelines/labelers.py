"""`labelers.json`: what the rankings of each labeler weigh in training, how reliable they are, and
who is held out.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, write_json
from rlhf.feedback.manners import Reliability
from rlhf.feedback.reliability import HABITS

LABELERS = "labelers.json"


def write_labelers(
    folder: Path,
    by: str,
    weights: Mapping[str, float],
    reliability: Mapping[str, Reliability],
    held_out: Collection[str] = (),
) -> Json:
    """Writes the file, and returns what a stage's result says of it. `weights` names every labeler
    who ranked, 0 for who is held out.
    """
    rows = {name: _row(one) for name, one in sorted(reliability.items())}
    write_json(
        folder / LABELERS,
        {
            "by": by,
            "weights": dict(sorted(weights.items())),
            "reliability": rows,
            "held_out": sorted(held_out),
        },
    )
    training = [weight for name, weight in weights.items() if name not in held_out]
    return {
        "by": by,
        "labelers": len(weights),
        "held_out": len(held_out),
        "without_weight": sum(weight == 0 for weight in training),
        "lowest_weight": min(training, default=None),
    }


def read_labeler_weights_of(folder: Path) -> dict[str, float]:
    """What the rankings of each labeler weigh in training, by id; 0 for who is held out."""
    return {name: float(one) for name, one in read_json(folder / LABELERS)["weights"].items()}


def read_held_out_of(folder: Path) -> frozenset[str]:
    """The labelers whose rankings train nothing."""
    return frozenset(read_json(folder / LABELERS)["held_out"])


def _row(one: Reliability) -> Json:
    return {
        "value": one.value,
        "standard_error": one.standard_error,
        "leanings": dict(zip(HABITS, one.leanings, strict=True)),
        "comparisons": one.comparisons,
    }
