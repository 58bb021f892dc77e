"""TRL's side of `benchmarks.gpu`: the same rankings as pairs, the same prompts for PPO."""

from importlib import import_module
from typing import Any

from datasets import Dataset

from benchmarks.gpu_ours import rankings
from benchmarks.gpu_work import (
    LOADS,
    PAD,
    PROMPT_TOKENS,
    RESPONSE_TOKENS,
    RESPONSES,
    StepClock,
    arguments,
    random_policy,
    random_scorer,
    token_ids,
)
from rlhf.data.identity import Json
from rlhf.models.decoder import train_tokenizer
from rlhf.models.training import CHECKPOINTING, silence

PAIRS = RESPONSES * (RESPONSES - 1) // 2
PASS_PAIRS = 16  # pairs that go through at once
PASS_EPISODES = 8  # its logits stand in memory whole: more do not fit


def _tokenizer() -> Any:
    return train_tokenizer(["a text to learn bytes from"], 300)


def _paired(load_rankings: int) -> Json:
    """Batch sizes for a step over all pairs of so many rankings."""
    pairs = load_rankings * PAIRS
    return {
        "per_device_train_batch_size": min(PASS_PAIRS, pairs),
        "gradient_accumulation_steps": max(1, pairs // PASS_PAIRS),
        CHECKPOINTING: False,
    }


def _timed(trainer: Any) -> float:
    clock = StepClock()
    silence(trainer)
    trainer.add_callback(clock)
    trainer.train()
    return clock.median()


def reward(size: str, steps: int, peak: float, folder: str) -> Json:  # noqa: ARG001
    """TRL's reward trainer on all pairs of the same number of rankings."""
    from trl import RewardConfig, RewardTrainer

    load = LOADS[size]
    rows = [
        {
            "chosen_ids": [*one.prompt, *one.responses[b]],
            "rejected_ids": [*one.prompt, *one.responses[w]],
        }
        for one in rankings(load.rankings * (steps + 1))
        for b, w in zip(one.better, one.worse, strict=True)
    ]
    args = RewardConfig(**arguments(folder, **_paired(load.rankings)), max_length=None)
    trainer = RewardTrainer(
        model=random_scorer(size),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=_tokenizer(),
    )
    seconds = _timed(trainer)
    passed = load.rankings * PAIRS * 2 * (PROMPT_TOKENS + RESPONSE_TOKENS)
    return {
        "step_seconds": round(seconds, 4),
        "tokens_per_second": round(passed / seconds),
        "rankings_per_second": round(load.rankings / seconds, 4),
    }


def dpo(size: str, steps: int, peak: float, folder: str) -> Json:  # noqa: ARG001
    """TRL's DPO trainer on all pairs, the reference in the same step."""
    from trl import DPOConfig, DPOTrainer

    class OnIds(DPOTrainer):
        """Takes rows that are ids already."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    load = LOADS[size]
    rows = [
        {
            "prompt_ids": list(one.prompt),
            "chosen_ids": list(one.responses[b]),
            "rejected_ids": list(one.responses[w]),
        }
        for one in rankings(load.rankings * (steps + 1))
        for b, w in zip(one.better, one.worse, strict=True)
    ]
    args = DPOConfig(**arguments(folder, **_paired(load.rankings)), max_length=None)
    trainer = OnIds(
        model=random_policy(size),
        ref_model=random_policy(size),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=_tokenizer(),
    )
    seconds = _timed(trainer)
    passed = load.rankings * PAIRS * 2 * (PROMPT_TOKENS + RESPONSE_TOKENS)
    return {
        "step_seconds": round(seconds, 4),
        "tokens_per_second": round(passed / seconds),
        "rankings_per_second": round(load.rankings / seconds, 4),
    }


def ppo(size: str, steps: int, peak: float, folder: str) -> Json:  # noqa: ARG001
    """TRL 1.12's PPO trainer with rollouts of our size."""
    ppo_of = import_module("trl.experimental.ppo")  # gone from the TRL that the project needs
    load = LOADS[size]
    passed = min(PASS_EPISODES, load.micro_batch)
    tokenizer = _tokenizer()
    assert tokenizer.pad_token_id == PAD
    prompts = token_ids(load.episodes * steps, PROMPT_TOKENS, 0)
    args = ppo_of.PPOConfig(
        **arguments(
            folder,
            total_episodes=load.episodes * steps,
            per_device_train_batch_size=passed,
            gradient_accumulation_steps=load.episodes // passed,
            num_ppo_epochs=4,
            response_length=RESPONSE_TOKENS,
            temperature=1.0,
            num_sample_generations=0,
            local_rollout_forward_batch_size=passed,
        ),
        **{CHECKPOINTING: False},
    )
    trainer = ppo_of.PPOTrainer(
        args=args,
        processing_class=tokenizer,
        model=random_policy(size),
        ref_model=random_policy(size),
        reward_model=random_scorer(size),
        value_model=random_scorer(size),
        train_dataset=Dataset.from_list([{"input_ids": ids} for ids in prompts]),
        eval_dataset=Dataset.from_list([{"input_ids": ids} for ids in prompts[: load.episodes]]),
    )
    step = _timed(trainer)
    return {
        "step_seconds": round(step, 3),
        "samples_per_second": round(load.episodes / step, 2),
    }


PHASES = {"reward": reward, "dpo": dpo, "ppo": ppo}
