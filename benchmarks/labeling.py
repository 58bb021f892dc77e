"""The labeling app under a crowd: 200 labelers at a human cadence, then flat out, then killed.

`python -m benchmarks.labeling [--quick]` serves a campaign of 10,000 items with 9 responses each
from SQLite and from PostgreSQL, as `rlhf label --accounts` does, and lets virtual labelers work
through the routes that the page uses. The load generator runs on the same cores. What is counted
at the end is what is in the store.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.crowd import Crowd, Submission
from benchmarks.site import Site, postgres
from rlhf.data.identity import Json


@dataclass(frozen=True, slots=True)
class Size:
    """How large the measurement is. Times in seconds."""

    labelers: int
    items: int
    cadence: tuple[float, float]
    human_seconds: float
    flat_seconds: float
    flat_labelers: int


FULL = Size(200, 10_000, (20.0, 40.0), 180.0, 30.0, 32)
QUICK = Size(40, 1_000, (4.0, 8.0), 16.0, 8.0, 16)


def main() -> None:
    """Measures both stores and prints a table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller crowd, for less long")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), help="only this one")
    asked = parser.parse_args()
    size = QUICK if asked.quick else FULL
    stores = [asked.store] if asked.store else ["sqlite", "postgresql"]
    found: dict[str, Json] = {}
    for name in stores:
        with _address(name) as address:
            found[name] = asyncio.run(measure(address, size, name))
    rows = list(found.values())
    for key in rows[0]:
        print(f"{key:24}", *(f"{row[key]!s:>14}" for row in rows))
    print(json.dumps({**_worst(rows), "stores": found}))


@contextmanager
def _address(name: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="rlhf-benchmark-") as folder:
        if name == "sqlite":
            yield str(Path(folder) / "rankings.db")
        else:
            with postgres(Path(folder)) as address:
                yield address


async def measure(address: str, size: Size, name: str) -> Json:
    """Seeds a store, serves it, lets the crowd work, kills the server half-way, counts."""
    _say(name, f"seeding {size.items:,} items with 9 responses each")
    site = Site(address)
    tokens = site.seed(size.items, size.labelers)
    started = site.start()
    _say(name, f"the app answers after {started:.1f} s")
    crowd = Crowd(site.url, tokens)
    try:
        _say(name, f"{size.labelers} labelers at a human cadence for {size.human_seconds:.0f} s")
        human = await crowd.work(size.labelers, size.cadence, size.human_seconds)
        nexts = sorted(crowd.fetches_ms)
        _say(name, f"{size.flat_labelers} labelers flat out for {size.flat_seconds:.0f} s")
        flat = await crowd.work(size.flat_labelers, (0.0, 0.0), size.flat_seconds)
        _say(name, "flat out once more, killed with -9 and restarted half-way")
        drafts = await crowd.save_drafts(8)
        killed, _ = await asyncio.gather(
            crowd.work(size.flat_labelers, (0.0, 0.0), size.flat_seconds),
            _kill_and_restart(site, size.flat_seconds / 2),
        )
        kept = await crowd.drafts_kept(drafts)
    finally:
        await crowd.close()
        site.stop()
    acknowledged = [*human, *flat, *killed]
    counted = site.count([one.submission_id for one in acknowledged])
    waits = sorted(one.wait_ms for one in human)
    return {
        "labelers": size.labelers,
        "submits": len(acknowledged),
        **counted,
        "drafts_lost": len(drafts) - kept,
        "p50_ms": round(median(waits), 1),
        "p95_ms": round(_percentile(waits, 0.95), 1),
        "max_submits_per_second": round(_rate(flat), 1),
        "next_p95_ms": round(_percentile(nexts, 0.95), 1),
        "items": size.items,
        "start_seconds": round(started, 2),
        "recovered_seconds": round(_longest_gap(killed), 2),
    }


async def _kill_and_restart(site: Site, after_seconds: float) -> None:
    await asyncio.sleep(after_seconds)
    site.kill()
    await asyncio.to_thread(site.start)


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _rate(submissions: list[Submission]) -> float:
    """Submits a second, from the first acknowledged to the last."""
    times = [one.at for one in submissions]
    return (len(times) - 1) / (max(times) - min(times))


def _longest_gap(submissions: list[Submission]) -> float:
    """How long nobody was answered: the restart, as labelers saw it."""
    times = sorted(one.at for one in submissions)
    return max(later - earlier for earlier, later in pairwise(times))


def _worst(rows: list[Json]) -> Json:
    """The asked-for keys over all stores, the worse of each."""
    worst: Json = {key: max(row[key] for row in rows) for key in rows[0]}
    for key in ("labelers", "submits", "max_submits_per_second"):
        worst[key] = min(row[key] for row in rows)
    return worst


def _say(store: str, text: str) -> None:
    print(f"{store}: {text}", flush=True)


if __name__ == "__main__":
    main()
