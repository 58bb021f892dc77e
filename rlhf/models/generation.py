"""Sampling whose randomness belongs to the sample: (seed, step, token) decide, not the batch
around it.

The Gumbel-max trick turns sampling into an argmax over logits plus noise; the noise comes from an
integer hash, so a prompt gets the same answer alone or in a batch, on one process or on many.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample: at most `max_new_tokens`, from the distribution at `temperature` cut to
    `top_p` and `top_k`.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """Sampled token ids, EOS included where the model stopped by itself (`finished`)."""

    ids: tuple[int, ...]
    finished: bool


class GumbelNoise(LogitsProcessor):
    """Adds the noise of each row's own seed to its logits; argmax is then a sample from their
    softmax.

    Source: Gumbel (1954); Maddison, Tarlow and Minka (2014), A* sampling.
    """

    def __init__(self, seeds: torch.Tensor, prompt_tokens: int) -> None:
        self.seeds = seeds  # (B,) int64
        self.prompt_tokens = prompt_tokens

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        step = input_ids.shape[1] - self.prompt_tokens
        noise = gumbel(self.seeds, step, scores.shape[1])
        return scores.float() + noise  # type: ignore[return-value]


def gumbel(seeds: torch.Tensor, step: int, vocab_size: int) -> torch.Tensor:
    """Standard Gumbel noise (B, V) in float32, a function of (seed, step, token) alone."""
    tokens = torch.arange(vocab_size, device=seeds.device)
    row = _mix(seeds + _mix(torch.tensor(step + 1, device=seeds.device)))  # (B,)
    bits = _mix(row[:, None] ^ (tokens * _signed(0x9E3779B97F4A7C15))[None])  # (B, V)
    uniform = ((bits >> 40) & 0xFFFFFF).double().add_(0.5).div_(1 << 24)
    return -torch.log(-torch.log(uniform)).float()


def _mix(value: torch.Tensor) -> torch.Tensor:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014) on int64, wrapping."""
    value = (value ^ _shift(value, 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ _shift(value, 27)) * _signed(0x94D049BB133111EB)
    return value ^ _shift(value, 31)


def _shift(value: torch.Tensor, bits: int) -> torch.Tensor:
    return (value >> bits) & (
        (1 << (64 - bits)) - 1
    )  # a logical shift, where torch's is arithmetic


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    *,
    eos_token_id: int,
    pad_token_id: int,
    batch_size: int = 256,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Completion]:
    """One completion per prompt, in the order given; batches are made of prompts of like length.

    `seeds` holds one integer per prompt. Raises ValueError for an empty prompt.
    """
    if any(not prompt for prompt in prompts):
        raise ValueError("cannot continue an empty prompt")
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    found: dict[int, Completion] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = _sample_batch(
            model,
            [prompts[i] for i in rows],
            [seeds[i] for i in rows],
            sampling,
            eos_token_id,
            pad_token_id,
        )
        found.update(zip(rows, batch, strict=True))
        progress(len(found), len(prompts))
    return [found[i] for i in range(len(prompts))]


@torch.inference_mode()
def _sample_batch(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    eos_token_id: int,
    pad_token_id: int,
) -> list[Completion]:
    device = model.device
    width = max(map(len, prompts))
    ids = torch.full(
        (len(prompts), width), pad_token_id, device=device
    )  # (B, P), padded on the left
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(list(prompt), device=device)
        mask[row, width - len(prompt) :] = 1
    processors = LogitsProcessorList()
    if sampling.temperature != 1.0:
        processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        processors.append(TopPLogitsWarper(sampling.top_p))
    row_seeds = torch.tensor([seed & ((1 << 63) - 1) for seed in seeds], device=device)
    processors.append(GumbelNoise(row_seeds, width))
    with _plain_generation(model) as plain:
        out = plain.generate(
            input_ids=ids,
            attention_mask=mask,
            logits_processor=processors,
            do_sample=False,
            num_beams=1,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=eos_token_id,
            pad_token_id=pad_token_id,
            use_cache=True,
        )
    return [_until_eos(row, eos_token_id) for row in out[:, width:].tolist()]


@contextmanager
def _plain_generation(model: PreTrainedModel) -> Iterator[Any]:
    """The model in evaluation mode, without the generation settings that it was saved with.

    A repetition penalty or a least length from the hub would sample from another distribution than
    the one whose log-probabilities are trained; `generate` takes them over unless they are gone.
    """
    plain: Any = model
    if hasattr(plain, "get_base_model"):  # LoRA
        plain = plain.get_base_model()
    training, settings = model.training, plain.generation_config
    model.eval()
    plain.generation_config = GenerationConfig()
    try:
        yield plain
    finally:
        plain.generation_config = settings
        model.train(training)


def _until_eos(ids: list[int], eos_token_id: int) -> Completion:
    """The ids up to and with the first EOS; what stands after it is padding, also where pad is
    EOS.
    """
    if eos_token_id in ids:
        return Completion(tuple(ids[: ids.index(eos_token_id) + 1]), finished=True)
    return Completion(tuple(ids), finished=False)
