"""What a run cost: time, energy, money and people's minutes, from its ledger."""

from dataclasses import dataclass

from rlhf.data.identity import Json
from rlhf.evaluation.spelling import listed
from rlhf.reporting.formatting import ABSENT, THIN, count, duration, number
from rlhf.reporting.reading import RunRecord
from rlhf.tracking.costs import Cost, Costs, costs_of, win_rate_of
from rlhf.tracking.ledger import read_ledger


@dataclass(frozen=True, slots=True)
class CostRow:
    """One stage, or all, spelled for the table."""

    stage: str
    attempts: str
    time: str
    lost: str
    energy: str
    co2e: str
    money: str


@dataclass(frozen=True, slots=True)
class CostSection:
    """Sentences, a row for each stage and one for all; `priced` where money is known."""

    sentences: tuple[str, ...]
    rows: tuple[CostRow, ...]
    priced: bool
    currency: str


def costs_of_run(run: RunRecord, faults: list[str]) -> Costs | None:
    """What the run's ledger says; None where it has none. What could not be read is added to
    `faults`.
    """
    return costs_of(
        read_ledger(run.last.folder.parents[2], faults),
        labels=run.result("label").get("rankings", 0),
        win_rate=win_rate_of({name: stage.result for name, stage in run.stages.items()}),
    )


def costs_section(run: RunRecord) -> CostSection | None:
    """The section; None where the run has no ledger."""
    faults: list[str] = []
    found = costs_of_run(run, faults)
    if found is None:
        return None
    rows = [_row(stage, cost) for stage, cost in found.stages.items()]
    sentences = [_time(found), _energy(found), _people(found), _money(found), *_per(found)]
    sentences += [f"{fault[0].upper()}{fault[1:]}." for fault in faults]
    return CostSection(
        tuple(one for one in sentences if one),
        (*rows, _row("all", found.total)),
        found.total.money is not None,
        found.currency,
    )


def _row(stage: str, cost: Cost) -> CostRow:
    return CostRow(
        stage,
        count(cost.attempts),
        duration(cost.seconds),
        duration(cost.lost_seconds) if cost.lost_seconds else ABSENT,
        energy(cost.kwh),
        grams(cost.co2e_kg),
        ABSENT if cost.money is None else small(cost.money, 2),
    )


def small(value: float, digits: int) -> str:
    """A number whose first digits show, however small it is: 0.00029, 2 -> "0.00029"."""
    return f"{value:.2g}" if 0 < value < 0.5 * 10 ** (1 - digits) else number(value, digits)


def energy(kwh: float) -> str:
    """0.0059 -> "5.9 Wh"."""
    if kwh < 0.9995:
        return f"{small(1000 * kwh, 1)}{THIN}Wh"
    return f"{number(kwh, 1)}{THIN}kWh"


def grams(kilograms: float | None) -> str:
    """0.0022 -> "2.2 g"."""
    if kilograms is None:
        return ABSENT
    if kilograms < 0.9995:
        return f"{small(1000 * kilograms, 1)}{THIN}g"
    return f"{number(kilograms, 1)}{THIN}kg"


def _time(found: Costs) -> str:
    total = found.total
    said = (
        f"All attempts at all stages took {duration(total.seconds)}, "
        f"{duration(total.device_seconds)} of device time"
    )
    if total.lost_seconds:
        said += f"; {duration(total.lost_seconds)} of it went into attempts that came to nothing"
    return f"{said}."


def _energy(found: Costs) -> str:
    said = f"Energy: {energy(found.total.kwh)} ({listed(found.energy)})"
    if found.total.co2e_kg is None:
        return (
            f"{said}; its CO2e is not known: set ledger.grams_per_kwh, or ledger.country with "
            "CodeCarbon installed."
        )
    return f"{said}, {grams(found.total.co2e_kg)} of CO2e."


def _people(found: Costs) -> str:
    if not found.labeler_minutes:
        return ""
    minutes = f"{number(found.labeler_minutes, 0)}{THIN}min"
    if found.simulated:
        return f"The simulated labelers' clock shows {minutes}, which cost nobody anything."
    return f"Labelers took {minutes}."


def _money(found: Costs) -> str:
    parts = [
        f"{small(money, 2)} {found.currency} for {what}"
        for what, money in (("devices", found.total.money), ("labelers", found.labeler_money))
        if money is not None
    ]
    if not parts:
        return "What that is in money is not said: set ledger.device_hour and ledger.labeler_hour."
    return f"Money: {listed(parts)}."


def _per(found: Costs) -> list[str]:
    said = []
    for what, share in (
        ("accepted ranking", found.per_label()),
        ("point of win rate above one half", found.per_point()),
    ):
        if share:
            said.append(f"For each {what}: {_share(share, found)}.")
    return said


def _share(share: Json, found: Costs) -> str:
    parts = [f"{duration(share['device_seconds'])} of device time", energy(share["kwh"])]
    if share["labeler_minutes"]:
        whose = "simulated" if found.simulated else "a labeler's"
        parts.append(f"{number(share['labeler_minutes'], 1)} {whose} minutes")
    if share["money"] is not None:
        parts.append(f"{small(share['money'], 2)} {found.currency}")
    return listed(parts)
