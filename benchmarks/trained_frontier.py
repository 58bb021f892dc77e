"""How near the shipped trainers come to the best policy at their own distance from the reference.

`python -m benchmarks.frontier --trained [--quick]`: on every seed a small decoder is fine-tuned to
be the controlled world's reference and trained from there, and what it became is enumerated. PPO
climbs a reward that was learned from 1,000 labels; DPO learns from 30,000; DPO with 300 stands
beside TRL's on the same labels, each of them a ranking of two, as it was given, and once with all
that was said of a prompt as one element; in the trap world PPO climbs a reward that cannot see the
trap, and the checkpoint is chosen by a monitor that learned from other prompts.
"""

import logging
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.crew import Labels, compare, crew
from benchmarks.policies import Earned, earned, efficiency
from benchmarks.rewards import by_count, comparisons_of
from benchmarks.trained_policies import (
    around,
    dpo,
    dpo_by_trl,
    fine_tuned,
    logprobs_of,
    one_by_one,
    ppo,
    ranked,
)
from benchmarks.world import Array, Case, World, make_world, standardised
from rlhf.data.identity import Json
from rlhf.reward.labelers import plain_weights

MANY, SOME, FEW = 30_000, 1_000, 300
CREW = 10
MONITOR_SHARE = 5  # one training prompt in five
# The distances at which one could stop without a monitor; the best of them in hindsight counts.
FIXED_NATS = (1.0, 1.5, 2.0, 3.0, 4.0)
ROLLOUT: Json = {
    "per_device_train_batch_size": 512,
    "num_mini_batches": 4,
    "num_ppo_epochs": 2,
    "response_length": 6,
    "lam": 1.0,
}
PPO: Json = {
    **ROLLOUT,
    "total_episodes": 40 * 512,
    "learning_rate": 1e-3,
    "kl_coef": 0.8,
    "num_sample_generations": 0,
}
# Hardly held back and slowly: what is looked at is the way, and where on it one stops.
TRAP: Json = {
    **ROLLOUT,
    "total_episodes": 24 * 512,
    "learning_rate": 1e-4,
    "lr_scheduler_type": "constant",
    "kl_coef": 0.05,
    "num_sample_generations": 24,
}
BETA = 1.0
DPO_MANY: Json = {
    "learning_rate": 1e-3,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 256,
    "weight_decay": 0.0,
}
FEW_PAIRS = 32  # in a batch
DPO_FEW: Json = {
    "learning_rate": 5e-4,
    "num_train_epochs": 4,
    "per_device_train_batch_size": FEW_PAIRS,
    "weight_decay": 0.0,
}
# Of prompts, where all that was said of a prompt is one element: about as many pairs.
FEW_PROMPTS = FEW_PAIRS * 40 // FEW
SHOWN = ("ppo_efficiency", "dpo_efficiency_many", "dpo_eta_300", "trl_eta_300", "trap_regret")
Figures = dict[str, float]


def measure(seed: int) -> Figures:
    """All figures of one seed; `_kl` beside an efficiency is the distance at which it was taken."""
    torch.set_num_threads(1)
    logging.getLogger("rlhf.policy.ppo").setLevel(logging.ERROR)  # its alarms are the experiment
    with tempfile.TemporaryDirectory() as folder:
        return _well_specified(seed, Path(folder)) | _trap(seed, Path(folder))


def _start(case: Case, seed: int) -> tuple[World, Any]:
    """The world around a decoder, and the decoder."""
    world = make_world(case, seed=seed)
    model = fine_tuned(world, seed=seed)
    return around(world, model), model


def _labels(world: World, count: int, seed: int) -> Labels:
    return compare(world, crew("careful", size=CREW), count, seed=seed)


def _linear(world: World, labels: Labels) -> Array:
    """The reward of all prompts, (P, N), linear in the published features, at unit scale."""
    weights = plain_weights(comparisons_of(world, labels))
    return standardised(world.rewards(weights, np.arange(len(world.prompts))), world.logprobs)


def _well_specified(seed: int, folder: Path) -> Figures:
    world, start = _start("well-specified", seed)
    some, many, few = (_labels(world, count, seed) for count in (SOME, MANY, FEW))

    def judged(name: str, model: Any, reward: Array) -> Figures:
        policy = logprobs_of(model, world, world.train)
        share, got = reached(policy, world.logprobs[world.train], reward[world.train])
        return {name: share, f"{name}_kl": got.kl}

    climbed = _linear(world, some)
    trained = ppo(world, start, climbed, folder / "ppo", seed=seed, settings=PPO).trained.policy
    found = judged("ppo_efficiency", trained, climbed)
    data = one_by_one(ranked(world, many))
    moved = dpo(start, data, folder / "dpo", seed=seed, beta=BETA, settings=DPO_MANY)
    found |= judged("dpo_efficiency_many", moved, _linear(world, many))
    data = one_by_one(ranked(world, few))
    common: Json = {"seed": seed, "beta": BETA}
    ours = dpo(start, data, folder / "few", **common, settings=DPO_FEW)
    theirs = dpo_by_trl(start, data, folder / "trl", **common, settings=DPO_FEW)
    by_prompt: Json = {**DPO_FEW, "per_device_train_batch_size": FEW_PROMPTS}
    whole = dpo(start, ranked(world, few), folder / "whole", **common, settings=by_prompt)
    for name, model in (("dpo", ours), ("trl", theirs), ("dpo_by_prompt", whole)):
        found |= judged(f"{name}_eta_300", model, world.gold)
    return found


