"""A PPO training that was cut short ends as if nothing had happened, bit for bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ppo_run import outcome, train, trainer_in
from tiny_models import interrupt_after

from rlhf.data.identity import Json
from rlhf.models.checkpoint_folders import WHOLE, newest_checkpoint
from rlhf.policy.memory import OutOfMemory
from rlhf.policy.rewards import FunctionRewards, SummedRewards

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STEPS = 5 * 2 * 2  # rollouts, epochs, mini-batches


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Json, list[Json]]:
    """The uninterrupted training, and its log."""
    trainer = trainer_in(tmp_path_factory.mktemp("whole"), {})
    logged = train(trainer)
    return outcome(trainer), logged


def same(found: Json, expected: Json) -> None:
    assert torch.equal(found["weights"], expected["weights"])
    for name in ("kl_coef", "history", "samples"):
        assert found[name] == expected[name], name


def deterministic(rows: list[Json]) -> list[Json]:
    dated = ("time/", "memory/", "eps", "train_")
    return [{k: v for k, v in row.items() if not k.startswith(dated)} for row in rows]


def test_everything_with_a_state_is_at_work(whole: tuple[Json, list[Json]]) -> None:
    """Or the other tests would prove little."""
    found, logged = whole
    assert found["kl_coef"] != 0.05
    assert any(0 < row.get("policy/updates_skipped", 0) < 1 for row in logged)
    assert len(found["history"]) == 4
    assert "held_out/monitor" in found["history"][0]


@pytest.mark.parametrize("step", random.Random(5).sample(range(6, STEPS + 1), 3))
def test_resumed_is_uninterrupted(
    tmp_path: Path, whole: tuple[Json, list[Json]], step: int
) -> None:
    cut = trainer_in(tmp_path, {})
    cut.add_callback(interrupt_after(step))
    with pytest.raises(KeyboardInterrupt):
        train(cut)
    again = trainer_in(tmp_path, {})
    logged = train(again)
    same(outcome(again), whole[0])
    assert deterministic(logged) == deterministic(whole[1])


@pytest.mark.parametrize("step", [8, 9], ids=["the first update", "the second update"])
def test_out_of_memory_leaves_the_last_end_of_a_rollout(
    tmp_path: Path, whole: tuple[Json, list[Json]], step: int
) -> None:
    """The rollout has been noted and has steered the KL before its update fails."""
    settings = {"save_steps": 100}
    cut = trainer_in(tmp_path, settings)
    update = cut._loss

    def fails(*arguments: Any) -> Any:
        if cut.state.global_step == step:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return update(*arguments)

    cut._loss = fails  # type: ignore[method-assign, assignment]
    with pytest.raises(OutOfMemory, match="per_device_train_batch_size 4 -> 2") as error:
        train(cut)
    saved = newest_checkpoint(tmp_path / "checkpoints")
    if step == 9:  # weights in the midst of a rollout, whose samples are lost
        assert saved is None
        return
    assert saved is not None
    assert f"before it are saved in {saved.name}" in str(error.value)
    assert saved.name == "checkpoint-8"
    again = trainer_in(tmp_path, settings)
    logged = train(again)
    same(outcome(again), whole[0])
    assert deterministic(logged) == deterministic(whole[1])


@pytest.mark.parametrize("where", ["optimizer", "last evaluation"])
def test_out_of_memory_is_explained_wherever_it_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    trainer = trainer_in(tmp_path, {"total_episodes": 8, "save_strategy": "no"})
    if where == "optimizer":
        monkeypatch.setattr(torch.optim.AdamW, "step", fails)
    else:
        begin = trainer._evaluate_policy
        trainer._evaluate_policy = lambda number: fails() if number else begin(number)  # type: ignore[method-assign]
    with pytest.raises(OutOfMemory, match="out of memory") as error:
        trainer.train()
    assert ("saved in checkpoint-4" in str(error.value)) == (where == "last evaluation")


def run(folder: Path, changes: Json, *interruption: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, HERE / "ppo_run.py", folder, json.dumps(changes), *interruption]
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{HERE}"},
    )


def outcome_of(folder: Path) -> Any:
    return torch.load(folder / "outcome.pt", weights_only=False)


def test_sigterm_ends_the_rollout_saves_and_says_so(
    tmp_path: Path, whole: tuple[Json, list[Json]]
) -> None:
    ended = run(tmp_path, {"save_strategy": "no"}, 6, signal.SIGTERM)
    assert ended.returncode == 143, ended.stderr[-500:]
    # step 6 lies in the second rollout, which ends with step 8
    assert "told to stop: saved step 8" in ended.stderr
    saved = newest_checkpoint(tmp_path / "checkpoints")
    assert saved is not None
    assert saved.name == "checkpoint-8"
    assert not (tmp_path / "outcome.pt").exists()
    again = trainer_in(tmp_path, {"save_strategy": "no"})
    train(again)
    same(outcome(again), whole[0])


def test_saving_on_time(tmp_path: Path) -> None:
    settings: Json = {"save_strategy": "no", "total_episodes": 16}
    train(trainer_in(tmp_path / "never", settings))
    assert newest_checkpoint(tmp_path / "never" / "checkpoints") is None
    train(trainer_in(tmp_path / "often", {**settings, "save_minutes": 1e-9}))
    saved = {path.name for path in (tmp_path / "often" / "checkpoints").glob("checkpoint-*")}
    assert saved == {"checkpoint-4", "checkpoint-8"}
    train(trainer_in(tmp_path / "rarely", {**settings, "save_minutes": 60}))
    assert newest_checkpoint(tmp_path / "rarely" / "checkpoints") is None


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    train(trainer_in(tmp_path, {"total_episodes": 8}))
    other = trainer_in(tmp_path, {"total_episodes": 16})
    other.trained.policy.lm_head.weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"of another model: 1 weights differ, policy.lm_head"):
        train(other)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_mini_batches": 1}, "a training with 4 updates on each, and this one has 2"),
        ({"gradient_accumulation_steps": 1}, "with 8 episodes a rollout, and this one has 4"),
    ],
)
def test_a_checkpoint_of_other_sizes_is_refused(tmp_path: Path, changes: Json, says: str) -> None:
    """Its step 4 would be another rollout, another mini-batch, other prompts."""
    train(trainer_in(tmp_path, {"total_episodes": 8}))
    with pytest.raises(ValueError, match=says):
        train(trainer_in(tmp_path, {"total_episodes": 16, **changes}))


class Fails:
    """A reward that is out of reach in the third rollout."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, prompts: Any, responses: Any) -> list[float]:
        self.asked += 1
        if self.asked == 3:
            raise ConnectionError("the service is down")
        return [float(len(one)) for one in responses]


