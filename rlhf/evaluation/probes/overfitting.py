"""Overfitting of DPO: how much more of its training rankings than of held-out ones it orders as the
labelers did, by its implicit reward (Rafailov et al. 2023, eq. 5).

The reward model's accuracy on its splits stands in its own certificate; PPO and SFT are followed
on held-out prompts while they train. DPO alone logs nothing but its training pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlhf.data.records import SPLITS, Split
from rlhf.evaluation.probes.bench import BASE, Bench, Ranked, Reply
from rlhf.evaluation.probes.finding import Finding, NothingToProbeError
from rlhf.evaluation.probes.means import difference_of, ratio_of
from rlhf.evaluation.winrate import outcome
from rlhf.feedback.pairs import comparisons

TITLE = "Overfitting of DPO"
POLICY = "dpo"
FEWEST = 8  # prompts of a side


@dataclass(frozen=True, slots=True)
class Ordered:
    """How many of a prompt's strict votes an implicit reward orders rightly; equal counts half."""

    right: float
    votes: int


def probe(bench: Bench) -> dict[str, Finding]:
    """Accuracy on training rankings less that on those of the test split (or of validation)."""
    if POLICY not in bench.trained:
        raise NothingToProbeError("no policy was trained by DPO")
    ranked = {split: sorted(bench.ranked.get(split, ()), key=_by_id) for split in SPLITS}
    voted = {
        split: [one for one in held if _votes(one)][: max(FEWEST, bench.limit // 2)]
        for split, held in ranked.items()
    }
    sides_held_out: tuple[Split, ...] = ("test", "validation")
    held_out = next((one for one in sides_held_out if len(voted[one]) >= FEWEST), None)
    if held_out is None or len(voted["train"]) < FEWEST:
        raise NothingToProbeError(f"fewer than {FEWEST} ranked prompts are held out")
    found = _ordered(bench, voted)
    sides = {split: _columns(held) for split, held in found.items() if len(held) > 1}
    gap = difference_of(sides["train"], sides[held_out])
    accuracy = {split: round(ratio_of(*columns).value, 6) for split, columns in sides.items()}
    details = {"accuracy": accuracy, "held_out": held_out}
    return {POLICY: Finding({"gap": gap}, details)}


def _ordered(bench: Bench, voted: Mapping[Split, Sequence[Ranked]]) -> dict[Split, list[Ordered]]:
    rows = [(split, one) for split, held in voted.items() for one in held]
    prompts = [one.prompt for _, one in rows for _ in one.responses]
    replies = [Reply(r.text, 0, r.finished) for _, one in rows for r in one.responses]
    ours, theirs = (bench.models.nats(name, prompts, replies) for name in (POLICY, BASE))
    gains = iter([b - a for (a, _), (b, _) in zip(ours, theirs, strict=True)])  # -log p fell by
    found: dict[Split, list[Ordered]] = {split: [] for split in voted}
    for split, one in rows:
        rewards = {response.id: next(gains) for response in one.responses}
        votes = _votes(one)
        found[split].append(Ordered(sum(_hit(rewards, vote) for vote in votes), len(votes)))
    return found


def _votes(one: Ranked) -> list[tuple[str, str]]:
    """Every strict vote, as (better, worse) response ids."""
    return [(a, b) for ranking in one.rankings for a, b, margin in comparisons(ranking) if margin]


def _hit(rewards: Mapping[str, float], vote: tuple[str, str]) -> float:
    better, worse = vote
    return outcome(rewards[better], rewards[worse])


def _columns(held: Sequence[Ordered]) -> tuple[list[float], list[float]]:
    return [one.right for one in held], [float(one.votes) for one in held]


def _by_id(one: Ranked) -> str:
    return one.prompt.id
