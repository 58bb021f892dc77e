"""What is read of a campaign is what is in the store: on SQLite, and on a PostgreSQL if there is
one.
"""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from rlhf.data.records import Prompt, Response
from rlhf.feedback.observations import Observer
from rlhf.feedback.overview import RECENT_SECONDS, flags_of, pace, skips_by_reason, versions_of
from rlhf.feedback.schema import answers, labelers
from rlhf.feedback.store import Campaign, Item, Judgement, Store, Task

NOW = 1_767_603_600.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    pgserver = pytest.importorskip("pgserver")
    folder = Path(tempfile.mkdtemp(prefix="rlhf-quality-"))
    folder.chmod(0o755)  # a server that is not root's has to reach its data
    server = pgserver.get_server(folder / "data", cleanup_mode="stop")
    yield str(server.get_uri())
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    address = str(tmp_path / "store.db")
    if request.param == "postgres":
        address = request.getfixturevalue("postgres")
    with Store(address) as opened:
        yield opened


def campaign_of(store: Store, count: int = 6) -> Campaign:
    name = f"Replies {uuid.uuid4()}"  # a campaign of its own in a database that tests share
    campaign = store.create_campaign(name, settings={"overlap": 3, "overlap_share": 1.0})
    items = []
    for number in range(count):
        prompt = Prompt.of(f"{name} {number}: grüße")
        texts = [f"{number} {'é' * length}" for length in (4, 10, 40)]
        items.append(Item(prompt, tuple(Response.of(prompt.id, one) for one in texts), wanted=0))
    store.add_items(campaign, items)
    return campaign


def claim(store: Store, campaign: Campaign, labeler: str, at: float = NOW) -> Task:
    task = store.claim(campaign, labeler, now=at)
    assert task is not None
    return task


def answer(store: Store, task: Task, labeler: str, at: float = NOW, *, best: int = 0) -> str:
    order = sorted(task.shown)
    order = order[best:] + order[:best]
    saved = store.submit(
        task.item_id,
        labeler,
        Judgement(tuple((one,) for one in order)),
        submission_id=str(uuid.uuid4()),
        duration_seconds=12.5,
        now=at,
    )
    return saved.id


def test_votes_in_force_with_their_times_and_lengths(store: Store) -> None:
    campaign = campaign_of(store)
    observer = Observer(store.database, campaign.id)
    assert observer.read().votes == ()
    task = claim(store, campaign, "ada")
    answer(store, task, "ada", NOW + 60)
    (first,) = observer.read().votes
    assert (first.labeler_id, first.at, first.seconds) == ("ada", NOW + 60, 12.5)
    assert (first.shown, first.late, first.corrects) == (task.shown, False, False)
    answer(store, task, "ada", NOW + 90, best=1)  # corrects the first
    late = claim(store, campaign, "bob", NOW)
    answer(store, late, "bob", NOW + 3 * 3600)
    found = observer.read()
    assert [(vote.labeler_id, vote.late, vote.corrects) for vote in found.votes] == [
        ("ada", False, True),
        ("bob", True, False),
    ]
    assert [vote.seconds for vote in found.votes] == [25.0, 12.5]  # the reading was done before
    assert found.corrections == {"ada": 1}
    assert found == Observer(store.database, campaign.id).read()
    lengths = sorted(round(6 * found.words[one.id]) for one in task.responses)
    assert lengths == [6, 12, 42]
    assert round(6 * found.words[task.prompt.id]) == len(task.prompt.text)
    answer(store, task, "ada", NOW + 4 * 3600)
    assert {vote.labeler_id: vote.seconds for vote in observer.read().votes}["ada"] == 37.5


def test_what_was_withdrawn_is_gone_though_it_was_read(store: Store) -> None:
    campaign = campaign_of(store)
    observer = Observer(store.database, campaign.id)
    for labeler in ("ada", "bob"):
        answer(store, claim(store, campaign, labeler), labeler)
    assert len(observer.read().votes) == 2
    with store.database.writing() as db:
        gone = answers.c.labeler_id == "ada", answers.c.campaign_id == campaign.id
        db.execute(update(answers).where(*gone).values(body=None, salt=None))
        db.execute(update(labelers).where(labelers.c.id == "ada").values(withdrawn_at="now"))
    try:
        assert [vote.labeler_id for vote in observer.read().votes] == ["bob"]
        assert len(Observer(store.database, campaign.id).read().votes) == 1
    finally:
        with store.database.writing() as db:
            db.execute(update(labelers).where(labelers.c.id == "ada").values(withdrawn_at=None))


def test_an_answer_with_a_lower_number_that_came_later_is_read(store: Store) -> None:
    campaign = campaign_of(store)
    observer = Observer(store.database, campaign.id)
    for labeler in ("ada", "bob"):
        answer(store, claim(store, campaign, labeler), labeler)
    with store.database.writing() as db:
        low, high = sorted(vote.number for vote in observer.read().votes)
        kept = db.execute(answers.select().where(answers.c.number == low)).one()._asdict()
        db.execute(answers.delete().where(answers.c.number == low))
    assert [vote.number for vote in observer.read().votes] == [high]
    with store.database.writing() as db:
        db.execute(insert(answers).values(**kept))
    assert [vote.number for vote in observer.read().votes] == [low, high]


def test_pace_is_that_of_the_last_hour(store: Store) -> None:
    campaign = campaign_of(store)
    for number in range(5):
        answer(store, claim(store, campaign, "ada"), "ada", NOW + 60 * number)
    with store.database.reading() as db:
        found = pace(db, campaign, NOW + 600)
        later = pace(db, campaign, NOW + RECENT_SECONDS + 300)
        early = pace(db, campaign, NOW + 300)
    assert (found.recent, found.per_hour) == (5, 30.0)  # in the ten minutes that it is old
    assert early.per_hour == 30.0  # as if it were ten minutes old
    assert (later.recent, later.per_hour) == (0, None)


def test_skips_flags_and_versions(store: Store) -> None:
    campaign = campaign_of(store)
    for labeler, reason in (("ada", "broken"), ("bob", "broken"), ("cyd", "")):
        task = claim(store, campaign, labeler)
        store.flag(task.item_id, labeler, "harmful", f"says {labeler}")
        store.skip(task.item_id, labeler, reason)
    store.change_campaign(campaign, by="lee", settings={"overlap": 2}, note="fewer")
    with store.database.reading() as db:
        assert skips_by_reason(db, campaign) == [("broken", 2), ("", 1)]
        assert [flag.note for flag in flags_of(db, campaign)] == [
            "says cyd",
            "says bob",
            "says ada",
        ]
        assert {flag.of_item for flag in flags_of(db, campaign)} == {None}
        assert [(one.version, one.note) for one in versions_of(db, campaign)] == [
            (2, "fewer"),
            (1, ""),
        ]
