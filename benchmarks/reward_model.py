"""The reward model's training against TRL's `RewardTrainer`, on the same rankings.

`python -m benchmarks.reward_model [--quick] [--threads N] [--model FOLDER]`: the same model, the
same pairs seen, the same number of optimizer steps, one invocation, the two trainers by turns. Ours
gets rankings, TRL's gets them expanded to pairs as ids, so that neither tokenises. What is timed is
the steps, from the first one's beginning to the end of the training. Without a model, a random
Llama of 2.7 M parameters; with RLHF_SHARED_DATA set, the pretrained one of the same shape that lies
there.
"""

import argparse
import json
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks.by_turns import OURS, TRAINERS, TRL
from benchmarks.planted_rankings import (
    TRL_OUR_HEAD,
    Shape,
    heading,
    rankings,
    speed_by_turns,
    train,
)
from rlhf.data.identity import Json
from rlhf.models.decoder import make_decoder, train_tokenizer
from rlhf.models.silence import silence_libraries
from rlhf.reward.accuracy import pair_accuracy, score_ranked
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.scorer import Scorer

SHAPES = (
    Shape("k2", 2, 64, 64, prompts=8, trl_pairs=8),
    Shape("k4", 4, 64, 64, prompts=4, trl_pairs=8),
    Shape("k9", 9, 64, 64, prompts=2, trl_pairs=8),
    Shape("k9_long_prompt", 9, 192, 48, prompts=2, trl_pairs=4),
)
LEARNED = Shape("accuracy", 4, 12, 12, prompts=8, trl_pairs=24)
WARMUP = 0.25  # of the steps: a pretrained model under a random head, few steps to recover in


@dataclass(frozen=True, slots=True)
class Learning:
    """How much is learned from, over how many seeds, and the learning rates to choose from on
    seeds with worths, texts and heads of their own. With `rows`, what tells causes apart.
    """

    name: str
    prompts: int
    seeds: int
    rates: tuple[float, ...]
    tuning_seeds: tuple[int, ...] = (100, 101)
    rows: bool = False


MANY = Learning("", 1536, seeds=4, rates=(2e-4, 3e-4, 5e-4))
FEW = Learning(
    "few_",
    384,
    seeds=8,
    rates=(5e-4, 7e-4, 1e-3),
    tuning_seeds=(100, 101, 102, 103),
    rows=True,
)
GLANCE = Learning("few_", 192, seeds=1, rates=(1e-3,), rows=True)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    steps: int
    learnings: tuple[Learning, ...]


FULL = Size(rounds=5, steps=4, learnings=(MANY, FEW))
QUICK = Size(rounds=3, steps=2, learnings=(GLANCE,))


