"""What the report reads of a run folder, damaged ones too, and how it says where it is from."""

from pathlib import Path

import pytest
from run_by_hand import (
    CONFIG,
    answer_rows,
    plain,
    results,
    run_with,
    write_run,
    write_stage,
)

from rlhf.reporting.cautions import cautions_of
from rlhf.reporting.lineage import flow, missing, reproduction, subtitle
from rlhf.reporting.reading import read_run


def test_a_stage_that_ran_again_is_told_and_not_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_stage(folder, "prompts", {**results()["prompts"], "prompts": 9}, "bbb", {})
    run = read_run(folder)
    [caution] = cautions_of(run)
    assert caution.headline == "This page is older than the run."
    assert run.result("prompts")["prompts"] == 2400


def test_a_policy_that_the_evaluation_did_not_read_is_left_out(tmp_path: Path) -> None:
    found = results()
    del found["evaluate"]["policies"]["ppo"]
    old = found.pop("ppo")
    folder = write_run(tmp_path / "run", found, config={**CONFIG, "ppo": {"enabled": False}})
    write_stage(folder, "ppo", old, "old", found)
    run = read_run(folder)
    assert "ppo" not in run.stages
    assert missing(run) == ["PPO is turned off in the config."]


def test_a_damaged_file_is_read_up_to_the_damage_and_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    metrics = folder / "round-1/ppo/aaa/metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 6, "obj')
    run = read_run(folder)
    assert len(run.metrics("ppo")) == 2
    [caution] = cautions_of(run)
    assert caution.headline == "A file of the run is damaged."
    assert caution.text.startswith("ppo/metrics.jsonl could be read up to row 2 only")


def test_an_answer_that_lacks_a_figure_is_named(tmp_path: Path) -> None:
    rows = answer_rows([1.0, 1.0, 1.0])
    del rows[1]["answers"]["dpo"]["tokens"]
    run = read_run(write_run(tmp_path / "run", answers=[*rows, {"prompt_id": 3}]))
    assert len(run.answers) == 1
    [caution] = cautions_of(run)
    assert caution.text.startswith("evaluate/answers.jsonl could be read up to row 1 only")


@pytest.mark.parametrize("text", [b"{", b"{}", b"[1]", b"\xff\xfe"])
def test_a_damaged_marker_is_one_sentence(tmp_path: Path, text: bytes) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "round-1/evaluate/aaa/complete.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"evaluate/.*complete.json is damaged: move that folder"):
        read_run(folder)


def test_an_altered_ranking_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    votes = folder / "round-1/label/aaa/rankings.jsonl"
    votes.write_text(votes.read_text().replace('"duration_seconds": 20.0', '"duration_seconds": 2'))
    [caution] = cautions_of(read_run(folder))
    assert "was altered" in caution.text


def test_the_newest_round_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "round-1").rename(folder / "round-10")
    write_run(folder, {"prompts": {"prompts": 3, "train": 1, "validation": 1, "test": 1}})
    (folder / "round-1").rename(folder / "round-2")
    assert read_run(folder).round == "round-10"


def test_an_empty_folder_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run in"):
        read_run(tmp_path)
    (tmp_path / "round-1" / "prompts" / "aaa").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no stage of .* is complete yet"):
        read_run(tmp_path)


def test_the_line_under_the_title(tmp_path: Path) -> None:
    assert [plain(part) for part in subtitle(run_with(tmp_path))] == [
        "23 November 2026",
        "commit 0d2b7c4",
        "11 min 0 s on 2 cores",
        "4 rankings by 2 simulated labelers (1.5 labeler hours)",
    ]


def test_the_flow_counts_what_was_done(tmp_path: Path) -> None:
    steps = [[[plain(box) for box in lane] for lane in step] for step in flow(run_with(tmp_path))]
    assert steps == [
        [["2,400 prompts"]],
        [["pretraining"]],
        [["SFT"]],
        [["9 responses"]],
        [["4 rankings of 3"]],
        [["reward model 74 %", "certified fit for RL", "PPO"], ["DPO"]],
        [["compared on 400 test prompts"]],
    ]


def test_the_flow_of_dpo_alone_has_no_fork(tmp_path: Path) -> None:
    found = {name: row for name, row in results().items() if name in {"sft", "label", "dpo"}}
    assert flow(read_run(write_run(tmp_path / "small", found)))[-1] == (("DPO",),)


def test_the_config_on_the_page_can_be_run_again(tmp_path: Path) -> None:
    again = reproduction(run_with(tmp_path))
    assert again.commands == ("git checkout 0d2b7c41fd72", "rlhf run small.yaml")
    assert (again.seed, again.changed) == (17, False)
    assert "labelers: simulated" in again.config
    assert "runs_dir" not in again.config
    assert again.stages[0][:2] == ("prompts", "1\u202fmin 0\u202fs")
