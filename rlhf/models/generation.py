"""Sampling whose randomness belongs to the sample: (seed, step, token) decide, not the batch
around it.

Batches are made of prompts of like length, and each different prompt in a batch is read once
(`rlhf.models.decoding`); what differs from a plain decoder goes through transformers' `generate`.
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

from rlhf.models.batching import make_rows
from rlhf.models.compiling import not_compiled
from rlhf.models.decoding import Continuation, continue_rows, decodes
from rlhf.models.noise import gumbel


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
    """Sampled token ids, EOS included where the model stopped by itself (`finished`); with the
    log-probs of an engine beside the model, where that sampled them.
    """

    ids: tuple[int, ...]
    finished: bool
    logprobs: tuple[float, ...] | None = None


class GumbelNoise(LogitsProcessor):
    """Adds the noise of each row's own seed to its logits; argmax is then a sample from their
    softmax.
    """

    def __init__(self, seeds: torch.Tensor, prompt_tokens: int) -> None:
        self.seeds = seeds  # (B,) int64
        self.prompt_tokens = prompt_tokens

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        step = input_ids.shape[1] - self.prompt_tokens
        noise = gumbel(self.seeds, step, scores.shape[1])
        return scores.float() + noise  # type: ignore[return-value]


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
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), tuple(prompts[i]), i))
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
    row_seeds = torch.tensor([seed & ((1 << 63) - 1) for seed in seeds], device=model.device)
    new_tokens = sampling.max_new_tokens
    with not_compiled(), _plain_generation(model) as plain:
        if decodes(plain, max(map(len, prompts)) + new_tokens):
            warpers = _warpers(sampling)

            def choose(
                logits: torch.Tensor, seeds: torch.Tensor, step: torch.Tensor
            ) -> torch.Tensor:
                scores = warpers(None, logits.float())  # type: ignore[arg-type]
                return (scores + gumbel(seeds, step, scores.shape[1])).argmax(1)

            rows = Continuation(plain, prompts, row_seeds, new_tokens, choose, pad_token_id)
            drawn = continue_rows(rows, new_tokens, eos_token_id)
        else:
            drawn = _generate(plain, prompts, row_seeds, sampling, eos_token_id, pad_token_id)
    return [_until_eos(row, eos_token_id) for row in drawn.tolist()]


def _warpers(sampling: Sampling) -> LogitsProcessorList:
    """What bends the distribution before it is drawn from."""
    made = LogitsProcessorList()
    if sampling.temperature != 1.0:
        made.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        made.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        made.append(TopPLogitsWarper(sampling.top_p))
    return made


def _generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    seeds: torch.Tensor,
    sampling: Sampling,
    eos_token_id: int,
    pad_token_id: int,
) -> torch.Tensor:
    """New tokens by transformers' `generate`, (B, at most max_new_tokens)."""
    rows = make_rows(prompts, [()] * len(prompts), pad_token_id).to(seeds.device)
    width = rows.input_ids.shape[1]
    out: torch.Tensor = model.generate(
        input_ids=rows.input_ids,
        attention_mask=rows.attention_mask,
        logits_processor=LogitsProcessorList([*_warpers(sampling), GumbelNoise(seeds, width)]),
        do_sample=False,
        num_beams=1,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
        use_cache=True,
    )
    return out[:, width:]


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