def main() -> None:
    """Measures, prints a table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for less long")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a tensor operation")
    parser.add_argument("--model", type=Path, help="a model folder")
    asked = parser.parse_args()
    size = QUICK if asked.quick else FULL
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.model or shared_model() or random_model(Path(scratch) / "model")
        found: Json = {"threads": asked.threads, "model": folder.name}
        quiet(asked.threads)
        heading()
        for shape in SHAPES:
            found |= speed(folder, shape, size)
        for learning in size.learnings:
            found |= accuracy(folder, learning)
        found |= memory(folder, asked.threads)
    print(json.dumps(found))


def speed(folder: Path, shape: Shape, size: Size) -> Json:
    """Seconds of each trainer by turns, and the ratio of their medians."""

    def seconds(name: str, data: Sequence[RankedPrompt], seed: int) -> float:
        return train(name, folder, shape, data, seed=seed)[1]

    return speed_by_turns(shape, rounds=size.rounds, steps=size.steps, train=seconds)


def accuracy(folder: Path, learning: Learning) -> Json:
    """Share of the pairs of unseen prompts in the true order, ours minus TRL's, over seeds; each at
    the learning rate that is best for it on validation prompts of other seeds.

    Ours and TRL's as they come, which is two differences at once: the head that each starts from,
    and that at equal pairs and steps TRL's shuffled pairs bring each response into K - 1 steps of
    its epoch, ours into one. So more rows tell them apart: TRL given our head; the same given the
    pairs of the same rankings in each step as ours, at our rate; and ours for K - 1 epochs.
    """
    rates = {name: tuned(name, folder, learning) for name in (OURS, TRL, TRL_OUR_HEAD)}
    runs: dict[str, tuple[str, Json]] = {
        name: (name, {"learning_rate": rate}) for name, rate in rates.items()
    }
    epochs = LEARNED.responses - 1
    in_order, visited = ", in order", f", {epochs} epochs"
    if learning.rows:
        order: Json = {"train_sampling_strategy": "sequential", "learning_rate": rates[OURS]}
        longer: Json = {"num_train_epochs": epochs, "learning_rate": rates[OURS]}
        runs |= {name + in_order: (name, order) for name in (OURS, TRL_OUR_HEAD)}
        runs[OURS + visited] = (OURS, longer)
    shares: dict[str, list[float]] = {label: [] for label in runs}
    for seed in range(learning.seeds):
        for label, (name, changes) in runs.items():
            share, seconds = learned(name, folder, learning, seed=seed, part="unseen", **changes)
            shares[label].append(share)
            print(f"{label:24} {seconds:7.2f} s   accuracy {share:.3f}", flush=True)

    def delta(ours: str, trl: str) -> list[float]:
        return [round(a - b, 4) for a, b in zip(shares[ours], shares[trl], strict=True)]

    found = {
        "accuracy_delta": delta(OURS, TRL),
        "accuracy_delta_same_head": delta(OURS, TRL_OUR_HEAD),
    }
    if learning.rows:
        found["accuracy_delta_same_batches"] = delta(OURS + in_order, TRL_OUR_HEAD + in_order)
        found["accuracy_delta_same_visits"] = delta(OURS + visited, TRL_OUR_HEAD)
    means = {name: round(fmean(deltas), 4) for name, deltas in found.items()}
    by_seed = {f"{name}_by_seed": deltas for name, deltas in found.items()}
    each = {label: round(fmean(seen), 4) for label, seen in shares.items()}
    said = {"learning_rates": rates, "accuracy": each, **means, **by_seed}
    return {learning.name + key: value for key, value in said.items()}


def tuned(name: str, folder: Path, learning: Learning) -> float:
    """The learning rate of the shared grid at which a trainer does best on validation prompts."""
    means = {}
    for rate in learning.rates:
        found = [
            learned(name, folder, learning, seed=seed, part="validation", learning_rate=rate)[0]
            for seed in learning.tuning_seeds
        ]
        means[rate] = fmean(found)
        print(f"{name:13} at {rate:.0e}: {means[rate]:.3f} on validation prompts", flush=True)
    return max(means, key=lambda rate: means[rate])


def learned(
    name: str, folder: Path, learning: Learning, *, seed: int, part: str, **changes: Any
) -> tuple[float, float]:
    """Accuracy on the prompts of this part after a training, and its seconds."""
    seen = rankings(LEARNED, learning.prompts, seed=seed, noise=0.2)
    others = rankings(LEARNED, 256, seed=seed, part=part)
    epochs = changes.get("num_train_epochs", 1)
    steps = epochs * learning.prompts // LEARNED.prompts
    settings: Json = {"warmup_steps": round(WARMUP * steps), **changes}
    model, seconds, _ = train(name, folder, LEARNED, seen, seed=seed, **settings)
    return pair_accuracy(others, score_ranked(Scorer(model, 0), others)).value, seconds


def memory(folder: Path, threads: int) -> Json:
    """What training adds to the peak memory of a process, ours over TRL's; the worst shape."""
    ratios = {}
    context = multiprocessing.get_context("spawn")
    for shape in SHAPES:
        added = {}
        for name in TRAINERS:
            with context.Pool(1) as pool:
                added[name] = pool.apply(_added_megabytes, (name, folder, shape, threads))
        ratios[shape.name] = round(added["ours"] / added["trl"], 3)
        print(f"{shape.name:16} {added['ours']:6.0f} MB {added['trl']:6.0f} MB", flush=True)
    return {"peak_memory_ratio": max(ratios.values()), "peak_memory_ratios": ratios}


def _added_megabytes(name: str, folder: Path, shape: Shape, threads: int) -> float:
    quiet(threads)
    data = rankings(shape, shape.prompts, seed=0)
    return train(name, folder, shape, data, seed=0)[2]


def random_model(folder: Path) -> Path:
    """A random Llama with a tokenizer, saved in `folder`."""
    tokenizer = train_tokenizer(["a text to learn bytes from"], 300)
    torch.manual_seed(0)
    model = make_decoder(tokenizer, hidden_size=192, num_layers=6, context_tokens=512)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def shared_model() -> Path | None:
    """The pretrained model among the shared data, where there is one."""
    found = Path(os.environ.get("RLHF_SHARED_DATA", "nowhere")) / "stories3M-hf"
    return found if found.exists() else None


def quiet(threads: int) -> None:
    """One process's threads and its libraries' noise."""
    torch.set_num_threads(threads)
    silence_libraries()
    logging.getLogger("transformers").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
