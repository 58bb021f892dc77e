"""What the tests of PPO's interface share: a few prompts, and a trainer on them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tiny_models import parameters, policy, quiet_arguments, reward_model, tokenizer

from rlhf.policy.ppo import PPOConfig, PPOTrainer

ROWS = [[5 + n, 9, 11][: 1 + n % 3] for n in range(11)]


def trainer_in(folder: Path, **changes: Any) -> PPOTrainer:
    given = {
        "ref_model": None,
        "reward_model": reward_model(300, seed=4, dtype=torch.float32),
        "value_model": reward_model(300, seed=4, dtype=torch.float32),
        "train_dataset": Dataset.from_dict({"input_ids": ROWS}),
        "processing_class": tokenizer(),
    }
    for name in ("model", *given, "peft_config", "eval_dataset", "data_collator", "callbacks"):
        if name in changes:
            given[name] = changes.pop(name)
    settings = {
        "total_episodes": 16,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_ppo_epochs": 2,
        "response_length": 8,
        "learning_rate": 3e-3,
        **changes,
    }
    given.setdefault("model", policy(300, dtype=torch.float32))
    return PPOTrainer(
        args=PPOConfig(**quiet_arguments(folder, **settings)),
        **given,
    )


def trained(folder: Path, **changes: Any) -> torch.Tensor:
    made = trainer_in(folder, **changes)
    made.train()
    return parameters(made.trained)


def refused(tmp_path: Path, says: str, **changes: Any) -> None:
    with pytest.raises(ValueError, match=says):
        trainer_in(tmp_path, **changes)
