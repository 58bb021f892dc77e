"""Win rates by the labelers who compared blind."""

from dataclasses import replace
from pathlib import Path

import pytest
from run_by_hand import answer_rows, write_run

from rlhf.data.jsonl import write_json, write_jsonl
from rlhf.data.records import Message, Prompt, Ranking, Response
from rlhf.evaluation.winrate import wilson
from rlhf.reporting.judges import FEWEST, judged_by_group, judged_by_labeler
from rlhf.reporting.probes import slice_rows
from rlhf.reporting.reading import RunRecord, read_run


def judged(folder: Path, votes: list[tuple[str, int, str]]) -> RunRecord:
    """A run that people judged: (labeler, prompt, who won or `tie`) of DPO and SFT."""
    rows = answer_rows([1.0] * 12)
    made = []
    for labeler, place, won in votes:
        row = rows[place]
        prompt = Prompt.of(tuple(Message.from_json(one) for one in row["prompt"]))
        ours, theirs = (
            Response.of(prompt.id, row["answers"][name]["text"]).id for name in ("dpo", "reference")
        )
        orders = {
            "dpo": ((ours,), (theirs,)),
            "sft": ((theirs,), (ours,)),
            "tie": ((ours, theirs),),
        }
        made.append(
            Ranking.of(
                prompt_id=prompt.id,
                labeler_id=labeler,
                groups=orders[won],
                shown=(theirs, ours),
                duration_seconds=3.0,
            ).to_json()
        )
    write_run(folder, answers=rows)
    stage = folder / "round-1/judge/aaa"
    write_jsonl(stage / "judgements.jsonl", made)
    inputs = {"evaluate": {"path": "round-1/evaluate/aaa", "sha256": "0"}}
    write_json(stage / "inputs.json", {"stages": inputs})
    marker = {"fingerprint": "aaa", "digest": "0", "seconds": 1.0, "size_bytes": 1}
    write_json(
        stage / "complete.json", {**marker, "finished_at": "2026-11-23T23:00:00", "result": {}}
    )
    (stage.parent / "current").symlink_to("aaa")
    return read_run(folder)


def test_a_labeler_who_sees_it_otherwise_is_told_apart(tmp_path: Path) -> None:
    votes = [("ann", i, "dpo") for i in range(11)] + [("ann", 11, "tie")]
    votes += [("bob", i, "sft") for i in range(FEWEST)]
    votes += [("cat", 0, "dpo"), ("dan", 0, "sft"), ("dan", 0, "dpo")]  # dan thought again
    rows = judged_by_labeler(judged(tmp_path / "run", votes))
    assert [(one.policy, one.labeler, one.comparisons) for one in rows] == [
        ("dpo", "ann", 12),
        ("dpo", "bob", 10),
        ("dpo", "", 2),
    ]
    assert [one.rate for one in rows] == [pytest.approx(11.5 / 12), 0.0, 1.0]
    assert (rows[1].low, rows[1].high) == wilson(0.0, 10)


def test_a_group_says_of_a_contest_what_its_members_say_on_average(tmp_path: Path) -> None:
    votes = [("ann", 0, "dpo"), ("bob", 0, "sft"), ("ann", 1, "dpo"), ("bob", 2, "dpo")]
    votes += [("cat", 0, "sft"), ("cat", 1, "tie"), ("dan", 3, "sft")]
    run = judged(tmp_path / "run", votes)
    assert judged_by_group(run) == []
    groups = {"nurses": ["ann", "bob", "who was never there"], "doctors": ["cat"]}
    run = replace(run, config={**run.config, "label": {"groups": groups}})
    doctors, nurses = judged_by_group(run)
    assert (doctors.policy, doctors.labeler, doctors.rate) == ("dpo", "doctors", 0.25)
    assert nurses.rate == pytest.approx((0.5 + 1 + 1) / 3)
    assert nurses.comparisons == 3
    assert (nurses.low, nurses.high) == wilson((0.5 + 1 + 1) / 3, 3)
    assert [(row.slice, row.prompts) for row in slice_rows(run)] == [
        ("labelers: doctors", "2"),
        ("labelers: nurses", "3"),
        ("labelers of few comparisons", "7"),
    ]
    assert judged_by_group(replace(run, config={"label": None})) == []


def test_nobody_judged_a_run_without_people(tmp_path: Path) -> None:
    assert judged_by_labeler(read_run(write_run(tmp_path / "run"))) == []
