"""What a run will take, from what its stages took before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.runner import Step
from rlhf.tracking.energy import LedgerSettings
from rlhf.tracking.ledger import Spent, read_ledger
from rlhf.tracking.run_folder import Completion, StageFolder


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a stage took: seconds, bytes, and where it is known kWh and money for devices."""

    seconds: float
    size_bytes: int
    kwh: float | None
    money: float | None


def forecast(folder: Path, steps: Sequence[Step], settings: LedgerSettings) -> dict[str, Forecast]:
    """What each stage took the last time it ran, in this run or in any beside it, at the prices of
    now. Energy only where the ledger of that run has it.
    """
    found: dict[str, tuple[str, Forecast]] = {}
    names = {step.stage.name for step in steps}
    for run in {one.parent for one in folder.parent.glob("*/round-*")}:
        booked_before = {
            one.place: one for one in read_ledger(run, []) if one.outcome == "complete"
        }
        for root in (root for root in run.glob("round-*/*") if root.name in names):
            for done in StageFolder(root).completed():
                if done.finished_at > found.get(root.name, ("", None))[0]:
                    place = f"{root.parent.name}/{root.name}/{done.fingerprint}"
                    took = _took(done, booked_before.get(place), settings)
                    found[root.name] = (done.finished_at, took)
    return {name: took for name, (_, took) in found.items()}


def _took(done: Completion, spent: Spent | None, settings: LedgerSettings) -> Forecast:
    if spent is None:
        return Forecast(done.seconds, done.size_bytes, None, None)
    price = settings.device_hour
    money = None if price is None else spent.device_seconds / 3600 * price
    return Forecast(done.seconds, done.size_bytes, spent.kwh, money)
