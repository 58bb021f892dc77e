"""Sequences as padded batches, and the log-probabilities of their responses.

Rows are prompt then response, padded on the left, with position ids that start at 0 on the first
real token, so that padding changes nothing. Where a prompt has several responses, it can be read
once as a `Prefix`; the rows then hold the responses alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PreTrainedModel

from rlhf.models.attention import cache_argument
from rlhf.models.chunks import chunks, token_budget

LOGPROB_CHUNK_TOKENS = 1024
CHUNK_ROWS = 16


@dataclass(frozen=True, slots=True)
class Rows:
    """B sequences of at most T tokens, padded on the left.

    `input_ids`, `attention_mask`, `position_ids`, `response_mask`: all (B, T); `response_mask` is
    1 on the tokens of the response, EOS included.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    response_mask: torch.Tensor

    def to(self, device: torch.device) -> "Rows":
        return Rows(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.position_ids.to(device),
            self.response_mask.to(device),
        )

    def __getitem__(self, index: slice | torch.Tensor) -> "Rows":
        return Rows(
            self.input_ids[index],
            self.attention_mask[index],
            self.position_ids[index],
            self.response_mask[index],
        )

    def columns(self, start: int) -> "Rows":
        """The rows without their first `start` columns."""
        return Rows(
            self.input_ids[:, start:],
            self.attention_mask[:, start:],
            self.position_ids[:, start:],
            self.response_mask[:, start:],
        )


def make_rows(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], pad_token_id: int
) -> Rows:
    """Rows from the ids of prompts and of their responses, one to one."""
    width = max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True))
    input_ids = torch.full((len(prompts), width), pad_token_id)
    attention = torch.zeros_like(input_ids)
    response = torch.zeros_like(input_ids)
    for row, (p, r) in enumerate(zip(prompts, responses, strict=True)):
        ids = [*p, *r]
        input_ids[row, width - len(ids) :] = torch.tensor(ids)
        attention[row, width - len(ids) :] = 1
        response[row, width - len(r) :] = 1
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    return Rows(input_ids, attention, positions, response)


def response_rows(
    responses: Sequence[Sequence[int]], starts: Sequence[int], pad_token_id: int
) -> Rows:
    """Rows that hold responses alone; `starts` are the lengths of the prompts before them."""
    rows = make_rows([()] * len(responses), responses, pad_token_id)
    positions = rows.position_ids + torch.tensor(starts)[:, None]
    return Rows(rows.input_ids, rows.attention_mask, positions, rows.response_mask)


def by_length(rows: Rows, size: int) -> Iterator[tuple[torch.Tensor, Rows]]:
    """The rows in chunks of at most `size`, shortest first, each cut to its own width; and where
    each row stood.
    """
    lengths = rows.attention_mask.sum(1).tolist()
    for chosen in chunks(lengths, rows=size):
        index = torch.tensor(chosen, device=rows.input_ids.device)
        yield index, rows[index].columns(rows.input_ids.shape[1] - lengths[chosen[-1]])


