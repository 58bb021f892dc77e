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
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback
from trl import RewardConfig
from trl import RewardTrainer as TRLRewardTrainer

from rlhf.data.identity import Json
from rlhf.models.decoder import make_decoder, train_tokenizer
from rlhf.models.loading import load_scorer, load_tokenizer, pad_token_id
from rlhf.models.silence import silence_libraries
from rlhf.models.training import silence
from rlhf.reward.accuracy import pair_accuracy, score_ranked
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.scorer import Scorer
from rlhf.reward.trainer import (
    RankedCollator,
    RankedDataset,
    RewardArguments,
    RewardTrainer,
    init_head,
)

TRAINERS = ("ours", "trl")
WORDS = range(10, 74)  # the token ids that texts are made of


@dataclass(frozen=True, slots=True)
class Shape:
    """Rankings of `responses` each, lengths in tokens; `prompts` of them make an optimizer step,
    in which TRL passes `trl_pairs` at a time.
    """

    name: str
    responses: int
    prompt_tokens: int
    response_tokens: int
    prompts: int
    trl_pairs: int

    @property
    def pairs(self) -> int:
        """Pairs of an optimizer step."""
        return self.prompts * self.responses * (self.responses - 1) // 2


SHAPES = (
    Shape("k2", 2, 64, 64, prompts=8, trl_pairs=8),
    Shape("k4", 4, 64, 64, prompts=4, trl_pairs=8),
    Shape("k9", 9, 64, 64, prompts=2, trl_pairs=8),
    Shape("k9_long_prompt", 9, 192, 48, prompts=2, trl_pairs=4),
)
LEARNED = Shape("accuracy", 4, 12, 12, prompts=8, trl_pairs=24)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    steps: int
    seeds: int
    learned_prompts: int


FULL = Size(rounds=5, steps=4, seeds=5, learned_prompts=384)
QUICK = Size(rounds=3, steps=2, seeds=1, learned_prompts=192)


class Clock(TrainerCallback):
    """Seconds from the beginning of the first step to the end of the training."""

    def __init__(self) -> None:
        self.start: float | None = None
        self.seconds = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.start = self.start or time.perf_counter()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        assert self.start is not None
        self.seconds = time.perf_counter() - self.start


def main() -> None:
    """Measures, prints a table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for less long")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a tensor operation")
    parser.add_argument("--model", type=Path, help="a model folder")
    asked = parser.parse_args()
    size = QUICK if asked.quick else FULL
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.model or _shared_model() or _random_model(Path(scratch) / "model")
        found: Json = {"threads": asked.threads, "model": folder.name}
        _quiet(asked.threads)
        print(
            f"{'':16} {'ours':>9} {'TRL':>9} {'times faster':>13}   lowest to highest", flush=True
        )
        for shape in SHAPES:
            found |= speed(folder, shape, size)
        found |= accuracy(folder, size)
        found |= memory(folder, asked.threads)
    print(json.dumps(found))


def speed(folder: Path, shape: Shape, size: Size) -> Json:
    """Seconds of each trainer by turns, and the ratio of their medians."""
    data = rankings(shape, shape.prompts * size.steps, seed=0)
    seconds: dict[str, list[float]] = {name: [] for name in TRAINERS}
    for number in range(size.rounds + 1):
        for name in TRAINERS if number % 2 else TRAINERS[::-1]:
            took = train(name, folder, shape, data, seed=number)[1]
            if number:  # the first round warms up
                seconds[name].append(took)
    ratios = [trl / ours for ours, trl in zip(seconds["ours"], seconds["trl"], strict=True)]
    middle = {name: median(times) for name, times in seconds.items()}
    speedup = middle["trl"] / middle["ours"]
    print(
        f"{shape.name:16} {middle['ours']:7.2f} s {middle['trl']:7.2f} s {speedup:13.2f}   "
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        flush=True,
    )
    return {
        f"speedup_{shape.name}": round(speedup, 3),
        f"speedup_{shape.name}_spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def accuracy(folder: Path, size: Size) -> Json:
    """Share of the pairs of unseen prompts in the true order, ours minus TRL's, over seeds."""
    deltas, levels = [], []
    for seed in range(size.seeds):
        seen = rankings(LEARNED, size.learned_prompts, seed=seed, noise=0.2)
        unseen = rankings(LEARNED, 256, seed=seed, part="unseen")
        share = {}
        for name in TRAINERS:
            model = train(name, folder, LEARNED, seen, seed=seed, learning_rate=1e-3)[0]
            scorer = Scorer(model, 0)
            share[name] = pair_accuracy(unseen, score_ranked(scorer, unseen)).value
        deltas.append(share["ours"] - share["trl"])
        levels.append(share["trl"])
        print(f"{'accuracy':16} {share['ours']:9.3f} {share['trl']:9.3f}", flush=True)
    return {
        "accuracy_delta": round(fmean(deltas), 4),
        "accuracy_delta_by_seed": [round(delta, 4) for delta in deltas],
        "accuracy_trl": round(fmean(levels), 4),
    }


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
    _quiet(threads)
    data = rankings(shape, shape.prompts, seed=0)
    return train(name, folder, shape, data, seed=0)[2]


