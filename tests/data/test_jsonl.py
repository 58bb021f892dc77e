"""Lines that are added one at a time."""

from pathlib import Path

from rlhf.data.jsonl import append_jsonl, numbered_jsonl, read_jsonl


def test_rows_are_added_and_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "made" / "rows.jsonl"
    append_jsonl(path, {"a": "ä"})
    append_jsonl(path, {"a": 2})
    assert list(read_jsonl(path)) == [{"a": "ä"}, {"a": 2}]
    path.write_bytes(path.read_bytes() + b'{"a"')
    append_jsonl(path, {"a": 4})
    assert path.read_text(encoding="utf-8").splitlines()[2:] == ['{"a"', '{"a": 4}']
    rows = numbered_jsonl(path)
    assert [next(rows), next(rows)] == [(1, {"a": "ä"}), (2, {"a": 2})]
