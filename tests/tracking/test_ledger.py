"""The ledger: every attempt is booked, however it ends, and the sums are what one gets by hand."""

import json
import os
import subprocess
import sys
import types
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipelines.config import RunConfig, load_config
from pipelines.summary import write_summary
from rlhf.data.jsonl import append_jsonl, read_json
from rlhf.tracking import energy
from rlhf.tracking.costs import costs_of, win_rate_of
from rlhf.tracking.energy import AssumedWatts, Devices, LedgerSettings, devices, open_meter
from rlhf.tracking.ledger import LEDGER, Spent, booked, read_ledger, read_lines

PRICED = LedgerSettings(device_hour=2.0, labeler_hour=30.0, currency="CHF", cpu_watts=72.0)


def spent(stage: str, seconds: float, outcome: str = "complete", **more: Any) -> Spent:
    return Spent(stage, f"round-1/{stage}/aaa", f"t{seconds}", outcome, seconds, **more)


def book(run: Path, stage: str, settings: LedgerSettings = PRICED, **result: Any) -> None:
    with booked(settings, run, run / "round-1" / stage / "aaa", simulated=False) as booking:
        booking.result = result


def test_an_attempt_is_booked_with_its_price_of_the_moment(tmp_path: Path) -> None:
    book(tmp_path, "label", labeler_minutes=40.0)
    (one,) = read_ledger(tmp_path, [])
    assert (one.stage, one.place, one.outcome) == ("label", "round-1/label/aaa", "complete")
    assert one.labeler_money == pytest.approx(20.0)
    assert (one.currency, one.devices, one.device) == ("CHF", 1, "cpu")
    assert one.energy == "assumed: 72 W"
    assert one.co2e_kg is None
    assert 0 <= one.seconds < 5
    book(tmp_path, "reward", LedgerSettings(device_hour=9.0))
    first, second = read_ledger(tmp_path, [])
    assert (first, second.labeler_money) == (one, None)


def test_assumed_watts_are_watts_times_time() -> None:
    machine = AssumedWatts(PRICED, Devices("cpu", 1)).read(3600.0)
    assert machine.kwh == pytest.approx(0.072)
    settings = LedgerSettings(cpu_watts=100.0, gpu_watts=300.0, grams_per_kwh=400.0)
    gpus = AssumedWatts(settings, Devices("gpu", 2)).read(1800.0)  # 700 W for half an hour
    assert gpus.kwh == pytest.approx(0.35)
    assert gpus.co2e_kg == pytest.approx(0.14)
    assert gpus.source == "assumed: 700 W"


class WaitingError(Exception):
    """Stands for waiting for people."""


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ValueError("no"), "failed"), (KeyboardInterrupt(), "stopped"), (WaitingError(), "stopped")],
)
def test_what_came_to_nothing_is_booked_too(
    tmp_path: Path, error: BaseException, outcome: str
) -> None:
    folder = tmp_path / "round-1/ppo/aaa"
    with (
        pytest.raises(type(error)),
        booked(PRICED, tmp_path, folder, simulated=False, no_failure=(WaitingError,)),
    ):
        raise error
    (one,) = read_ledger(tmp_path, [])
    assert one.outcome == outcome


