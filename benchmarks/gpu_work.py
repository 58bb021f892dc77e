"""One side of `benchmarks.gpu`: the phases at each size, a line of JSON for each."""

import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    Qwen2Config,
    TrainerCallback,
)

from rlhf.data.identity import Json
from rlhf.models.silence import silence_libraries

PROMPT_TOKENS, RESPONSE_TOKENS, RESPONSES = 256, 256, 4
# The shapes of Qwen2.5: hidden size, layers, heads, key and value heads, intermediate size.
SHAPES = {
    "tiny": (64, 2, 4, 2, 96),  # to see that the code runs
    "0.5B": (896, 24, 14, 2, 4864),
    "1.5B": (1536, 28, 12, 2, 8960),
    "3B": (2048, 36, 16, 2, 11008),
}
VOCABULARY = {"tiny": 512}  # the others: Qwen2.5's
PAD, EOS = 0, 1


@dataclass(frozen=True, slots=True)
class Load:
    """How much goes through at once: rankings of a step of reward model and DPO, episodes of a
    rollout of PPO and of a forward pass in its update.
    """

    rankings: int
    episodes: int
    micro_batch: int


LOADS = {
    "tiny": Load(2, 4, 2),
    "0.5B": Load(16, 64, 32),
    "1.5B": Load(16, 64, 16),
    "3B": Load(8, 64, 8),
}


def configuration(size: str, **changes: Any) -> Qwen2Config:
    """The configuration of a size; embeddings are tied, as they are in these models."""
    hidden, layers, heads, kv_heads, intermediate = SHAPES[size]
    return Qwen2Config(
        vocab_size=vocabulary(size),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=intermediate,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        **changes,
    )


def vocabulary(size: str) -> int:
    return VOCABULARY.get(size, 151_936)


def random_policy(size: str) -> PreTrainedModel:
    """A causal model with random weights, in bf16, made where it will run."""
    with torch.device(device()):
        return AutoModelForCausalLM.from_config(configuration(size), dtype=torch.bfloat16)  # type: ignore[no-any-return]


def random_scorer(size: str) -> PreTrainedModel:
    """A sequence classifier with random weights, in bf16."""
    with torch.device(device()):
        return AutoModelForSequenceClassification.from_config(  # type: ignore[no-any-return]
            configuration(size, num_labels=1), dtype=torch.bfloat16
        )


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def wait() -> float:
    """Seconds of the clock once the device has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def median_seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """The median time of some work, after one turn to warm up."""
    work()
    took = []
    for _ in range(repeats):
        start = wait()
        work()
        took.append(wait() - start)
    return sorted(took)[len(took) // 2]


def matrix_peak() -> float:
    """FLOP/s of a large bf16 matrix product on random numbers."""
    size = 8192 if torch.cuda.is_available() else 512
    left, right = (torch.randn(size, size, device=device(), dtype=torch.bfloat16) for _ in "ab")
    return 2 * size**3 / median_seconds(lambda: left @ right, repeats=10)


def decoder_flops(size: str, tokens: int, context: float) -> float:
    """Of one forward pass of the layers: two a weight and token, and attention to `context`
    tokens on average.
    """
    hidden, layers, heads, kv_heads, intermediate = SHAPES[size]
    attention = hidden * hidden * 2 + 2 * hidden * (hidden // heads) * kv_heads
    weights = layers * (attention + 3 * hidden * intermediate)
    return 2.0 * tokens * (weights + layers * 2 * hidden * context)


def head_flops(size: str, tokens: int) -> float:
    """Of one forward pass of the output layer."""
    return 2.0 * tokens * SHAPES[size][0] * vocabulary(size)


class StepClock(TrainerCallback):
    """Seconds of each optimizer step, once the device has done it."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.marks.append(wait())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.marks.append(wait())

    def median(self, every: int = 1) -> float:
        """Of `every` steps together, the first of them left out."""
        marks = self.marks[::every]
        took = sorted(b - a for a, b in pairwise(marks[1:]))
        return took[len(took) // 2]


def arguments(folder: str, **changes: Any) -> Json:
    """What both sides tell their trainers."""
    return {
        "output_dir": folder,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1000,
        "dataloader_pin_memory": False,
        "num_train_epochs": 1,
        "learning_rate": 1e-6,
        "bf16": torch.cuda.is_available(),
        "use_cpu": not torch.cuda.is_available(),
        "seed": 0,
        **changes,
    }


def token_ids(count: int, tokens: int, seed: int) -> list[list[int]]:
    """Random texts without special tokens."""
    draw = torch.Generator().manual_seed(seed)
    made: list[list[int]] = torch.randint(10, 512, (count, tokens), generator=draw).tolist()
    return made


def report(size: str, phase: str, work: Callable[[], Json]) -> None:
    """Runs one phase, adds its peak memory, and prints its line."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    row: Json = {"size": size, "phase": phase}
    try:
        row |= work()
    except torch.OutOfMemoryError:
        row["note"] = "does not fit "
    if torch.cuda.is_available():
        row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
    print(json.dumps(row), flush=True)


def main() -> None:
    """`python -m benchmarks.gpu_work ours|trl STEPS SECONDS PHASES SIZE ...`"""
    side, steps, seconds, phases, *sizes = sys.argv[1:]
    silence_libraries()
    start = time.perf_counter()
    if side == "ours":
        from benchmarks import gpu_ours as phases_of

        peak = matrix_peak()
        print(json.dumps({"phase": "peak", "tflops": round(peak / 1e12, 1)}), flush=True)
    else:
        from benchmarks import gpu_trl as phases_of  # type: ignore[no-redef]

        peak = 0.0
    for size in sizes:
        for phase in phases.split(","):
            if time.perf_counter() - start < float(seconds):
                with tempfile.TemporaryDirectory() as folder:
                    work = phases_of.PHASES[phase]
                    report(size, phase, lambda: work(size, int(steps), peak, folder))  # noqa: B023


if __name__ == "__main__":
    main()
