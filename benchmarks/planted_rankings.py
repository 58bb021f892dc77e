"""What the benchmark of the reward model runs: planted rankings, and the two trainers on them."""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback
from trl import RewardConfig
from trl import RewardTrainer as TRLRewardTrainer

from benchmarks.by_turns import OURS, TRL, by_turns
from rlhf.data.identity import Json
from rlhf.models.loading import load_scorer, load_tokenizer, pad_token_id
from rlhf.models.training import silence
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.trainer import (
    RankedCollator,
    RankedDataset,
    RewardArguments,
    RewardTrainer,
    init_head,
)

Train = Callable[[str, Sequence[RankedPrompt], int], float]
WORDS = range(10, 74)  # the token ids that texts are made of
TRL_OUR_HEAD = "trl, our head"


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


def one_epoch(folder: str, seed: int, **changes: Any) -> Json:
    """Arguments of a trainer for one epoch that nothing but the training costs time in."""
    return {
        "output_dir": folder,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "save_strategy": "no",
        "logging_steps": 1,
        "dataloader_pin_memory": False,
        "num_train_epochs": 1,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "linear",
        "seed": seed,
        **changes,
    }


def train(
    name: str,
    folder: Path,
    shape: Shape,
    data: Sequence[RankedPrompt],
    *,
    seed: int,
    **changes: Any,
) -> tuple[PreTrainedModel, float, float]:
    """One epoch of a trainer, unless its arguments change that: the model, the seconds, and the
    megabytes added to the peak. `TRL` starts from the head that transformers draws, as its users
    do; `OURS` and `TRL_OUR_HEAD` from ours.
    """
    pad = pad_token_id(load_tokenizer(folder, "plain-turns"))
    torch.manual_seed(seed)
    model = load_scorer(folder, pad)
    if name != TRL:
        init_head(model, seed)
    with tempfile.TemporaryDirectory() as scratch:
        settings = one_epoch(scratch, seed, **changes)
        make = _ours if name == OURS else _trl
        trainer = make(model, folder, shape, data, settings)
        silence(trainer)
        clock = Clock()
        trainer.add_callback(clock)
        before = resident_megabytes(peak=False)
        trainer.train()
        seconds, added = clock.seconds, resident_megabytes(peak=True) - before
    steps = len(data) // shape.prompts * settings["num_train_epochs"]
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


def resident_megabytes(*, peak: bool) -> float:
    """Resident memory of this process, now or at its highest since it was last asked for now."""
    if not peak:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    name = "VmHWM:" if peak else "VmRSS:"
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(row.split()[1]) / 1024 for row in status.splitlines() if row.startswith(name))


def heading() -> None:
    """The line above what `speed_by_turns` prints."""
    print(f"{'':16} {'ours':>9} {'TRL':>9} {'times faster':>13}   lowest to highest", flush=True)


def speed_by_turns(shape: Shape, *, rounds: int, steps: int, train: Train) -> Json:
    """The ratio of the medians of what `train(trainer, data, seed)` says in seconds, with the
    lowest and the highest ratio of a round; a round before them warms up.
    """
    data = rankings(shape, shape.prompts * steps, seed=0)
    train(TRL, data, 0)
    train(OURS, data, 0)
    found = by_turns(rounds, lambda name, number: train(name, data, number + 1))
    print(
        f"{shape.name:16} {found.ours:7.2f} s {found.trl:7.2f} s {found.speedup:13.2f}   "
        f"{found.low:.2f} to {found.high:.2f}",
        flush=True,
    )
    return found.to_json(shape.name)
