"""Work that nobody waits for: done in order, in a thread of its own."""

import queue
import threading
import time
from collections.abc import Callable

Act = Callable[[], object]
MOST_WAITING = 10_000
POLL_SECONDS = 0.01


class Courier:
    """Does what it is handed. What fails is told, and what follows is done all the same; where
    nothing moves, what is handed over beyond `MOST_WAITING` is told and left.
    """

    def __init__(self, failed: Callable[[str, Exception], None]) -> None:
        self._failed = failed
        self._waiting: queue.SimpleQueue[tuple[str, Act]] = queue.SimpleQueue()
        self._handed = self._done = 0
        threading.Thread(target=self._work, daemon=True, name="courier").start()

    def hand(self, what: str, act: Act) -> None:
        """Returns at once."""
        if self._handed - self._done >= MOST_WAITING:
            self._failed(what, TimeoutError(f"{MOST_WAITING:,} things wait and none is done"))
            return
        self._handed += 1
        self._waiting.put((what, act))

    def wait(self, patience_seconds: float) -> bool:
        """Waits until all is done; False where nothing moved for `patience_seconds`."""
        done, moved_at = self._done, time.monotonic()
        while self._done < self._handed:
            if self._done > done:
                done, moved_at = self._done, time.monotonic()
            if time.monotonic() - moved_at > patience_seconds:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _work(self) -> None:
        while True:
            what, act = self._waiting.get()
            try:
                act()
            except Exception as error:  # noqa: BLE001 - whoever handed it over is long gone
                self._failed(what, error)
            self._done += 1
