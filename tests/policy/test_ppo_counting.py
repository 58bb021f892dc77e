"""What PPO counts in: updates, rollouts, episodes; how many rows at once, how often samples."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from ppo_hands import ROWS, trained, trainer_in
from tiny_models import quiet_arguments

from rlhf.data.identity import Json
from rlhf.models.decoding import Continuation
from rlhf.policy import rollout
from rlhf.policy.ppo import PPOConfig


@pytest.mark.parametrize(
    ("given", "passes", "parts"),
    [
        ({}, 1, 4),
        ({"num_ppo_epochs": 4}, 4, 1),  # as TRL's scripts ask for it
        ({"num_ppo_epochs": 3, "num_mini_batches": 2}, 3, 2),
        ({"num_mini_batches": 8}, 1, 8),
        ({"gradient_accumulation_steps": 1, "per_device_train_batch_size": 6}, 1, 2),
        ({"gradient_accumulation_steps": 1, "per_device_train_batch_size": 7}, 1, 1),
    ],
)
def test_a_rollout_is_four_steps_of_one_pass_unless_told_otherwise(
    tmp_path: Path, given: Json, passes: int, parts: int
) -> None:
    sizes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    config = PPOConfig(**quiet_arguments(tmp_path, **sizes | given))
    assert (config.num_ppo_epochs, config.num_mini_batches) == (passes, parts)
    assert config.updates_per_rollout == passes * parts
    assert config.mini_batch_size == config.rollout_size // parts


def test_the_rollout_is_read_and_sampled_in_batches_of_the_size_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[int] = []
    begin = Continuation.__init__

    def counted(self: Any, model: Any, prompts: Any, *arguments: Any) -> None:
        sampled.append(len(prompts))
        begin(self, model, prompts, *arguments)

    monkeypatch.setattr(Continuation, "__init__", counted)
    for size, expected in ((None, [8, 8]), (3, [3, 3, 2, 3, 3, 2])):
        sampled.clear()
        trained(tmp_path, local_rollout_forward_batch_size=size)
        assert sampled == expected
    monkeypatch.setattr(rollout, "SAMPLED_AT_ONCE", 5)
    sampled.clear()
    made = trainer_in(tmp_path, eval_dataset=Dataset.from_dict({"input_ids": ROWS}))
    assert len(made.generate_completions()) == 11
    assert sampled == [5, 5, 1]


def test_how_often_samples_are_kept(tmp_path: Path) -> None:
    asked = Dataset.from_dict({"input_ids": ROWS[:2]})
    for times, episodes in ((0, []), (1, [0, 32]), (2, [0, 16, 32])):
        made = trainer_in(
            tmp_path, total_episodes=32, eval_dataset=asked, num_sample_generations=times
        )
        made.train()
        assert [row["episode"] for row in made.watch.history] == episodes
        assert [row["episode"] for row in made.watch.samples] == [e for e in episodes for _ in "ab"]


def test_logs_and_saves_count_rollouts(tmp_path: Path) -> None:
    made = trainer_in(
        tmp_path, total_episodes=32, logging_steps=2, save_strategy="steps", save_steps=3
    )
    made.train()
    assert [row["step"] for row in made.state.log_history if "eps" in row] == [4, 8]
    assert (tmp_path / "checkpoints" / "checkpoint-6").exists()


def test_logs_and_saves_may_be_shares_of_the_training(tmp_path: Path) -> None:
    made = trainer_in(
        tmp_path, total_episodes=32, logging_steps=0.5, save_strategy="steps", save_steps=0.7
    )
    made.train()
    assert [row["step"] for row in made.state.log_history if "eps" in row] == [4, 8]
    saved = sorted(one.name for one in (tmp_path / "checkpoints").iterdir())
    assert saved == ["checkpoint-6", "checkpoint-8"]


def test_a_warm_up_counts_rollouts(tmp_path: Path) -> None:
    settings: Json = {"lr_scheduler_type": "constant_with_warmup", "total_episodes": 32}
    for steps, expected in ((2, [0.5, 1.0, 1.0, 1.0]), (0.5, [0.5, 1.0, 1.0, 1.0]), (0, [1.0] * 4)):
        made = trainer_in(tmp_path, warmup_steps=steps, num_ppo_epochs=2, **settings)
        made.train()
        rates = [row["lr"] / 3e-3 for row in made.state.log_history if "eps" in row]
        assert rates == pytest.approx(expected)


def test_kl_horizon_says_how_fast_the_coefficient_moves(tmp_path: Path) -> None:
    slow, fast = (trainer_in(tmp_path, kl_target=1.0, kl_horizon=horizon) for horizon in (1000, 20))
    for made in (slow, fast):
        made.train()
    # The policy starts at its reference: KL 0 is 100 % too little, clipped to -20 %.
    first = [1 - 0.2 * 8 / horizon for horizon in (1000, 20)]
    assert slow.controller.coef < 0.05 * first[0] * 1.01
    assert fast.controller.coef < slow.controller.coef


def test_the_update_that_exceeds_target_kl_is_one_of_those_it_dropped(tmp_path: Path) -> None:
    made = trainer_in(tmp_path, num_ppo_epochs=4, target_kl=1e-9)
    made.train()
    log = [row for row in made.state.log_history if "eps" in row]
    # The first of four is on policy; the second has moved.
    assert [row["policy/updates_skipped"] for row in log] == [0.75, 0.75]
    assert log[0]["grad_norm"] == 0  # of the last update
