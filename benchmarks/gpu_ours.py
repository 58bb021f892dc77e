"""Our side of `benchmarks.gpu`: tokens are counted once, where they pass through the model."""

from statistics import median
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments

from benchmarks.gpu_work import (
    LOADS,
    PAD,
    PROMPT_TOKENS,
    RESPONSE_TOKENS,
    RESPONSES,
    StepClock,
    arguments,
    decoder_flops,
    head_flops,
    median_seconds,
    random_policy,
    random_scorer,
    token_ids,
)
from rlhf.data.identity import Json
from rlhf.models.decoder import train_tokenizer
from rlhf.policy.dpo import DPOTrainer, reference_logprobs
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.scorer import Scorer
from rlhf.reward.trainer import RankedCollator, RankedDataset, RewardArguments, RewardTrainer

SHARED_TOKENS = PROMPT_TOKENS + RESPONSES * RESPONSE_TOKENS  # of a ranking
# What a token attends to on average: within the prompt, and after it.
SHARED_CONTEXT = (
    PROMPT_TOKENS**2 / 2 + RESPONSES * RESPONSE_TOKENS * (PROMPT_TOKENS + RESPONSE_TOKENS / 2)
) / SHARED_TOKENS
EPISODE_TOKENS = PROMPT_TOKENS + RESPONSE_TOKENS


def rankings(count: int) -> list[RankedPrompt]:
    """Rankings of random texts."""
    pairs = [(a, b) for a in range(RESPONSES) for b in range(a + 1, RESPONSES)]
    better, worse = zip(*pairs, strict=True)
    share = (1 / len(pairs),) * len(pairs)
    texts = token_ids(count * RESPONSES, RESPONSE_TOKENS, 1)
    return [
        RankedPrompt(
            str(i),
            tuple(prompt),
            tuple(tuple(text) for text in texts[i * RESPONSES : (i + 1) * RESPONSES]),
            (RESPONSE_TOKENS,) * RESPONSES,
            better,
            worse,
            share,
        )
        for i, prompt in enumerate(token_ids(count, PROMPT_TOKENS, 0))
    ]


def reward(size: str, steps: int, peak: float, folder: str) -> Json:
    """Training of a reward model on rankings of four."""
    load = LOADS[size]
    data = rankings(load.rankings * (steps + 1))
    args = RewardArguments(
        **arguments(folder, per_device_train_batch_size=load.rankings, remove_unused_columns=False)
    )
    model: Any = random_scorer(size)
    clock = StepClock()
    trainer = RewardTrainer(
        model=model,
        args=args,
        train_dataset=RankedDataset(data),
        data_collator=RankedCollator.for_model(model, PAD, data, args),
        callbacks=[clock],
    )
    trainer.train()
    tokens = load.rankings * SHARED_TOKENS
    seconds = clock.median()
    flops = 3 * decoder_flops(size, tokens, SHARED_CONTEXT)
    return _row(seconds, tokens, flops, peak, rankings_per_second=load.rankings / seconds)


def dpo(size: str, steps: int, peak: float, folder: str) -> Json:
    """DPO on rankings of four; the pass of the reference is timed by itself and counted."""
    load = LOADS[size]
    data = rankings(load.rankings * (steps + 1))
    args = TrainingArguments(
        **arguments(folder, per_device_train_batch_size=load.rankings, remove_unused_columns=False)
    )
    model: Any = random_policy(size)
    few = data[: load.rankings]
    reference_seconds = median_seconds(lambda: reference_logprobs(model, few, PAD), repeats=2)
    clock = StepClock()
    trainer = DPOTrainer(
        beta=0.1,
        reference_logprobs=reference_logprobs(model, data, PAD),
        model=model,
        args=args,
        train_dataset=RankedDataset(data),
        data_collator=RankedCollator.for_model(model, PAD, data, args),
        callbacks=[clock],
    )
    trainer.train()
    tokens = load.rankings * SHARED_TOKENS
    seconds = clock.median()
    answers = load.rankings * RESPONSES * RESPONSE_TOKENS
    flops = 3 * (decoder_flops(size, tokens, SHARED_CONTEXT) + head_flops(size, answers))
    both = load.rankings / (seconds + reference_seconds)
    return _row(
        seconds,
        tokens,
        flops,
        peak,
        reference_seconds=reference_seconds,
        rankings_per_second=both,
    )


class PhaseSeconds(TrainerCallback):
    """What each rollout's log says of its phases."""

    def __init__(self) -> None:
        self.rows: list[Json] = []

    def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
        if logs and "time/update_seconds" in logs:
            self.rows.append(logs)

    def median(self, phase: str) -> float:
        """Of the rollouts after the first."""
        return float(median(row[f"time/{phase}_seconds"] for row in self.rows[1:]))


def ppo(size: str, steps: int, peak: float, folder: str) -> Json:
    """PPO's step: sampling, the passes that score, and four epochs of updates; layers compiled."""
    load = LOADS[size]
    epochs = 4
    config = PPOConfig(
        **arguments(
            folder,
            total_episodes=load.episodes * steps,
            per_device_train_batch_size=load.micro_batch,
            gradient_accumulation_steps=load.episodes // load.micro_batch,
            local_rollout_forward_batch_size=load.episodes,
            num_ppo_epochs=epochs,
            response_length=RESPONSE_TOKENS,
            temperature=1.0,
            logging_steps=1,
            num_sample_generations=0,
            torch_compile=torch.cuda.is_available(),
        )
    )
    prompts = [{"input_ids": ids} for ids in token_ids(load.episodes * steps, PROMPT_TOKENS, 0)]
    clock, phases = StepClock(), PhaseSeconds()
    trainer = PPOTrainer(
        args=config,
        processing_class=train_tokenizer(["a text to learn bytes from"], 300),
        model=random_policy(size),
        ref_model=random_policy(size),
        value_model=random_scorer(size),
        reward_model=Scorer(random_scorer(size), PAD),
        train_dataset=prompts,
        callbacks=[clock, phases],
    )
    trainer.train()
    step = clock.median(every=epochs)
    sampled = load.episodes * phases.rows[-1]["objective/response_tokens"]
    tokens = load.episodes * EPISODE_TOKENS
    layers = decoder_flops(size, tokens, EPISODE_TOKENS / 2)
    flops = epochs * 3 * (2 * layers + head_flops(size, int(sampled)))
    sampling, update = phases.median("generate"), phases.median("update")
    scoring = sum(phases.median(phase) for phase in ("read", "reference", "reward"))
    return {
        "step_seconds": round(step, 3),
        "sample_seconds": round(sampling, 3),
        "score_seconds": round(scoring, 3),
        "update_seconds": round(update, 3),
        "sampled_tokens_per_second": round(sampled / sampling),
        "scored_tokens_per_second": round(tokens / scoring),
        "update_tokens_per_second": round(epochs * tokens / update),
        "update_mfu": round(flops / update / peak, 3),
        "samples_per_second": round(load.episodes / step, 2),
        "response_tokens": round(sampled / load.episodes, 1),
    }


def _row(seconds: float, tokens: int, flops: float, peak: float, **more: float) -> Json:
    return {
        "step_seconds": round(seconds, 4),
        "tokens_per_second": round(tokens / seconds),
        "mfu": round(flops / seconds / peak, 3),
        **{name: round(value, 4) for name, value in more.items()},
    }


PHASES = {"reward": reward, "dpo": dpo, "ppo": ppo}
