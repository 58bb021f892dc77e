"""The energy that a stage takes: measured by CodeCarbon where a country is named and it is there
(`pip install rlhf-pipeline[costs]`), else assumed from watts that the config names.

CodeCarbon is asked in its offline mode, at the beginning and the end of a stage and twice a minute
in between, in a thread of its own; the first time it takes some seconds to look around.
"""

import importlib.util
import logging
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, Field

MEASURE_SECONDS = 30
DRIVERS = Path("/proc/driver/nvidia/gpus")


class LedgerSettings(BaseModel, extra="forbid", frozen=True):
    """What a run costs. Money: `device_hour` is the price of one device for an hour (a GPU, or the
    machine where there is none), `labeler_hour` what people get; what is not set is not counted.
    Energy: measured by CodeCarbon where `country` (as DEU) is set and it is installed, else
    `gpu_watts` for each GPU and `cpu_watts` for the machine are assumed. `grams_per_kwh` of CO2e
    stands in for CodeCarbon's figure of the country.
    """

    currency: str = "EUR"
    device_hour: float | None = Field(default=None, ge=0)
    labeler_hour: float | None = Field(default=None, ge=0)
    country: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    cpu_watts: float = Field(default=60.0, ge=0)
    gpu_watts: float = Field(default=350.0, ge=0)
    grams_per_kwh: float | None = Field(default=None, ge=0)


@dataclass(frozen=True, slots=True)
class Energy:
    """kWh, kg of CO2e (None where nothing tells), and where the figures are from."""

    kwh: float
    co2e_kg: float | None
    source: str


class Meter(Protocol):
    """Measures from when it is made until it is read."""

    def read(self, seconds: float) -> Energy:
        """What was taken in `seconds`; ends the measurement."""


@dataclass(frozen=True, slots=True)
class Devices:
    """How many devices a stage holds, and of what kind (`gpu`, or `cpu`: the machine)."""

    kind: str
    count: int


def devices() -> Devices:
    """The GPUs that this process may use, else the machine; without torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = len(list(DRIVERS.iterdir())) if DRIVERS.is_dir() else 0
    if visible is not None:
        there = min(
            there, len([one for one in visible.split(",") if one.strip() not in {"", "-1"}])
        )
    return Devices("gpu", there) if there else Devices("cpu", 1)


@dataclass(frozen=True, slots=True)
class AssumedWatts:
    """Watts times time."""

    settings: LedgerSettings
    held: Devices
    why: str = ""

    def read(self, seconds: float) -> Energy:
        watts = assumed_watts(self.settings, self.held)
        said = f"assumed: {watts:g} W{self.why}"
        kwh = watts * seconds / 3.6e6
        return Energy(kwh, _co2e(self.settings, kwh, None), said)


def assumed_watts(settings: LedgerSettings, held: Devices) -> float:
    """What the machine takes with its GPUs, as the config says."""
    gpus = held.count if held.kind == "gpu" else 0
    return settings.cpu_watts + settings.gpu_watts * gpus


class Measured:
    """One task of CodeCarbon's tracker."""

    def __init__(self, settings: LedgerSettings, tracker: Any, name: str) -> None:
        self._settings, self._tracker, self._name = settings, tracker, name
        tracker.start_task(name)

    def read(self, seconds: float) -> Energy:  # noqa: ARG002 - it keeps its own time
        data = self._tracker.stop_task(self._name)
        kwh = float(data.energy_consumed)
        co2e = _co2e(self._settings, kwh, float(data.emissions))
        return Energy(kwh, co2e, f"measured by CodeCarbon, {self._settings.country}")


def open_meter(settings: LedgerSettings, name: str, held: Devices) -> Meter:
    """Begins to measure; `name` is of this measurement alone."""
    if settings.country is None:
        return AssumedWatts(settings, held)
    if importlib.util.find_spec("codecarbon") is None:
        return AssumedWatts(settings, held, ", CodeCarbon is not installed")
    return Measured(settings, _tracker(settings.country), name)


@cache
def _tracker(country: str) -> Any:
    """One for the process: its first measurement takes seconds."""
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger("codecarbon").setLevel(logging.ERROR)  # its import sets a level of its own
    return OfflineEmissionsTracker(
        country_iso_code=country,
        save_to_file=False,
        log_level="error",
        measure_power_secs=MEASURE_SECONDS,
        allow_multiple_runs=True,
    )


def _co2e(settings: LedgerSettings, kwh: float, measured: float | None) -> float | None:
    return measured if settings.grams_per_kwh is None else kwh * settings.grams_per_kwh / 1000
