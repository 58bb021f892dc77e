"""The ledger of a run: what every attempt at a stage cost, also those that failed.

`ledger.jsonl` at the top of the run folder, two lines an attempt: when it begins and when it ends.
It lies there and not in the stages' folders because a stage that is begun again, or cleaned away,
takes its folder with it, and the money is spent all the same. Prices are those of the moment.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rlhf.data.identity import Json
from rlhf.data.jsonl import append_jsonl
from rlhf.tracking.energy import AssumedWatts, Devices, Energy, LedgerSettings, devices, open_meter

LEDGER = "ledger.jsonl"
BEGUN = "begun"


@dataclass(frozen=True, slots=True)
class Spent:
    """One attempt at a stage: `outcome` is complete, failed, stopped (by Ctrl-C or by waiting for
    people) or killed (its time is then up to its last write). Money is None where no price is set;
    labelers' minutes and money are those behind the whole snapshot that it made.
    """

    stage: str
    place: str
    started_at: str
    outcome: str
    seconds: float = 0.0
    device: str = "cpu"
    devices: int = 1
    kwh: float = 0.0
    co2e_kg: float | None = None
    energy: str = ""
    money: float | None = None
    currency: str = ""
    labeler_minutes: float = 0.0
    labeler_money: float | None = None
    simulated: bool = False
    pid: int = 0

    @property
    def device_seconds(self) -> float:
        return self.seconds * self.devices


@dataclass(slots=True)
class Booking:
    """An attempt under way; `result` are the stage's figures once it has them."""

    result: Json = field(default_factory=dict)


@contextmanager
def booked(
    settings: LedgerSettings,
    run_folder: Path,
    folder: Path,
    *,
    simulated: bool,
    no_failure: tuple[type[BaseException], ...] = (),
) -> Iterator[Booking]:
    """Books what is done in the block, however it ends; first whatever was killed before it.
    `no_failure` are exceptions by which a stage stops in good order.
    """
    book_killed(settings, run_folder)
    stage, place = folder.parent.name, folder.relative_to(run_folder).as_posix()
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    held = devices()
    begun = Spent(stage, place, now, BEGUN, device=held.kind, devices=held.count, pid=os.getpid())
    append_jsonl(run_folder / LEDGER, asdict(begun))
    meter = open_meter(settings, f"{place} {now}", held)
    started = time.monotonic()
    booking = Booking()
    outcome = "failed"
    try:
        yield booking
        outcome = "complete"
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit, *no_failure)):
            outcome = "stopped"
        raise
    finally:
        seconds = time.monotonic() - started
        energy = meter.read(seconds)
        ended = priced(
            settings, begun, outcome, seconds, energy, booking.result, simulated=simulated
        )
        append_jsonl(run_folder / LEDGER, asdict(ended))


def priced(
    settings: LedgerSettings,
    begun: Spent,
    outcome: str,
    seconds: float,
    energy: Energy,
    result: Json,
    *,
    simulated: bool,
) -> Spent:
    """The entry of an attempt that ended, at the prices of now. Simulated labelers have minutes of
    a simulated clock, and cost nothing.
    """
    seconds = round(seconds, 2)
    money, wage = settings.device_hour, settings.labeler_hour
    minutes = float(result.get("labeler_minutes", 0.0))
    return Spent(
        begun.stage,
        begun.place,
        begun.started_at,
        outcome,
        seconds,
        begun.device,
        begun.devices,
        energy.kwh,
        energy.co2e_kg,
        energy.source,
        None if money is None else seconds * begun.devices / 3600 * money,
        settings.currency,
        minutes,
        None if wage is None or simulated else minutes / 60 * wage,
        simulated,
        begun.pid,
    )


def book_killed(settings: LedgerSettings, run_folder: Path) -> None:
    """Ends what began and did not end, at the last write in its folder. Whoever books holds the
    run, so that nothing else of it is under way, whatever number its process had: after a container
    is started again this process may well have the same.
    """
    for one in _not_ended(read_lines(run_folder / LEDGER, [])):
        append_jsonl(run_folder / LEDGER, asdict(_killed(settings, run_folder, one)))


def open_attempts(entries: Sequence[Spent]) -> list[Spent]:
    """What began, did not end, and is not under way any more, to whoever only reads."""
    return [one for one in _not_ended(entries) if not _alive(one)]


def _not_ended(entries: Sequence[Spent]) -> list[Spent]:
    ended = {(one.place, one.started_at) for one in entries if one.outcome != BEGUN}
    begun = [one for one in entries if one.outcome == BEGUN]
    return [one for one in begun if (one.place, one.started_at) not in ended]


def _killed(settings: LedgerSettings, run_folder: Path, begun: Spent) -> Spent:
    folder = run_folder / begun.place
    writes = [path.stat().st_mtime for path in folder.rglob("*") if path.is_file()]
    started = datetime.fromisoformat(begun.started_at).timestamp()
    seconds = max(0.0, max(writes, default=started) - started)
    energy = AssumedWatts(settings, Devices(begun.device, begun.devices)).read(seconds)
    return priced(settings, begun, "killed", seconds, energy, {}, simulated=False)


def _alive(one: Spent) -> bool:
    """Whether its process is there; of another machine's, nothing is known, and it counts as gone
    unless a process here happens to have its number.
    """
    try:
        os.kill(one.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return one.pid > 0


def read_lines(path: Path, faults: list[str]) -> list[Spent]:
    """Every line that can be read, in order; the others are named in `faults`."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else [], 1):
        try:
            found.append(Spent(**json.loads(line)))
        except (ValueError, TypeError) as error:
            faults.append(f"{path.name}, line {number}, cannot be read ({error})")
    return found


def read_ledger(
    run_folder: Path, faults: list[str], settings: LedgerSettings | None = None
) -> list[Spent]:
    """Every attempt that ended, oldest first, those that were killed among them."""
    lines = read_lines(run_folder / LEDGER, faults)
    lost = [_killed(settings or LedgerSettings(), run_folder, one) for one in open_attempts(lines)]
    return [one for one in lines if one.outcome != BEGUN] + lost
