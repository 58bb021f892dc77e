"""`rlhf agreement` as people call it."""

import json
from pathlib import Path

import pytest
from warm import rlhf

from rlhf.data.importing import read_file
from rlhf.feedback.intake import save_import
from rlhf.feedback.store import Store


def agreement(*arguments: str | Path) -> tuple[int, str, str]:
    ran = rlhf("agreement", *arguments)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        {"instruction": f"Say {number}.", "response1": "One.", "response2": "Two."}
        | {"annotator1": 1, "annotator2": 1 if number < 9 else 2, "annotator3": 1 + number % 2}
        for number in range(12)
    ]
    path = tmp_path / "spring.json"
    path.write_text(json.dumps(rows))
    return path


def test_a_file_and_a_store_say_the_same(file: Path, tmp_path: Path) -> None:
    code, of_file, _ = agreement(file)
    assert code == 0
    assert "36 rankings by 3 labelers, 12 pairs of responses, 12 prompts" in of_file
    # 9 items on which two agree, one of three alike; of these 5 on which all do.
    assert "agreement without ties    61.1 %" in of_file  # (5 * 3 + 7) / 36
    assert "majority labels           0 tie, 10 the first, 2 the second, 0 none" in of_file
    with Store(tmp_path / "store.db") as store:
        save_import(store, "spring", read_file(file))
    code, of_store, _ = agreement(tmp_path / "store.db")
    assert (code, of_store.splitlines()[1:9]) == (0, of_file.splitlines()[1:9])
    code, out, _ = agreement(file, "--json")
    assert json.loads(out)["majority"] == {"first": 10, "second": 2, "tie": 0, "none": 0}


def test_mistakes_are_one_sentence(file: Path, tmp_path: Path) -> None:
    code, _, said = agreement(file, "--campaign", "spring")
    assert (code, "--campaign goes with a store" in said) == (2, True)
    code, _, said = agreement(tmp_path / "nothing.db")
    assert code == 2
    code, _, said = agreement(tmp_path / "nothing.json")
    assert (code, "no file at" in said) == (2, True)
    with Store(tmp_path / "store.db") as store:
        store.create_campaign("spring")
        store.create_campaign("autumn")
    code, _, said = agreement(tmp_path / "store.db")
    assert (code, "which campaign?" in said) == (2, True)
