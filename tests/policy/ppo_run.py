"""A small PPO training in a process of its own: `python ppo_run.py FOLDER CHANGES [STEP SIGNAL]`.

Sends itself SIGNAL as step STEP begins. Writes `outcome.pt` when it comes to its end.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from tiny_models import PAD, parameters, policy, quiet_arguments, reward_model, tokenizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlhf.data.identity import Json
from rlhf.models.training import fit
from rlhf.policy.held_out import HeldOut
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer

PROMPTS = [PromptIds(f"p{n}", (5 + n, 9, 11)[: 1 + n % 3]) for n in range(11)]
TEXTS = [((5, 6), (7, 8, 1)), ((9,), (4, 1)), ((3, 3, 3), (12, 13, 14, 1))]
# Everything that has a state, or could have one.
SETTINGS: Json = {
    "total_episodes": 40,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "num_mini_batches": 2,
    "num_ppo_epochs": 2,
    "response_length": 5,
    "temperature": 1.0,
    "missing_eos_penalty": 1.0,
    "learning_rate": 3e-3,
    "kl_target": 0.5,
    "kl_horizon": 40,
    "target_kl": 0.05,
    "ptx_coef": 0.1,
    "entropy_coef": 0.01,
    "num_sample_generations": 2,
    "save_strategy": "steps",
    "save_steps": 1,
}


class Interrupt(TrainerCallback):
    """Sends a signal to its own process as a step begins."""

    def __init__(self, step: int, signal: int) -> None:
        self.step, self.signal = step, signal

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step + 1 == self.step:
            os.kill(os.getpid(), self.signal)


def trainer_in(folder: Path, changes: Json) -> PPOTrainer:
    dtype = torch.float64
    judge = Scorer(reward_model(300, seed=4, dtype=dtype), PAD)
    monitor = Scorer(reward_model(300, seed=8, dtype=dtype), PAD)
    return PPOTrainer(
        args=PPOConfig(**quiet_arguments(folder, **{**SETTINGS, **changes})),
        processing_class=tokenizer(),
        model=policy(300, dtype=dtype),
        value_model=reward_model(300, seed=4, dtype=dtype),
        reward_model=judge,
        train_dataset=PROMPTS,
        ptx_dataset=TEXTS,
        held_out=HeldOut(PROMPTS[:3], monitor),
    )


def train(trainer: PPOTrainer) -> list[Json]:
    logged: list[Json] = []
    fit(trainer, log=logged.append, progress=lambda *_: None)
    return logged


def outcome(trainer: PPOTrainer) -> Json:
    """All that must be the same for a training that was interrupted."""
    return {
        "weights": parameters(trainer.trained),
        "kl_coef": trainer.controller.coef,
        "history": trainer.watch.history,
        "samples": trainer.watch.samples,
    }


def main() -> None:
    folder, changes, *signal = sys.argv[1:]
    trainer = trainer_in(Path(folder), json.loads(changes))
    if signal:
        trainer.add_callback(Interrupt(int(signal[0]), int(signal[1])))
    train(trainer)
    torch.save(outcome(trainer), Path(folder) / "outcome.pt")


if __name__ == "__main__":
    main()