def per_token(
    compute: Callable[[Rows], torch.Tensor], rows: Rows, size: int | None = None
) -> torch.Tensor:
    """`compute` on chunks of like length, a number a token, put back in place: (B, T), 0 where
    cut. `size` is in rows; by default as many as the budget of tokens holds.
    """
    size = size or max(CHUNK_ROWS, token_budget() // rows.input_ids.shape[1])
    found: torch.Tensor | None = None
    for index, chunk in by_length(rows, size):
        values = compute(chunk)
        if found is None:
            found = values.new_zeros(rows.input_ids.shape)
        found[index, -values.shape[1] :] = values
    assert found is not None
    return found


@dataclass(frozen=True, slots=True)
class Prefix:
    """B prompts as a model has read them, for responses to go on from.

    `layers`: keys and values of each layer, (B, H, P, D); `attention_mask` (B, P); `last` (B, D):
    the state after the last token of each prompt.
    """

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    attention_mask: torch.Tensor
    last: torch.Tensor

    def __getitem__(self, index: torch.Tensor) -> "Prefix":
        layers = tuple((keys[index], values[index]) for keys, values in self.layers)
        return Prefix(layers, self.attention_mask[index], self.last[index])


def read_prompts(model: PreTrainedModel, rows: Rows) -> Prefix:
    """What a decoder keeps of prompts that it reads; gradients flow back through it."""
    cache: Any = DynamicCache()
    decoder = _decoder(model)
    hidden = decoder(
        input_ids=rows.input_ids,
        attention_mask=rows.attention_mask,
        position_ids=rows.position_ids,
        use_cache=True,
        **{cache_argument(decoder): cache},
    ).last_hidden_state
    layers = tuple((layer.keys, layer.values) for layer in cache.layers)
    return Prefix(layers, rows.attention_mask, hidden[:, -1])


def hidden_states(model: PreTrainedModel, rows: Rows, prefix: Prefix | None = None) -> torch.Tensor:
    """The last hidden states of a causal model or a classifier, (B, T, D); `prefix` is what stands
    before each row.
    """
    if prefix is None:
        cache, mask = None, rows.attention_mask
    else:
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(prefix.layers):
            cache.update(keys, values, layer)
        mask = torch.cat([prefix.attention_mask, rows.attention_mask], 1)
    decoder = _decoder(model)
    held = {} if cache is None else {cache_argument(decoder): cache}
    return decoder(  # type: ignore[no-any-return]
        input_ids=rows.input_ids,
        attention_mask=mask,
        position_ids=rows.position_ids,
        use_cache=cache is not None,
        **held,
    ).last_hidden_state


def _decoder(model: PreTrainedModel) -> torch.nn.Module:
    return model.get_decoder() if hasattr(model, "get_decoder") else model.base_model


def sequence_logprobs(
    model: PreTrainedModel, rows: Rows, prefix: Prefix | None = None, temperature: float = 1.0
) -> torch.Tensor:
    """Log-probability of each row's response, (B,) in nats."""
    return response_logprobs(model, rows, temperature, prefix).sum(1)


def response_logprobs(
    model: PreTrainedModel, rows: Rows, temperature: float = 1.0, prefix: Prefix | None = None
) -> torch.Tensor:
    """Log-probability of each response token, (B, T) in float32; 0 elsewhere.

    Column t holds log p(token t | tokens before t). Logits are made for response tokens alone, in
    chunks that are made again in the backward pass, so that no (B, T, V) tensor ever stands in
    memory.
    """
    mask = rows.response_mask.bool()
    before = _states_before(hidden_states(model, rows, prefix), mask, prefix)  # (N, D)
    targets = rows.input_ids[mask]  # (N,)
    head = model.get_output_embeddings()
    pieces = []
    for states, ids in zip(
        before.split(LOGPROB_CHUNK_TOKENS), targets.split(LOGPROB_CHUNK_TOKENS), strict=True
    ):
        if torch.is_grad_enabled() and states.requires_grad:
            pieces.append(
                checkpoint(_chunk_logprobs, head, states, ids, temperature, use_reentrant=False)
            )
        else:
            pieces.append(_chunk_logprobs(head, states, ids, temperature))
    found = torch.cat(pieces) if pieces else before.new_zeros(0)
    out = torch.zeros(rows.input_ids.shape, dtype=found.dtype, device=found.device)
    out[mask] = found
    return out


def _states_before(hidden: torch.Tensor, mask: torch.Tensor, prefix: Prefix | None) -> torch.Tensor:
    """The state that predicts each response token, (N, D): that of the token before it, or the
    prefix's last.
    """
    if prefix is None:
        return hidden[:, :-1][mask[:, 1:]]
    shifted = torch.nn.functional.pad(hidden[:, :-1], (0, 0, 1, 0))
    first = mask & ~torch.nn.functional.pad(mask[:, :-1], (1, 0))
    return torch.where(first[..., None], prefix.last[:, None], shifted)[mask]


def _chunk_logprobs(
    head: torch.nn.Module, states: torch.Tensor, ids: torch.Tensor, temperature: float
) -> torch.Tensor:
    logits = head(states) if temperature == 1 else head(states) / temperature
    # In one kernel to float32: on a GPU the copies between cost more than the product.
    wide = torch.promote_types(logits.dtype, torch.float32)
    return torch.log_softmax(logits, -1, dtype=wide).gather(1, ids[:, None])[:, 0]
