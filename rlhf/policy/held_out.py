"""Knowing when to stop: what a policy does on prompts that it does not train on, under the reward
that it climbs and under a monitor that it never sees.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from rlhf.data.identity import Json
from rlhf.data.records import Message
from rlhf.models.conversation import decode
from rlhf.policy.advantages import masked_mean
from rlhf.policy.ppo_models import ActorCritic
from rlhf.policy.rewards import Rewards
from rlhf.policy.rollout import PromptIds, Roller, rollout_seeds

SAMPLES_KEPT = 24
NGRAM = 3
# An alarm needs a change that is larger than what chance gives on a few hundred prompts.
REPETITION_RISE, LENGTH_FACTOR, FINISHED_FALL, ENTROPY_SHARE = 0.10, 1.5, 0.15, 0.3


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Prompts of no training, and the monitor where there is one."""

    prompts: Sequence[PromptIds]
    monitor: Rewards | None = None


def conversations_of(
    prompts: Sequence[PromptIds], held_out: HeldOut | None
) -> dict[tuple[int, ...], tuple[Message, ...]]:
    """What prompts of training and evaluation are made of, by their ids, where that is known."""
    asked = [*prompts, *(held_out.prompts if held_out is not None else ())]
    return {one.ids: one.messages for one in asked if one.messages}


@dataclass(slots=True)
class Watch:
    """What the evaluations found so far, which of them was best, and what is alarming."""

    history: list[Json] = field(default_factory=list)
    samples: list[Json] = field(default_factory=list)

    def take(self, episode: int, numbers: Json, samples: Sequence[Json]) -> bool:
        """Keeps an evaluation; whether it is the best so far, by the monitor, else by the reward.

        An evaluation at the same episode, made again after a resume, replaces the first.
        """
        self.history = [row for row in self.history if row["episode"] < episode]
        self.samples = [row for row in self.samples if row["episode"] < episode]
        self.history.append({"episode": episode, **numbers})
        self.samples += [{"episode": episode, **row} for row in samples]
        return self.best is self.history[-1]

    @property
    def best(self) -> Json | None:
        """The evaluation with the highest monitor (where there is none, reward); the earliest of
        equals.
        """
        return max(self.history, key=_judged, default=None)

    def alarms(self) -> list[str]:
        """What the last evaluation shows that should be looked at, in sentences with numbers."""
        if len(self.history) < 2:
            return []
        return alarms(self.history)


def _judged(row: Json) -> float:
    return float(row["held_out/monitor" if "held_out/monitor" in row else "held_out/reward"])


def alarms(history: Sequence[Json]) -> list[str]:
    """Sentences on the last row of a history against the first and the best."""
    first, last = history[0], history[-1]
    found = []
    best = max(history, key=_judged)
    if "held_out/monitor" in last and best is not last:
        fell = best["held_out/monitor"] - last["held_out/monitor"]
        rose = last["held_out/reward"] - best["held_out/reward"]
        if rose > 0 and fell > 2 * last["held_out/monitor_se"]:
            found.append(
                f"the reward rose by {rose:.2f} since episode {best['episode']} while the monitor, "
                f"which the policy never sees, fell by {fell:.2f}: the policy may be gaming the "
                "reward model"
            )
    for name, limit, says in (
        ("repetition", first["held_out/repetition"] + REPETITION_RISE, "repeats itself"),
        ("tokens", first["held_out/tokens"] * LENGTH_FACTOR, "writes longer"),
    ):
        if last[f"held_out/{name}"] > limit:
            found.append(_moved(says, name, first, last))
    for name, limit, says in (
        ("finished", first["held_out/finished"] - FINISHED_FALL, "ends its answers less often"),
        ("entropy", first["held_out/entropy"] * ENTROPY_SHARE, "has become narrow"),
    ):
        if last[f"held_out/{name}"] < limit:
            found.append(_moved(says, name, first, last))
    return found


def what_is_no_number(numbers: Json) -> str | None:
    """What an evaluation found that nothing can be chosen by, NaN or infinity, in a sentence."""
    for name, says in (
        ("kl", "weights are broken, or the training diverged and learning_rate must be lower"),
        ("reward", "look at the reward model or the reward function"),
        ("monitor", "look at the monitor"),
    ):
        found = numbers.get(f"held_out/{name}", 0.0)
        if not math.isfinite(found):
            return f"{name} on held-out prompts is {found}: {says}"
    return None


def _moved(says: str, name: str, first: Json, last: Json) -> str:
    before, now = first[f"held_out/{name}"], last[f"held_out/{name}"]
    return f"the policy {says}: {name} went from {before:.2f} to {now:.2f} on held-out prompts"


def evaluate(
    models: ActorCritic,
    roller: Roller,
    held_out: HeldOut,
    tokenizer: PreTrainedTokenizerBase,
    kept: int = SAMPLES_KEPT,
) -> tuple[Json, list[Json]]:
    """Numbers of the policy on held-out prompts, and samples; every prompt gets the same random
    numbers at each evaluation, so that two differ by the policy alone.
    """
    prompts = list(held_out.prompts)
    seeds = rollout_seeds(prompts, roller.seed, -1)
    completions = roller.complete(models, prompts, seeds)
    found = roller.measure(models, prompts, completions)
    mask = found.rows.response_mask
    answers = [completion.ids for completion in completions]
    rewards = found.rewards.tolist()
    kl = ((found.logprobs - found.reference) * mask).sum(1)
    numbers: Json = {
        "held_out/reward": fmean(rewards),
        "held_out/kl": float(kl.mean()),
        "held_out/tokens": float(mask.sum(1).float().mean()),
        "held_out/entropy": float(masked_mean(found.entropies, mask)),
        "held_out/repetition": fmean(repetition(ids) for ids in answers),
        "held_out/finished": float(found.finished.mean()),
    }
    monitored: list[float] | None = None
    if held_out.monitor is not None:
        asked = [prompt.ids for prompt in prompts]
        with torch.inference_mode():
            monitored = held_out.monitor.score(asked, answers)
        numbers["held_out/monitor"] = fmean(monitored)
        spread = torch.tensor(monitored).std(correction=0)
        numbers["held_out/monitor_se"] = float(spread) / len(monitored) ** 0.5
    rows = [
        _sample(
            tokenizer,
            prompts[n].ids,
            answers[n],
            rewards[n],
            kl[n],
            None if monitored is None else monitored[n],
        )
        for n in range(min(kept, len(prompts)))
    ]
    return numbers, rows


def _sample(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[int],
    answer: Sequence[int],
    reward: float,
    kl: Any,
    monitor: float | None,
) -> Json:
    row: Json = {
        "query": decode(tokenizer, prompt),
        "model response": decode(tokenizer, answer),
        "score": round(reward, 4),
        "kl": round(float(kl), 3),
        "tokens": len(answer),
    }
    return row if monitor is None else {**row, "monitor": round(monitor, 4)}


def repetition(ids: Sequence[int], n: int = NGRAM) -> float:
    """The share of a response's n-grams that stood in it before; 0 where it is shorter than n."""
    grams = Counter(tuple(ids[i : i + n]) for i in range(len(ids) - n + 1))
    total = sum(grams.values())
    return 1 - len(grams) / total if total else 0.0