def reached(policy: Array, reference: Array, reward: Array) -> tuple[float, Earned]:
    """What a policy earns of a reward with mean 0 under the reference, over the most that can be
    earned at its own KL; and what it earned.
    """
    return efficiency(policy, reference, reward), earned(policy, reference, reward)


def _trap(seed: int, folder: Path) -> Figures:
    """Regrets on prompts that nothing was trained on: of the checkpoint that the monitor chose, of
    the last, and of the first beyond each of `FIXED_NATS`.
    """
    world, start = _start("trap", seed)
    labels = _labels(world, MANY, seed)
    random = np.random.default_rng([43, seed])
    aside = random.permutation(world.train)[: len(world.train) // MONITOR_SHARE]
    monitors = np.isin(labels.prompt, aside)
    climbed = _linear(world, labels[~monitors])
    everything = np.arange(len(world.prompts))
    seeing = standardised(by_count(world, labels[monitors])(everything), world.logprobs)
    blind = _linear(world, labels[monitors])
    trainer = ppo(
        world,
        start,
        climbed,
        folder / "trap",
        seed=seed,
        settings=TRAP,
        monitor=seeing,
        watched=world.test,
    )
    reference = world.logprobs[world.test]
    gold = [earned(one, reference, world.gold[world.test]).gold for one in trainer.seen]
    same_kind = [earned(one, reference, blind[world.test]).gold for one in trainer.seen]
    return regrets(trainer.watch.history, gold, same_kind)


def regrets(history: Sequence[Json], gold: Sequence[float], same_kind: Sequence[float]) -> Figures:
    """Regrets from what the trainer saw at each checkpoint and the gold reward of each, relative to
    the peak; `same_kind` is what a monitor says that is made as the reward is.
    """
    peak = max(gold)

    def regret(chosen: int) -> float:
        return (peak - gold[chosen]) / peak

    kl = [row["held_out/kl"] for row in history]
    chosen = _first_best([row["held_out/monitor"] for row in history])
    found = {
        "trap_regret": regret(chosen),
        "trap_regret_last": regret(len(gold) - 1),
        "trap_regret_same_kind": regret(_first_best(same_kind)),
        "trap_gold": gold[chosen],
        "trap_peak": peak,
        "trap_kl": kl[chosen],
        "trap_kl_last": kl[-1],
    }
    for nats in FIXED_NATS:
        beyond = next((n for n, one in enumerate(kl) if one >= nats), len(kl) - 1)
        found[f"trap_regret_fixed_{nats:g}"] = regret(beyond)
    return found


def _first_best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda n: values[n])


def collapsed(figures: Figures) -> bool:
    """Whether a trained policy of this seed is no better than none, or no number."""
    shares = [figures[name] for name in ("ppo_efficiency", "dpo_efficiency_many", "dpo_eta_300")]
    return not (all(np.isfinite(shares)) and min(shares) > 0.5 and figures["trap_gold"] > 0)


def summarise(seeds: Sequence[Figures]) -> dict[str, float]:
    """The keys of the last line: means over seeds, with standard errors for what is paired."""
    mean = {name: float(np.mean([one[name] for one in seeds])) for name in seeds[0]}
    ahead = [one["dpo_eta_300"] - one["trl_eta_300"] for one in seeds]
    by_prompt = [one["dpo_by_prompt_eta_300"] - one["trl_eta_300"] for one in seeds]
    fixed = min(FIXED_NATS, key=lambda nats: mean[f"trap_regret_fixed_{nats:g}"])
    found = {
        **mean,
        "dpo_minus_trl_300": float(np.mean(ahead)),
        "dpo_by_prompt_minus_trl_300": float(np.mean(by_prompt)),
        "dpo_by_prompt_minus_trl_300_standard_error": float(np.std(by_prompt) / len(seeds) ** 0.5),
        "trap_regret_fixed_kl": mean[f"trap_regret_fixed_{fixed:g}"],
        "trap_best_fixed_kl": fixed,
        "ppo_efficiency_least": min(one["ppo_efficiency"] for one in seeds),
        "dpo_efficiency_many_least": min(one["dpo_efficiency_many"] for one in seeds),
        "collapses": float(sum(map(collapsed, seeds))),
        "seeds": float(len(seeds)),
    }
    return {name: round(value, 4) for name, value in found.items()}


def table(seeds: Sequence[Figures]) -> str:
    """A Markdown table: the mean of each figure and that of every seed."""
    lines = ["| figure | mean | by seed |", "|---|---|---|"]
    for name in seeds[0]:
        values = [one[name] for one in seeds]
        by_seed = " ".join(f"{value:.3f}" for value in values)
        lines.append(f"| {name} | {np.mean(values):.3f} | {by_seed} |")
    return "\n".join(lines)


def run(num_seeds: int, processes: int, said: Callable[[str], None] = print) -> dict[str, float]:
    """Measures the seeds, some at a time, says the table, and gives the last line."""
    started = time.monotonic()
    made: list[Figures] = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for figures in pool.imap(measure, range(num_seeds)):
            made.append(figures)
            shown = ", ".join(f"{name} {figures[name]:.3f}" for name in SHOWN)
            seconds = time.monotonic() - started
            print(f"{len(made)} of {num_seeds} seeds, {seconds:.0f} s: {shown}", file=sys.stderr)
    said(table(made))
    said(f"\n{num_seeds} seeds, {time.monotonic() - started:.0f} s, {processes} processes\n")
    return summarise(made)
