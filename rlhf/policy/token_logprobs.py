"""Log-probabilities and entropies of response tokens from hidden states, without a (B, T, V)
tensor.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from rlhf.models.batching import Rows

# Logits that stand in memory at once, in numbers; what is larger is cut into chunks, and those are
# made again in the backward pass. A GPU needs large chunks to be busy: a hundred tokens of a
# vocabulary of 150,000 were too few, these are nine hundred.
CPU_CHUNK_LOGITS = 1 << 24
GPU_CHUNK_LOGITS = 1 << 27


def logits_at_once(*, on_gpu: bool) -> int:
    """How many logits stand in memory at once, whatever the batch."""
    return GPU_CHUNK_LOGITS if on_gpu else CPU_CHUNK_LOGITS


@dataclass(frozen=True, slots=True)
class Reading:
    """What one pass over rows gives, (B, T) each, 0 outside the response: log-probability and
    entropy of the token's distribution in nats, value of the state before the token.
    """

    logprobs: torch.Tensor
    entropies: torch.Tensor
    values: torch.Tensor


def token_logprobs(
    head: Any, hidden: torch.Tensor, rows: Rows, temperature: float, *, bonus: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each response token and entropy of its distribution, from hidden states
    (B, T, D): (B, T) each, in float32 (float64 stays), 0 outside the response. Only with `bonus`
    do the entropies carry a gradient: it keeps two more numbers a token and word.
    """
    mask = rows.response_mask.bool()
    states = hidden[:, :-1][mask[:, 1:]]  # (N, D): the state before each response token
    targets = rows.input_ids[mask]  # (N,)
    vocabulary = head.weight.shape[0]
    size = max(1, logits_at_once(on_gpu=hidden.is_cuda) // vocabulary)
    again = len(targets) > size and torch.is_grad_enabled() and states.requires_grad
    pieces = []
    for part, ids in zip(states.split(size), targets.split(size), strict=True):
        if again:
            pieces.append(
                checkpoint(_chunk, head, part, ids, temperature, bonus, use_reentrant=False)
            )
        else:
            pieces.append(_chunk(head, part, ids, temperature, bonus))
    found = []
    for values in (torch.cat(column) for column in zip(*pieces, strict=True)):
        out = torch.zeros(rows.input_ids.shape, dtype=values.dtype, device=values.device)
        out[mask] = values
        found.append(out)
    return found[0], found[1]


def _chunk(
    head: Any, states: torch.Tensor, ids: torch.Tensor, temperature: float, bonus: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = head(states) if temperature == 1 else head(states) / temperature
    wide = torch.promote_types(logits.dtype, torch.float32)
    logprobs = torch.log_softmax(logits, -1, dtype=wide)  # (N, V)
    with torch.set_grad_enabled(bonus and torch.is_grad_enabled()):
        entropies = -(logprobs.exp() * logprobs).sum(-1)
    return logprobs.gather(1, ids[:, None])[:, 0], entropies
