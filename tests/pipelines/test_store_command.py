"""`rlhf store` as people call it: what it prints, and its exit codes."""

import json
import re
from pathlib import Path

import pytest
from warm import rlhf

from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Item, Judgement, Store


def store(*arguments: str | Path, given: str = "") -> tuple[int, str, str]:
    ran = rlhf("store", *arguments, entered=given)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Ada ranked one item, with a tie."""
    with Store(tmp_path / "store.db") as store:
        made = store.create_campaign("spring")
        prompt = Prompt.of("Which?")
        store.add_items(made, [Item(prompt, tuple(Response.of(prompt.id, x) for x in "abc"))])
        task = store.claim(made, "ada")
        assert task is not None
        one, two, three = task.shown
        said = Judgement(((one,), (two, three)))
        store.submit(task.item_id, "ada", said, submission_id="1", rationale="why")
    return tmp_path / "store.db"


def test_the_life_of_a_store(path: Path, tmp_path: Path) -> None:
    code, out, _ = store("verify", path)
    assert code == 0
    assert re.search(
        r"verified: 2 log entries, 1 answers, 0 withdrawn; the log ends at 2:\w{64}", out
    )
    code, out, _ = store("backup", path, "--to", tmp_path / "backup.db")
    assert (code, "backed up to" in out) == (0, True)
    code, out, _ = store("migrate", path, "--to", tmp_path / "moved.db")
    assert (code, "1 answers" in out) == (0, True)
    code, out, _ = store("upgrade", path)
    assert (code, out) == (0, "the store is at version 0003, the newest\n")
    code, out, _ = store("export", path, "--to", tmp_path / "spring")
    assert code == 0
    assert "1 rankings" in out
    assert "left out: drafts, accounts, consents and the log" in out
    code, out, _ = store("import", tmp_path / "spring", "--into", tmp_path / "new.db")
    assert (code, "campaign 'spring'" in out) == (0, True)
    code, out, _ = store("export", path, "--to", tmp_path / "rows.jsonl", "--as", "preferences")
    assert code == 0
    assert "2 pairs" in out
    assert "left out: 1 ties, 1 orders shown, labelers and times, 1 rationales" in out
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    code, out, _ = store("withdraw", path, "--labeler", "ada", given="n\n")
    assert code == 2
    code, out, _ = store("withdraw", path, "--labeler", "ada", "--yes")
    assert (code, "ada: 1 answers emptied" in out) == (0, True)
    assert "older backups" in out


def test_mistakes_are_one_sentence_and_two(path: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (("verify", tmp_path / "typo.db"), "no store at"),
        (("backup", path, "--to", path), "is there already"),
        (("export", path, "--to", tmp_path / "x", "--campaign", "winter"), "no campaign named"),
        (("export", path, "--to", tmp_path / "x", "--plain"), "--plain goes with"),
        (("import", tmp_path, "--into", path), "no exported campaign"),
        (("withdraw", path, "--labeler", "bob", "--yes"), "no labeler 'bob'"),
        (("migrate", path, "--to", "postgresql://me:secret@127.0.0.1:9/x"), "cannot be reached"),
    ):
        code, _, err = store(*arguments)
        assert said in err
        assert err.count("\n") == 1
        assert "secret" not in err
        assert code == (1 if "reached" in said else 2)
    assert not (tmp_path / "typo.db").exists()


def test_a_store_that_was_tampered_with_is_told_with_one(path: Path) -> None:
    import sqlite3

    with sqlite3.connect(path) as db:
        db.execute("update answers set late = 1")
    code, _, err = store("verify", path)
    assert code == 1
    assert "answer 1 was altered" in err
