"""A store that was changed behind its back is found out, column by column."""

import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hands import answer, campaign, claimed, item, ranked
from sqlalchemy import Table, text
from sqlalchemy.exc import IntegrityError

from rlhf.data.records import Prompt, Response
from rlhf.feedback.audit import Entry, chained, salted_digest
from rlhf.feedback.schema import answers, audit, audit_head
from rlhf.feedback.store import Item, Judgement, Store
from rlhf.feedback.verifying import verify


@pytest.fixture
def filled(store: Store) -> Store:
    """Seven answers: one late, one corrected, two recorded, a demonstration; a skip, a flag."""
    made = campaign(store, 4, wanted=2)
    first = claimed(store, made, "ada", now=0.0)
    claimed(store, made, "bob", now=1e9)
    answer(store, first, "one")
    answer(store, first, "two", "cba")
    task = claimed(store, made, "ada")
    store.flag(task.item_id, "ada", "harmful", "a note")
    answer(store, task, "three")
    skipped = claimed(store, made, "ada")
    store.skip(skipped.item_id, "ada", "a reason")
    store.record(made, [ranked(item(3), "cyd", "abc"), ranked(item(3), "dan", "bca")])
    written = store.create_campaign("written", mode="demonstrate")
    prompt = Prompt.of("Write a line.")
    store.add_items(written, [Item(prompt, (Response.of(prompt.id, "A line."),))])
    gold = item(9)
    store.add_items(made, [replace(gold, expected=tuple((one.id,) for one in gold.responses))])
    store.change_campaign(made, by="lead", guidelines="Be kind.")
    store.consent(store.campaign("main"), "cyd", 2)
    task = claimed(store, written, "eve")
    store.submit(task.item_id, "eve", Judgement(text="A better line."), submission_id="d")
    return store


def test_a_store_that_was_left_alone_is_whole(filled: Store) -> None:
    found = filled.verify()
    assert found.findings == ()
    # Two campaigns made, four answers in the first and one flag, two recorded, one demonstration; a
    # gold item, a change and a consent.
    assert (found.entries, found.answers, found.withdrawn) == (12, 6, 0)
    assert found.head.startswith("12:")


def test_the_chain_is_the_hash_of_what_it_says() -> None:
    """By hand: printf '00{"a":"é","b":1}' | sha256sum, and of ["ff",1,"now","ada",...] without
    spaces.
    """
    entry = Entry("ada", "answered", "answer 1", salted_digest("00", {"b": 1, "a": "é"}))
    assert entry.digest == "f1888367b90bcf821da69e04fc2350e50cff695c668a1c1b4bf3faaa6cd82b24"
    assert (
        chained("ff", 1, "now", entry)
        == "6b5198592d03e7b9f42354749df39e52c03463e8e3156ecb8851caeb4eb92240"
    )


def altered(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1000
    if isinstance(value, dict | list):
        return {**value, "rationale": "forged"} if isinstance(value, dict) else [*value, 1]
    return f"{value[:-1]}{'0' if value[-1:] != '0' else '1'}"


@pytest.mark.parametrize("table", [answers, audit, audit_head], ids=lambda table: table.name)
def test_each_column_of_each_row_is_guarded(filled: Store, table: Table) -> None:
    """`audit_head.id` is the one exception: there is one row, whatever its id."""
    key = next(iter(table.primary_key))
    with filled.database.reading() as db:
        rows = [row._asdict() for row in db.execute(table.select().order_by(key)).all()]
    refused = []
    for row in rows:
        for column, value in row.items():
            with suppress(UndoneError), filled.database.writing() as db:
                try:
                    where = key == row[key.name]
                    db.execute(table.update().where(where).values({column: altered(value)}))
                except IntegrityError:  # the database itself knows better
                    refused.append(column)
                    raise UndoneError from None
                found = verify(db).findings
                assert bool(found) == ((table, column) != (audit_head, "id")), (row, column)
                raise UndoneError
    assert rows
    assert set(refused) <= {"campaign_id", "item_id", "labeler_id"}
    assert filled.verify().findings == ()


class UndoneError(Exception):
    """Rolls the transaction back."""


def test_what_is_removed_added_or_moved_is_named(filled: Store) -> None:
    with filled.database.writing() as db:
        db.execute(text("delete from answers where number = 3"))
        db.execute(text("delete from audit where number = 4"))
    findings = filled.verify().findings
    assert "answer 3 is in the log, but not in the store" in findings
    assert "log entry 4 is missing" in findings
    assert "log entry 5 was altered, or the one before it" in findings


def test_the_first_of_many_faults_is_named_and_the_others_counted(filled: Store) -> None:
    with filled.database.writing() as db:
        db.execute(text("update answers set late = not late where number > 2"))
    assert "answer 3 was altered: it is not what the log sealed (and 3 more)" in (
        filled.verify().findings
    )


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("update prompts set body = replace({body}, 'Question 2', 'Query 2')", "prompt-.*altered"),
        ("update responses set body = replace({body}, 'a 2', 'z 2')", "response-.*altered"),
        ("update items set taken = 0 where id = 1", "item 1 has 0 places"),
        ("update items set key = 'x' where id = 2", "item 2 was altered"),
        (
            "update tallies set work = work + 1 where labeler_id = 'ada'",
            "answers of ada in campaign 1 are miscounted",
        ),
        ("update campaigns set guidelines = 'lie' where id = 2", "'written' is not its newest"),
        (
            "update campaign_versions set guidelines = 'lie' where version = 1",
            "version 1 of campaign 'main' was altered .and 1 more",
        ),
        ("delete from campaign_versions where version = 1", "versions of campaign 'main' are miss"),
        ("update campaigns set wanted = 9 where id = 1", "campaign 'main' wants 8, not 9"),
        ("update items set expected = null where kind = 'gold'", "order of item 6 is not what the"),
        ("update items set kind = 'work' where kind = 'gold'", "order of item 6 is not what the l"),
        (
            "update items set expected = (select items.expected from items where kind = 'gold'), "
            "kind = 'gold' where id = 4",
            "order of item 4 is not what the log sealed",
        ),
        ("delete from consents", "the consent of cyd to main guidelines 2 is in the log alone"),
        (
            "insert into consents values (1, 'ada', 2, '2026')",
            "the consent of ada to main guidelines 2 is in the store alone",
        ),
    ],
)
def test_what_labelers_saw_is_guarded_too(filled: Store, statement: str, finding: str) -> None:
    with filled.database.writing() as db:
        sqlite = db.dialect.name == "sqlite"
        body = "body" if sqlite else "body::text"
        changed = statement.format(body=body)
        if "replace" in changed and not sqlite:
            changed = changed.replace("= replace(", "= (replace(").rstrip(")") + "))::json"
        db.execute(text(changed.replace("::", r"\:\:")))
    assert any(re.search(finding, one) for one in filled.verify().findings)