KILLED = """
import os, signal, sys, time
from pathlib import Path
from rlhf.tracking.energy import LedgerSettings
from rlhf.tracking.ledger import booked
run = Path(sys.argv[1])
folder = run / "round-1/ppo/aaa"
with booked(LedgerSettings(), run, folder, simulated=False):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("{}")
    os.utime(folder / "metrics.jsonl", (time.time() + 90, time.time() + 90))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_killed_counts_up_to_its_last_write(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
    (one,) = read_ledger(tmp_path, [], PRICED)
    assert one.outcome == "killed"
    assert one.seconds == pytest.approx(90, abs=3)
    assert one.money == pytest.approx(one.seconds / 3600 * 2)
    book(tmp_path, "ppo")  # the next attempt books it before it clears the folder
    (tmp_path / "round-1/ppo/aaa/metrics.jsonl").unlink()
    first, second = read_ledger(tmp_path, [])
    assert (first.outcome, second.outcome) == ("killed", "complete")
    assert first.seconds == one.seconds


def test_what_is_under_way_is_not_counted(tmp_path: Path) -> None:
    with booked(PRICED, tmp_path, tmp_path / "round-1/report/aaa", simulated=True):
        assert read_ledger(tmp_path, []) == []
        assert read_lines(tmp_path / LEDGER, [])[0].pid == os.getpid()


def test_the_sums_by_hand() -> None:
    entries = [
        spent("label", 10.0, labeler_minutes=60.0, labeler_money=30.0, kwh=0.001, currency="CHF"),
        spent("ppo", 100.0, "failed", money=1.0, kwh=0.01),
        spent("ppo", 300.0, devices=2, money=6.0, kwh=0.03, co2e_kg=0.012),
        # One more ranking: this snapshot holds all that the first one held.
        spent("label", 12.0, labeler_minutes=90.0, labeler_money=45.0, kwh=0.001, currency="CHF"),
        spent("label", 1.0, "stopped", currency="CHF"),
    ]
    found = costs_of(entries, labels=45, win_rate=0.58)
    assert found is not None
    ppo = found.stages["ppo"]
    assert (ppo.attempts, ppo.seconds, ppo.lost_seconds) == (2, 400.0, 100.0)
    assert (ppo.device_seconds, ppo.money, ppo.co2e_kg) == (700.0, 7.0, 0.012)
    assert found.stages["label"].money is None
    assert (found.total.seconds, found.total.lost_seconds) == (423.0, 101.0)
    assert (found.labeler_minutes, found.labeler_money, found.money) == (90.0, 45.0, 52.0)
    assert found.per_label()["money"] == pytest.approx(52 / 45)
    assert found.per_label()["labeler_minutes"] == pytest.approx(2.0)
    assert found.per_point()["money"] == pytest.approx(52 / 8)
    assert found.per_point()["kwh"] == pytest.approx(0.042 / 8)


def test_no_point_won_has_no_price() -> None:
    for rate in (None, 0.5, 0.4):
        found = costs_of([spent("ppo", 1.0)], labels=0, win_rate=rate)
        assert found is not None
        assert (found.per_point(), found.per_label(), found.money) == ({}, {}, None)
    assert costs_of([], labels=1, win_rate=0.6) is None


def test_peoples_win_rate_goes_before_the_evaluations() -> None:
    evaluated = {"best": "dpo", "policies": {"dpo": {"win_rate": 0.7}}}
    people = {"best": "ppo", "policies": {"ppo": {"rate": 0.6}}}
    assert win_rate_of({"evaluate": evaluated}) == 0.7
    assert win_rate_of({"evaluate": evaluated, "judge": people}) == 0.6
    assert win_rate_of({}) is None


def test_simulated_labelers_cost_nothing(tmp_path: Path) -> None:
    with booked(PRICED, tmp_path, tmp_path / "round-1/label/aaa", simulated=True) as booking:
        booking.result = {"labeler_minutes": 600.0}
    (one,) = read_ledger(tmp_path, [])
    assert (one.labeler_minutes, one.labeler_money, one.simulated) == (600.0, None, True)


def test_damaged_lines_are_named_and_the_rest_counts(tmp_path: Path) -> None:
    book(tmp_path, "sft")
    path = tmp_path / LEDGER
    path.write_bytes(path.read_bytes() + b'\x00\xff junk\n{"stage": "ppo", "pla')
    book(tmp_path, "reward")
    faults: list[str] = []
    assert [one.stage for one in read_ledger(tmp_path, faults)] == ["sft", "reward"]
    assert len(faults) == 2
    assert faults[0].startswith("ledger.jsonl, line 3, cannot be read")
    found = read_json(write_summary(tmp_path, tmp_path / "round-1", {}))["ledger"]
    assert found["faults"] == faults
    assert found["total"]["attempts"] == 2


def test_gpus_are_counted_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "DRIVERS", tmp_path / "none")
    assert devices() == Devices("cpu", 1)
    for number in range(4):
        (tmp_path / f"0000:0{number}").mkdir()
    monkeypatch.setattr(energy, "DRIVERS", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices() == Devices("gpu", 4)
    for visible, held in (("0,2", Devices("gpu", 2)), ("", Devices("cpu", 1))):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert devices() == held


class TrackerDouble:
    """CodeCarbon's offline tracker, as far as it is used."""

    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, **asked: Any) -> None:
        self.made.append(asked)
        self.tasks: list[str] = []

    def start_task(self, name: str) -> None:
        assert name not in self.tasks
        self.tasks.append(name)

    def stop_task(self, name: str) -> Any:
        assert name == self.tasks[-1]
        return types.SimpleNamespace(energy_consumed=0.5, emissions=0.2)


def test_codecarbon_is_asked_offline_once_for_all_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("codecarbon")
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    module.OfflineEmissionsTracker = TrackerDouble  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    energy._tracker.cache_clear()
    for stage in ("sft", "reward"):
        book(tmp_path, stage, LedgerSettings(country="CHE"))
    energy._tracker.cache_clear()
    (asked,) = TrackerDouble.made
    assert (asked["country_iso_code"], asked["save_to_file"]) == ("CHE", False)
    for one in read_ledger(tmp_path, []):
        assert (one.kwh, one.co2e_kg) == (0.5, 0.2)
        assert one.energy == "measured by CodeCarbon, CHE"


def test_without_codecarbon_watts_are_assumed_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    settings = LedgerSettings(country="CHE", cpu_watts=50.0, grams_per_kwh=100.0)
    read = open_meter(settings, "x", Devices("cpu", 1)).read(3600.0)
    assert read.source == "assumed: 50 W, CodeCarbon is not installed"
    assert read.kwh == pytest.approx(0.05)
    assert read.co2e_kg == pytest.approx(0.005)


def test_the_config_has_a_section_that_no_fingerprint_reads() -> None:
    config = load_config(
        Path("tests/pipelines/tiny.yaml"), ["ledger.device_hour=2", "ledger.country=DEU"]
    )
    assert config.ledger == LedgerSettings(device_hour=2.0, country="DEU")
    with pytest.raises(ValueError, match=r"ledger\.country"):
        load_config(Path("tests/pipelines/tiny.yaml"), ["ledger.country=Germany"])
    assert "ledger" in RunConfig.model_fields
    assert json.loads(json.dumps(config.model_dump(mode="json")))["ledger"]["currency"] == "EUR"


def test_what_had_our_number_before_a_restart_was_killed_too(tmp_path: Path) -> None:
    """In a container the run is process 1 each time: the one that was killed has our number."""
    killed = Spent(
        "ppo", "round-1/ppo/aaa", "2026-11-24T10:00:00.000+00:00", "begun", pid=os.getpid()
    )
    append_jsonl(tmp_path / LEDGER, asdict(killed))
    assert read_ledger(tmp_path, []) == [], "who only reads cannot tell"
    book(tmp_path, "ppo")
    assert [one.outcome for one in read_ledger(tmp_path, [])] == ["killed", "complete"]