def test_a_reward_function_that_raises_leaves_the_last_end_of_a_rollout(
    tmp_path: Path, whole: tuple[Json, list[Json]]
) -> None:
    settings = {"save_strategy": "no", "num_sample_generations": 0}
    cut = trainer_in(tmp_path, settings)
    scorer = cut.roller.rewards
    rewards = SummedRewards((scorer, FunctionRewards(Fails(), cut.tokenizer_of_policy)))
    cut.roller = replace(cut.roller, rewards=rewards)
    with pytest.raises(ConnectionError, match="is down") as error:
        train(cut)
    assert error.value.__notes__ == ["PPO stopped; the weights before it are saved in checkpoint-8"]
    saved = newest_checkpoint(tmp_path / "checkpoints")
    assert saved is not None
    assert saved.name == "checkpoint-8"


def test_what_an_error_asks_for_can_be_given_to_a_training_that_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A coefficient and a rate: the checkpoint's own were taken, and nothing said so."""
    settings = {"lr_scheduler_type": "constant", "kl_target": None, "num_sample_generations": 0}
    train(trainer_in(tmp_path, {**settings, "total_episodes": 8}))
    again = trainer_in(tmp_path, {**settings, "kl_coef": 0.5, "learning_rate": 1e-4})
    logged = [row for row in train(again) if row["step"] > 4 and "lr" in row]
    assert {round(row["objective/kl_coef"], 6) for row in logged} == {0.5}
    assert {row["lr"] for row in logged} == {1e-4}
    assert "goes on with kl_coef 0.5, where it had 0.05" in caplog.text
    assert "goes on with learning_rate 0.0001, where it had 0.003" in caplog.text
    assert caplog.text.count("goes on with") == 3
    assert "goes on with total_episodes 40, where it had 8" in caplog.text


