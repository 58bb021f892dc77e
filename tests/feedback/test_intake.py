"""An imported file in a real store: nothing twice, every ranking at its own item."""

import json
from pathlib import Path

import pytest

from rlhf.data.importing import read_file
from rlhf.feedback.intake import IntakeReport, save_import
from rlhf.feedback.pairs import preferences_from
from rlhf.feedback.store import Store


def annotated(second: int) -> dict[str, object]:
    return {"annotator1": 1, "annotator2": second, "annotator3": 0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One prompt with two pairs of replies, and another prompt."""
    rows = [
        {"instruction": "Shorten.", "response1": "a", "response2": "b", **annotated(2)},
        {"instruction": "Shorten.", "response1": "a", "response2": "c", **annotated(1)},
        {"instruction": "Lengthen.", "response1": "a", "response2": "b", **annotated(1)},
    ]
    made = tmp_path / "rows.json"
    made.write_text(json.dumps(rows))
    return made


def test_importing_twice_adds_nothing(tmp_path: Path, path: Path) -> None:
    imported = read_file(path)
    with Store(tmp_path / "store.db") as store:
        assert save_import(store, "bought", imported) == IntakeReport("bought", 3, 9, 0)
        assert save_import(store, "bought", read_file(path)) == IntakeReport("bought", 0, 0, 9)
        campaign = store.campaign("bought")
        assert store.rankings(campaign) == list(imported.rankings)
        assert [(one.prompt, one.responses) for one in store.items(campaign)] == list(
            imported.items
        )
        assert store.claim(campaign, "a person") is None
        progress = store.progress(campaign, "annotator2")
        assert (progress.wanted, progress.done, progress.mine, progress.labelers) == (9, 9, 3, 3)


def test_an_import_cut_short_is_completed(tmp_path: Path, path: Path) -> None:
    imported = read_file(path)
    with Store(tmp_path / "store.db") as store:
        save_import(store, "bought", imported)
        with store.database.writing() as db:
            db.exec_driver_sql("delete from answers where number > 4")
        assert save_import(store, "bought", imported) == IntakeReport("bought", 0, 5, 4)


def test_what_was_imported_gives_preferences(tmp_path: Path, path: Path) -> None:
    with Store(tmp_path / "store.db") as store:
        save_import(store, "bought", read_file(path))
        campaign = store.campaign("bought")
        items = list(store.items(campaign))
        pairs = list(
            preferences_from(
                store.rankings(campaign),
                {item.prompt.id: item.prompt for item in items},
                {answer.id: answer for item in items for answer in item.responses},
            )
        )
    # "Shorten.": 4 strict rankings of one pair each share one vote; "Lengthen.": 2.
    found = [(pair.chosen, pair.rejected, pair.weight) for pair in pairs if not pair.tie]
    assert found == [
        ("a", "b", 1 / 4),
        ("b", "a", 1 / 4),
        ("a", "c", 1 / 4),
        ("a", "c", 1 / 4),
        ("a", "b", 1 / 2),
        ("a", "b", 1 / 2),
    ]
    assert sum(pair.tie for pair in pairs) == 3
