"""The ledger of the test split."""

from dataclasses import replace
from pathlib import Path

import pytest

from rlhf.evaluation.openings import (
    LEDGER,
    Opening,
    evaluations,
    prompts_digest,
    read_openings,
    times_opened,
    write_opening,
)


def opening(fingerprint: str, at: str = "2026-11-24T10:00:00+00:00") -> Opening:
    digest = prompts_digest(["p1", "p2"])
    who = "labeler-1a2b3c4d"
    return Opening(at, who, "small", "round-1", fingerprint, 2, digest, ("sft", "dpo"), "built-in")


def test_every_opening_is_appended_and_reads_back(tmp_path: Path) -> None:
    assert read_openings(tmp_path) == ()
    first, second = opening("aaa"), opening("bbb", "2026-11-25T10:00:00+00:00")
    write_opening(tmp_path, first)
    write_opening(tmp_path, second)
    assert read_openings(tmp_path) == (first.to_json(), second.to_json())
    assert read_openings(tmp_path)[0]["policies"] == ["sft", "dpo"]


def test_an_evaluation_that_went_on_counts_once() -> None:
    rows = [opening(name).to_json() for name in ("aaa", "aaa", "bbb", "aaa-2")]
    assert times_opened(rows) == 3
    assert times_opened([]) == 0


def test_what_measures_the_reward_model_is_no_evaluation() -> None:
    looks = [replace(opening("ccc"), kind=kind) for kind in ("reward model", "certificate")]
    rows = [one.to_json() for one in looks] + [opening("aaa").to_json()]
    assert [row["kind"] for row in rows] == ["reward model", "certificate", "evaluation"]
    assert times_opened(rows) == 1
    old = {key: value for key, value in rows[2].items() if key != "kind"}
    assert evaluations([*rows, old]) == [rows[2], old]


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text('{"fingerprint": "a"}\n{"finger')
    with pytest.raises(ValueError, match=r"test-openings.jsonl, line 2: not JSON"):
        read_openings(tmp_path)
