"""Any order of claims, answers, skips, heartbeats and hours gone by, against a simple model."""

import tempfile
from pathlib import Path

from hands import item
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from rlhf.feedback.schema import answers, items
from rlhf.feedback.store import Judgement, Store, Task

LEASE = 60.0
LABELERS = st.sampled_from(["ada", "bob", "cyd"])


class Labeling(RuleBasedStateMachine):
    """Three items for two labelers each, and three labelers.

    The model: (item, labeler) -> state and, while it is open, when the lease runs out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "store.db")
        self.now = 1_000_000.0
        self.state: dict[tuple[int, str], str] = {}
        self.until: dict[tuple[int, str], float] = {}
        self.late: dict[tuple[int, str], bool] = {}
        self.sent = 0
        self.tasks: dict[tuple[int, str], Task] = {}

    @initialize()
    def make(self) -> None:
        self.made = self.store.create_campaign("main", settings={"lease_minutes": LEASE / 60})
        self.store.add_items(self.made, [item(number, wanted=2) for number in range(3)])

    def teardown(self) -> None:
        assert self.store.verify().findings == ()
        self.store.close()
        self.folder.cleanup()

    def taken(self, item_id: int) -> int:
        held = [state for (one, _), state in self.state.items() if one == item_id]
        return min(2, sum(state in ("open", "done") for state in held))

    def expire(self) -> None:
        for key, state in self.state.items():
            if state == "open" and self.until[key] <= self.now:
                self.state[key] = "expired"

    @rule(labeler=LABELERS)
    def claim(self, labeler: str) -> None:
        self.expire()
        task = self.store.claim(self.made, labeler, now=self.now)
        opened = [key for key, state in self.state.items() if (key[1], state) == (labeler, "open")]
        begun = [
            key
            for key, state in self.state.items()
            if (key[1], state) == (labeler, "expired") and self.taken(key[0]) < 2
        ]
        fresh = [
            (one, labeler)
            for one in (1, 2, 3)
            if (one, labeler) not in self.state and self.taken(one) < 2
        ]
        expected = (opened + begun + fresh)[:1]
        assert [(task.item_id, labeler)] == expected if task else not expected
        if task is not None:
            key = (task.item_id, labeler)
            self.state[key], self.until[key] = "open", self.now + LEASE
            self.tasks[key] = task

    @rule(labeler=LABELERS, one=st.integers(1, 3))
    def submit(self, labeler: str, one: int) -> None:
        key = (one, labeler)
        if key not in self.tasks:
            return
        self.sent += 1
        said = Judgement(tuple((response,) for response in self.tasks[key].shown))
        self.store.submit(one, labeler, said, submission_id=str(self.sent), now=self.now)
        in_time = self.state[key] == "open" and self.until[key] >= self.now
        if self.state[key] != "done":
            self.late[key] = not in_time
        self.state[key] = "done"

    @rule(labeler=LABELERS, one=st.integers(1, 3))
    def skip(self, labeler: str, one: int) -> None:
        self.store.skip(one, labeler, "no")
        if self.state.get((one, labeler)) in ("open", "expired"):
            self.state[one, labeler] = "skipped"

    @rule(labeler=LABELERS, ids=st.lists(st.integers(1, 3), unique=True))
    def heartbeat(self, labeler: str, ids: list[int]) -> None:
        self.store.extend(self.made, labeler, ids, now=self.now)
        for one in ids:
            if self.state.get((one, labeler)) == "open":
                self.until[one, labeler] = max(self.until[one, labeler], self.now + LEASE)

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE + 1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "made"):
            return
        with self.store.database.reading() as db:
            taken = {row.id: row.taken for row in db.execute(select(items.c.id, items.c.taken))}
            held = select(answers).where(answers.c.superseded.is_(False))
            late = {(row.item_id, row.labeler_id): row.late for row in db.execute(held)}
        assert taken == {one: self.taken(one) for one in (1, 2, 3)}
        assert late == self.late
        live = [key for key, state in self.state.items() if state == "open"]
        in_time = [key for key, was_late in self.late.items() if not was_late]
        for one in (1, 2, 3):
            assert sum(key[0] == one for key in live + in_time) <= 2
        progress = self.store.progress(self.made)
        assert (progress.done, progress.late) == (len(self.late), sum(self.late.values()))


TestLabeling = Labeling.TestCase
TestLabeling.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
