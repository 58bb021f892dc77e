"""DPO on rankings against TRL's `DPOTrainer` on their pairs.

`python -m benchmarks.dpo [--quick] [--threads N] [--model FOLDER]`: the same model, the same pairs
seen, the same number of optimizer steps, one invocation, the two trainers by turns. Ours gets
rankings, TRL's gets them expanded to pairs as ids, so that neither tokenises. What is timed: the
steps, and on our side the reference's log-probabilities before them; TRL's reference runs in every
step. Without a model, a random Llama of 2.7 M parameters; with RLHF_SHARED_DATA set, the pretrained
one of the same shape that lies there.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainingArguments, set_seed
from trl import DPOConfig

from benchmarks.by_turns import TRAINERS
from benchmarks.planted_rankings import (
    Clock,
    Shape,
    heading,
    one_epoch,
    rankings,
    resident_megabytes,
    speed_by_turns,
)
from benchmarks.reward_model import FULL, QUICK, SHAPES, Size, quiet, random_model, shared_model
from rlhf.data.identity import Json
from rlhf.models.loading import device, load_policy, load_tokenizer, pad_token_id
from rlhf.models.training import silence
from rlhf.policy.dpo import DPOTrainer, reference_logprobs
from rlhf.policy.dpo_trl import GuardedDPOTrainer, pairs_of
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.trainer import RankedCollator, RankedDataset

BETA = 0.1


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
        found: Json = {"threads": asked.threads, "model": folder.name, "device": str(device())}
        quiet(asked.threads)
        heading()
        for shape in SHAPES:
            found |= speed(folder, shape, size)
        found |= same_losses(folder)
        if not torch.cuda.is_available():
            found |= memory(folder, asked.threads)
    print(json.dumps(found))


def speed(folder: Path, shape: Shape, size: Size) -> Json:
    """Seconds of each trainer by turns, and the ratio of their medians."""

    def seconds(name: str, data: Sequence[RankedPrompt], seed: int) -> float:
        return train(name, folder, shape, data, seed=seed)[0]

    return speed_by_turns(shape, rounds=size.rounds, steps=size.steps, train=seconds)


def same_losses(folder: Path) -> Json:
    """The largest difference of the two losses at K = 2 over the steps, on the same batches, at the
    learning rate of the timed runs.

    AdamW's first steps are all but the signs of the gradient, so rounding grows with the rate.
    """
    shape = SHAPES[0]
    data = rankings(shape, shape.prompts * 6, seed=1)
    order: Json = {"train_sampling_strategy": "sequential"}
    ours, trl = (train(name, folder, shape, data, seed=0, **order)[1] for name in TRAINERS)
    gaps = [abs(one - other) for one, other in zip(ours, trl, strict=True)]
    print(f"losses at K = 2: {ours[0]:.4f} to {ours[-1]:.4f}, apart by at most {max(gaps):.1e}")
    return {"loss_delta_k2": max(gaps)}


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
    return train(name, folder, shape, rankings(shape, shape.prompts, seed=0), seed=0)[2]


def train(
    name: str,
    folder: Path,
    shape: Shape,
    data: Sequence[RankedPrompt],
    *,
    seed: int,
    **changes: Any,
) -> tuple[float, list[float], float]:
    """One epoch of a trainer: the seconds with the reference's, the losses of the steps, and the
    megabytes added to the peak.
    """
    set_seed(seed)
    with tempfile.TemporaryDirectory() as scratch:
        settings = one_epoch(scratch, seed, **changes)
        before = resident_megabytes(peak=False)
        trainer, reference_seconds = (_ours if name == "ours" else _trl)(
            folder, shape, data, settings
        )
        silence(trainer)
        clock = Clock()
        trainer.add_callback(clock)
        trainer.train()
        added = resident_megabytes(peak=True) - before
    steps = len(data) // shape.prompts
    assert trainer.state.global_step == steps, (name, trainer.state.global_step, steps)
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return clock.seconds + reference_seconds, losses, added


def _ours(
    folder: Path, shape: Shape, data: Sequence[RankedPrompt], settings: Json
) -> tuple[Any, float]:
    pad = pad_token_id(load_tokenizer(folder, "plain-turns"))
    model = load_policy(folder).to(device())  # type: ignore[arg-type]
    start = time.perf_counter()
    reference = reference_logprobs(model, data, pad)
    seconds = time.perf_counter() - start
    args = TrainingArguments(
        **settings, per_device_train_batch_size=shape.prompts, remove_unused_columns=False
    )
    trainer = DPOTrainer(
        beta=BETA,
        reference_logprobs=reference,
        model=model,
        args=args,
        train_dataset=RankedDataset(data),
        data_collator=RankedCollator.for_model(model, pad, data, args),
    )
    return trainer, seconds


def _trl(
    folder: Path, shape: Shape, data: Sequence[RankedPrompt], settings: Json
) -> tuple[Any, float]:
    args = DPOConfig(
        **settings,
        per_device_train_batch_size=shape.trl_pairs,
        gradient_accumulation_steps=shape.pairs // shape.trl_pairs,
        gradient_checkpointing=False,
        bf16=False,
        max_length=None,
        beta=BETA,
    )
    trainer = GuardedDPOTrainer(
        model=load_policy(folder),
        ref_model=load_policy(folder),
        args=args,
        train_dataset=Dataset.from_list(pairs_of(data)),
        processing_class=load_tokenizer(folder, "plain-turns"),
    )
    return trainer, 0.0


if __name__ == "__main__":
    main()
