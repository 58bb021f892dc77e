"""Our side of `benchmarks.gpu`: tokens are counted once, where they pass through the model."""

from typing import Any

from transformers import TrainingArguments

from benchmarks.gpu_work import (
    EOS,
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
from rlhf.models.generation import Completion, Sampling, sample
from rlhf.policy.dpo import DPOTrainer, reference_logprobs
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.policy.rollout import PromptIds
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


def ppo(size: str, steps: int, peak: float, folder: str) -> Json:
    """PPO's step: sampling, the passes that score, and four epochs of updates."""
    load = LOADS[size]
    epochs = 4
    config = PPOConfig(
        **arguments(
            folder,
            total_episodes=load.episodes * steps,
            per_device_train_batch_size=load.micro_batch,
            gradient_accumulation_steps=load.episodes // load.micro_batch,
            num_ppo_epochs=epochs,
            response_length=RESPONSE_TOKENS,
            missing_eos_penalty=0.0,
        )
    )
    tokenizer = train_tokenizer(["a text to learn bytes from"], 300)
    prompts = [
        PromptIds(str(i), tuple(ids))
        for i, ids in enumerate(token_ids(load.episodes * steps, PROMPT_TOKENS, 0))
    ]
    policy, reference = random_policy(size), random_policy(size)
    value, rewarder = random_scorer(size), random_scorer(size)
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=policy,
        value_model=value,
        ref_model=reference,
        scorer=Scorer(rewarder, PAD),
        train_dataset=prompts,
    )
    clock = StepClock()
    trainer.add_callback(clock)
    trainer.train()
    step = clock.median(every=epochs)
    batch = prompts[: load.episodes]
    asked = [one.ids for one in batch]
    seeds = list(range(load.episodes))

    def draw() -> list[Completion]:
        return sample(
            policy,
            asked,
            seeds,
            Sampling(RESPONSE_TOKENS),
            eos_token_id=EOS,
            pad_token_id=PAD,
            batch_size=load.episodes,
        )

    sampling = median_seconds(draw, repeats=1)
    drawn = draw()
    sampled = sum(len(one.ids) for one in drawn)
    scoring = median_seconds(
        lambda: trainer.roller.evaluate(policy, value, batch, drawn), repeats=1
    )
    update = step - sampling - scoring
    tokens = load.episodes * EPISODE_TOKENS
    layers = decoder_flops(size, tokens, EPISODE_TOKENS / 2)
    flops = epochs * 3 * (2 * layers + head_flops(size, sampled))
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