def test_a_checkpoint_of_another_seed_is_refused(tmp_path: Path) -> None:
    """Prompts and mini-batches are functions of it: some would be taken twice, others never."""
    train(trainer_in(tmp_path, {"total_episodes": 8}))
    with pytest.raises(ValueError, match=r"checkpoint-4 is of a training with seed 42, and .* 7"):
        train(trainer_in(tmp_path, {"seed": 7}))
    with pytest.raises(ValueError, match=r"give the seed it had, or another output_dir"):
        trainer_in(tmp_path, {"seed": 7}).train(resume_from_checkpoint=True)


def test_a_checkpoint_that_lost_its_optimizer_is_not_gone_on_from(
    tmp_path: Path, whole: tuple[Json, list[Json]], caplog: pytest.LogCaptureFixture
) -> None:
    """The Trainer starts moments anew and says nothing."""
    cut = trainer_in(tmp_path, {})
    cut.add_callback(interrupt_after(10))
    with pytest.raises(KeyboardInterrupt):
        train(cut)
    newest = tmp_path / "checkpoints" / "checkpoint-8"
    (newest / "optimizer.pt").unlink()
    with pytest.raises(ValueError, match=r"8 is damaged, optimizer.pt is missing: go on from one"):
        trainer_in(tmp_path, {}).train(resume_from_checkpoint=str(newest))
    again = trainer_in(tmp_path, {})
    train(again)
    assert "checkpoint-8 is damaged, optimizer.pt is missing" in caplog.text
    same(outcome(again), whole[0])


def test_a_schedule_goes_on_from_the_new_rate(tmp_path: Path) -> None:
    settings = {"num_sample_generations": 0, "total_episodes": 16}
    train(trainer_in(tmp_path, settings))
    for folder in (tmp_path / "checkpoints").glob("checkpoint-8"):
        shutil.rmtree(folder)
    again = trainer_in(tmp_path, {**settings, "learning_rate": 1e-3})
    rates: list[float] = []
    step = again.training_step

    def noted(*arguments: Any, **named: Any) -> Any:
        rates.append(again._get_learning_rate())
        return step(*arguments, **named)

    again.training_step = noted  # type: ignore[method-assign]
    train(again)
    assert rates == pytest.approx([1e-3 * left / 8 for left in (4, 3, 2, 1)])


def test_a_coefficient_that_was_steered_stays_where_it_was(tmp_path: Path) -> None:
    train(trainer_in(tmp_path, {"total_episodes": 8}))
    again = trainer_in(tmp_path, {})
    again._load_from_checkpoint(str(newest_checkpoint(tmp_path / "checkpoints")))
    assert again.controller.coef != again.config.kl_coef


def test_going_on_takes_the_newest_checkpoint_that_was_written_to_its_end(tmp_path: Path) -> None:
    """Also of a script that calls `train` itself; what a full disk left is no checkpoint."""
    folder = tmp_path / "checkpoints"
    with pytest.raises(ValueError, match=r"no checkpoint in .* was written to its end"):
        trainer_in(tmp_path, {}).train(resume_from_checkpoint=True)
    first = trainer_in(tmp_path, {"total_episodes": 16})
    first.train()
    assert (folder / "checkpoint-8" / WHOLE).exists()
    (folder / "checkpoint-12").mkdir()
    (folder / "checkpoint-12" / "trainer_state.json").write_text("{")
    again = trainer_in(tmp_path, {"total_episodes": 16})
    again.train(resume_from_checkpoint=True)
    same(outcome(again), outcome(first))


@pytest.mark.slow
@pytest.mark.parametrize("step", random.Random(7).choices(range(1, STEPS + 1), k=20))
def test_killed_at_any_instant(tmp_path: Path, whole: tuple[Json, list[Json]], step: int) -> None:
    """SIGKILL, in a process of its own: nothing gets a chance to tidy up."""
    assert run(tmp_path, {}, step, signal.SIGKILL).returncode == -signal.SIGKILL
    again = run(tmp_path, {})
    assert again.returncode == 0, again.stderr[-500:]
    same(outcome_of(tmp_path), whole[0])
