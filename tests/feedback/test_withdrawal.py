"""A person takes their consent back: nothing of what they said is left, and the log stays whole."""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hands import answer, campaign, claimed, ranked
from sqlalchemy import Connection, event, func, insert, select, text

from rlhf.feedback.schema import accounts, answers, drafts, flags, sessions, throttles
from rlhf.feedback.store import Campaign, Judgement, Store
from rlhf.feedback.withdrawal import said_by, withdrawn_labelers

SECRET = "the-reason-that-only-ada-would-give"


@pytest.fixture
def made(store: Store) -> Campaign:
    """Ada's login, answers, drafts, a skip and a flag, the secret in each; bob's answer."""
    if store.database.url.get_backend_name() == "sqlite":  # some builds wipe without being asked

        def careless(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute("pragma secure_delete = off")

        event.listen(store.database.engine, "checkout", careless)
    made = campaign(store, 5, wanted=1)
    with store.database.writing() as db:
        store_account(db)
    for number in range(2):
        task = claimed(store, made, "ada")
        for draft in range(3):  # overwritten and deleted ones lie in free pages
            store.save_draft(task.item_id, "ada", {"rationale": f"{SECRET} {draft}" * 40})
        said = Judgement(tuple((one,) for one in task.shown), details={"note": SECRET})
        for turn in range(2):
            store.submit(
                task.item_id,
                "ada",
                said,
                submission_id=f"{SECRET}-{number}-{turn}",
                rationale=SECRET * 20,
            )
    skipped = claimed(store, made, "ada")
    store.skip(skipped.item_id, "ada", SECRET)
    begun = claimed(store, made, "ada")
    store.flag(begun.item_id, "ada", "other", SECRET)
    store.save_draft(begun.item_id, "ada", {"rationale": SECRET})
    answer(store, claimed(store, made, "bob"), "bob")
    return made


def store_account(db: Connection) -> None:
    row = {"labeler_id": "ada", "login": f"{SECRET}@example.org", "password_hash": SECRET}
    kept = {"role": "labeler", "active": True, "created_at": "now"}
    token = {"token_digest": "d", "labeler_id": "ada", "kind": "browser", "name": SECRET}
    times = {"created_at": "now", "seen_at": 0.0, "expires_at": 9e9, "revoked": False}
    db.execute(text("insert into labelers (id, created_at) values ('ada', 'now')"))
    db.execute(insert(accounts).values(**row, **kept))
    db.execute(insert(sessions).values(**token, **times))
    digest = hashlib.sha256(f"{SECRET}@example.org".encode()).hexdigest()
    for key in (f"login:{digest}", "login:bob"):
        db.execute(insert(throttles).values(key=key, failures=1, blocked_until=0.0))


def test_all_that_a_person_said_is_deleted_and_the_log_stays_whole(
    store: Store, made: Campaign
) -> None:
    before = store.verify()
    done = store.withdraw("ada")
    assert (done.answers, done.drafts, done.wiped) == (4, 1, True)
    after = store.verify()
    assert after.findings == ()
    assert (after.answers, after.withdrawn) == (1, 4)
    assert after.entries == before.entries + 5  # the withdrawal, and a tombstone each
    assert {one.labeler_id for one in store.rankings(made, with_superseded=True)} == {"bob"}
    assert (store.progress(made).done, store.progress(made).labelers) == (1, 1)
    with store.database.reading() as db:
        for table in (accounts, sessions, drafts):
            assert db.execute(select(func.count()).select_from(table)).scalar() == 0
        assert db.execute(select(throttles.c.key)).scalars().all() == ["login:bob"]
        assert db.execute(select(flags.c.kind, flags.c.note)).all() == [("other", "")]
        gone = db.execute(select(answers.c.id).where(answers.c.labeler_id == "ada")).scalars().all()
    assert gone == [f"withdrawn-{number}" for number in (1, 2, 3, 4)]


def test_nothing_is_left_in_the_files(store: Store, made: Campaign, tmp_path: Path) -> None:
    assert SECRET in held(store, tmp_path)
    store.withdraw("ada")
    left = held(store, tmp_path)
    assert SECRET not in left
    assert "bob" in left


def held(store: Store, folder: Path) -> str:
    """All bytes of SQLite's files; of PostgreSQL, which only tells what is alive, every row."""
    if store.database.url.get_backend_name() == "sqlite":
        files = sorted(folder.glob("store.db*"))
        return b"".join(path.read_bytes() for path in files).decode("latin-1")
    with store.database.reading() as db:
        names = db.execute(text("select tablename from pg_tables where schemaname = 'public'"))
        return str([db.execute(text(f"select * from {name}")).all() for name in names.scalars()])


def test_their_items_want_somebody_else(store: Store, made: Campaign) -> None:
    store.withdraw("ada")
    given: Iterator[int] = iter(range(9))
    asked = set()
    while (task := store.claim(made, "cyd")) is not None:
        answer(store, task, f"c{next(given)}")
        asked.add(task.item_id)
    assert len(asked) == 4  # all but bob's
    assert store.progress(made).done == store.progress(made).wanted == 5


def test_nothing_is_saved_under_a_withdrawn_pseudonym(store: Store, made: Campaign) -> None:
    task = claimed(store, made, "ada")
    store.withdraw("ada")
    with pytest.raises(ValueError, match="ada has withdrawn consent"):
        store.claim(made, "ada")
    with pytest.raises(ValueError, match="ada has withdrawn consent"):
        answer(store, task, "again")
    kept = [one for one in store.items(made) if one.prompt.text == "Question 0?"]
    with pytest.raises(ValueError, match="ada has withdrawn consent"):
        store.record(made, [ranked(kept[0], "ada", "abc")])
    assert store.withdraw("ada").answers == 0
    assert store.verify().findings == ()


def test_an_emptied_answer_is_guarded_by_its_tombstone(store: Store, made: Campaign) -> None:
    store.withdraw("ada")
    with store.database.writing() as db:
        db.execute(text("update answers set late = not late where number = 2"))
        db.execute(text("update answers set body = '{}' where number = 3"))
    findings = store.verify().findings
    assert "answer 2 is empty, and no entry of the log says so" in findings
    assert "answer 3 was altered: it is not what the log sealed" in findings
    assert "answer 3 was withdrawn, but has content" in findings


def test_nobody_is_withdrawn_by_mistake(store: Store, made: Campaign) -> None:
    with pytest.raises(ValueError, match="no labeler 'adda'"):
        store.withdraw("adda")
    assert len(store.rankings(made)) == 3


def test_what_to_look_for_in_copies_is_theirs_alone(store: Store, made: Campaign) -> None:
    bobs = next(store.items(made))
    (rival, *_) = bobs.responses
    task = claimed(store, made, "ada")
    said = Judgement(tuple((one,) for one in task.shown))
    store.submit(task.item_id, "ada", said, submission_id="last", rationale=rival.text)
    with store.database.reading() as db:
        assert said_by(db, "adda") is None
        found = said_by(db, "ada")
        assert withdrawn_labelers(db) == set()
    assert found is not None
    assert len(found.ids) == 5
    # The rationale that is also a model's answer is not looked for.
    assert found.texts == {SECRET * 20, SECRET}
    store.withdraw("ada")
    with store.database.reading() as db:
        emptied = said_by(db, "ada")
        assert withdrawn_labelers(db) == {"ada"}
    assert emptied is not None
    assert (emptied.ids, emptied.texts) == (frozenset(), frozenset())
