"""Sums of a ledger: per stage, in all, for each accepted label and for each point of win rate."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from rlhf.data.identity import Json
from rlhf.tracking.ledger import Spent

PEOPLE = ("label", "judge")


@dataclass(frozen=True, slots=True)
class Cost:
    """What some attempts cost together. None: not known for any of them. `lost_seconds` went into
    attempts that came to nothing.
    """

    attempts: int
    seconds: float
    lost_seconds: float
    device_seconds: float
    kwh: float
    co2e_kg: float | None
    money: float | None

    def to_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Costs:
    """A run's costs. `labeler_minutes` and `labeler_money` are those behind the newest snapshots,
    since each snapshot holds all that the one before it held.
    """

    stages: dict[str, Cost]
    total: Cost
    labeler_minutes: float
    labeler_money: float | None
    simulated: bool
    currency: str
    energy: tuple[str, ...]
    labels: int
    win_points: float | None

    @property
    def money(self) -> float | None:
        """Devices and people together, as far as they have a price."""
        parts = [one for one in (self.total.money, self.labeler_money) if one is not None]
        return sum(parts) if parts else None

    def per_label(self) -> Json:
        """Everything, divided by the rankings that were accepted."""
        return self._per(self.labels)

    def per_point(self) -> Json:
        """Everything, divided by the points of win rate above one half; {} where there is none."""
        return self._per(self.win_points or 0)

    def _per(self, count: float) -> Json:
        if count <= 0:
            return {}
        return {
            "device_seconds": self.total.device_seconds / count,
            "labeler_minutes": self.labeler_minutes / count,
            "kwh": self.total.kwh / count,
            "co2e_kg": None if self.total.co2e_kg is None else self.total.co2e_kg / count,
            "money": None if self.money is None else self.money / count,
        }

    def to_json(self) -> Json:
        return {
            "stages": {name: cost.to_json() for name, cost in self.stages.items()},
            "total": self.total.to_json(),
            "labeler_minutes": self.labeler_minutes,
            "labeler_money": self.labeler_money,
            "simulated_labelers": self.simulated,
            "money": self.money,
            "currency": self.currency,
            "energy_from": list(self.energy),
            "per_accepted_label": self.per_label(),
            "per_point_of_win_rate": self.per_point(),
        }


def costs_of(entries: Sequence[Spent], *, labels: int, win_rate: float | None) -> Costs | None:
    """The sums of a ledger; None where it is empty. `labels` are the rankings accepted, `win_rate`
    is that of the policy to ship.
    """
    if not entries:
        return None
    by_stage: dict[str, list[Spent]] = defaultdict(list)
    for one in entries:
        by_stage[one.stage].append(one)
    last = [
        next(one for one in reversed(by_stage[stage]) if one.outcome == "complete")
        for stage in PEOPLE
        if any(one.outcome == "complete" for one in by_stage.get(stage, []))
    ]
    points = None if win_rate is None else 100 * win_rate - 50
    return Costs(
        {stage: _sum(found) for stage, found in by_stage.items()},
        _sum(entries),
        sum(one.labeler_minutes for one in last),
        _known(one.labeler_money for one in last),
        any(one.simulated for one in last),
        entries[-1].currency,
        tuple(dict.fromkeys(one.energy for one in entries if one.energy)),
        labels,
        points if points is not None and points > 0 else None,
    )


def _sum(entries: Sequence[Spent]) -> Cost:
    return Cost(
        len(entries),
        round(sum(one.seconds for one in entries), 2),
        round(sum(one.seconds for one in entries if one.outcome != "complete"), 2),
        round(sum(one.device_seconds for one in entries), 2),
        sum(one.kwh for one in entries),
        _known(one.co2e_kg for one in entries),
        _known(one.money for one in entries),
    )


def _known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def win_rate_of(results: Mapping[str, Json]) -> float | None:
    """The win rate of the policy to ship: people's, where they compared, else the evaluation's."""
    for stage, name in (("judge", "rate"), ("evaluate", "win_rate")):
        found = results.get(stage, {})
        row = found.get("policies", {}).get(found.get("best", ""), {})
        if name in row:
            return float(row[name])
    return None
