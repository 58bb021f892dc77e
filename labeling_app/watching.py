"""The quality of campaigns as the dashboard shows it: counted beside the requests, kept a while."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillCounting
from dataclasses import dataclass, field

from labeling_app.lead_json import quality_json
from rlhf.data.identity import Json
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.database import Database
from rlhf.feedback.observations import Observer

FRESH_SECONDS = 5.0
REST = 10  # counting takes at most one part in so many of the server's time
PATIENCE_SECONDS = 1.0  # for what is being counted, before the page is told to come again


@dataclass
class _Watched:
    observer: Observer
    counted: Json | None = None
    at: float = 0.0
    took: float = 0.0
    running: "Future[Json] | None" = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Watch:
    """Counts the quality of campaigns in one thread of its own; what is new is read each time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watched: dict[int, _Watched] = {}
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="quality")

    def quality(self, campaign: Campaign) -> Json | None:
        """The newest count, which may be a few seconds old; None while the first is under way.

        Raises what the count raised.
        """
        with self._lock:
            watched = self._watched.get(campaign.id)
            if watched is None:
                watched = _Watched(Observer(self._database, campaign.id))
                self._watched[campaign.id] = watched
        with watched.lock:
            rest = max(FRESH_SECONDS, REST * watched.took)
            if watched.running is None and time.monotonic() - watched.at > rest:
                watched.running = self._thread.submit(self._count, watched, campaign)
            running = watched.running
        if running is not None:
            try:
                running.result(timeout=PATIENCE_SECONDS)
            except StillCounting:
                return watched.counted
            finally:
                if running.done() and watched.running is running:
                    watched.running = None
        return watched.counted

    def _count(self, watched: _Watched, campaign: Campaign) -> Json:
        began = time.monotonic()
        counted = quality_json(self._database, watched.observer.read(), campaign)
        watched.took = time.monotonic() - began
        watched.at = time.monotonic()
        watched.counted = {**counted, "counted_at": time.time(), "took_seconds": watched.took}
        return watched.counted