def train(
    name: str,
    folder: Path,
    shape: Shape,
    data: Sequence[RankedPrompt],
    *,
    seed: int,
    learning_rate: float = 1e-4,
) -> tuple[PreTrainedModel, float, float]:
    """One epoch of a trainer: the model, the seconds, and the megabytes added to the peak."""
    pad = pad_token_id(load_tokenizer(folder, "plain-turns"))
    model = load_scorer(folder, pad)
    init_head(model, seed)
    with tempfile.TemporaryDirectory() as scratch:
        settings: Json = {
            "output_dir": scratch,
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": not torch.cuda.is_available(),
            "save_strategy": "no",
            "logging_steps": 1,
            "dataloader_pin_memory": False,
            "num_train_epochs": 1,
            "learning_rate": learning_rate,
            "lr_scheduler_type": "linear",
            "seed": seed,
        }
        make = _ours if name == "ours" else _trl
        trainer = make(model, folder, shape, data, settings)
        silence(trainer)
        clock = Clock()
        trainer.add_callback(clock)
        before = _resident_megabytes(peak=False)
        trainer.train()
        seconds, added = clock.seconds, _resident_megabytes(peak=True) - before
    steps = len(data) // shape.prompts
    assert trainer.state.global_step == steps, (name, trainer.state.global_step, steps)
    return model, seconds, added


def _ours(
    model: PreTrainedModel, folder: Path, shape: Shape, data: Sequence[RankedPrompt], settings: Json
) -> Any:
    args = RewardArguments(
        **settings, per_device_train_batch_size=shape.prompts, remove_unused_columns=False
    )
    pad = pad_token_id(load_tokenizer(folder, "plain-turns"))
    return RewardTrainer(
        model=model,
        args=args,
        train_dataset=RankedDataset(data),
        data_collator=RankedCollator.for_model(model, pad, data, args),
    )


def _trl(
    model: PreTrainedModel, folder: Path, shape: Shape, data: Sequence[RankedPrompt], settings: Json
) -> Any:
    args = RewardConfig(
        **settings,
        per_device_train_batch_size=shape.trl_pairs,
        gradient_accumulation_steps=shape.pairs // shape.trl_pairs,
        gradient_checkpointing=False,
        bf16=False,
        max_length=None,
    )
    rows = [
        {
            "chosen_ids": [*one.prompt, *one.responses[better]],
            "rejected_ids": [*one.prompt, *one.responses[worse]],
        }
        for one in data
        for better, worse in zip(one.better, one.worse, strict=True)
    ]
    return TRLRewardTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(folder, "plain-turns"),
    )


def rankings(
    shape: Shape, count: int, *, seed: int, noise: float = 0.0, part: str = "seen"
) -> list[RankedPrompt]:
    """Strict rankings of random texts by the mean worth of their words, which the seed draws, with
    some noise.
    """
    draw = random.Random(seed)
    worth = {word: draw.gauss(0, 1) for word in WORDS}
    draw = random.Random(f"{seed} {part}")
    pairs = list(combinations(range(shape.responses), 2))
    better, worse = zip(*pairs, strict=True)
    made = []
    for number in range(count):
        prompt = tuple(draw.choices(WORDS, k=shape.prompt_tokens))
        texts = [
            tuple(draw.choices(WORDS, k=shape.response_tokens)) for _ in range(shape.responses)
        ]
        by_worth = sorted(
            texts, key=lambda text: -fmean(worth[w] for w in text) + draw.gauss(0, noise)
        )
        words = (shape.response_tokens,) * shape.responses
        share = (1 / len(pairs),) * len(pairs)
        made.append(RankedPrompt(str(number), prompt, tuple(by_worth), words, better, worse, share))
    return made


def _random_model(folder: Path) -> Path:
    tokenizer = train_tokenizer(["a text to learn bytes from"], 300)
    torch.manual_seed(0)
    model = make_decoder(tokenizer, hidden_size=192, num_layers=6, context_tokens=512)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _shared_model() -> Path | None:
    found = Path(os.environ.get("RLHF_SHARED_DATA", "nowhere")) / "stories3M-hf"
    return found if found.exists() else None


def _resident_megabytes(*, peak: bool) -> float:
    """Resident memory of this process, now or at its highest since it was last asked for now."""
    if not peak:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    name = "VmHWM:" if peak else "VmRSS:"
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(row.split()[1]) / 1024 for row in status.splitlines() if row.startswith(name))


def _quiet(threads: int) -> None:
    torch.set_num_threads(threads)
    silence_libraries()
    logging.getLogger("transformers").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
