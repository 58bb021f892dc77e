"""Files of JSON: whole or not at all."""

from pathlib import Path

import pytest

from rlhf.data.jsonl import AtomicText, read_json


def test_a_text_that_cannot_take_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError), AtomicText(tmp_path / "taken") as file:
        file.write("x")
    with pytest.raises(KeyError), AtomicText(tmp_path / "new") as file:
        raise KeyError("on the way")
    with AtomicText(tmp_path / "good") as file:
        file.write("x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good", "taken"]
    assert (tmp_path / "good").read_text() == "x"


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe"])
def test_json_that_is_none_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "it.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"it\.json: not JSON"):
        read_json(path)
