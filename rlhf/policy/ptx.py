"""PPO-ptx: the likelihood of texts that should not be unlearned, mixed into PPO's loss."""

from collections.abc import Sequence
from typing import Any

import torch

from rlhf.data.identity import seed_from
from rlhf.models.batching import hidden_states, make_rows
from rlhf.policy.token_logprobs import token_logprobs

PtxRows = Sequence[tuple[Sequence[int], Sequence[int]]]


def ptx_batch(rows: PtxRows, size: int, seed: int, step: int) -> PtxRows:
    """`size` of the (prompt, response) rows, drawn with replacement from (seed, step)."""
    generator = torch.Generator().manual_seed(seed_from("ptx", seed, step))
    return [rows[i] for i in torch.randint(len(rows), (size,), generator=generator).tolist()]


def ptx_loss(policy: Any, rows: PtxRows, pad_token_id: int) -> torch.Tensor:
    """Summed negative log-likelihood of the responses, a scalar in nats; divide by their tokens
    for the mean. Ouyang et al. (2022), equation 2.
    """
    packed = make_rows([p for p, _ in rows], [r for _, r in rows], pad_token_id).to(policy.device)
    head = policy.get_output_embeddings()
    logprobs, _ = token_logprobs(head, hidden_states(policy, packed), packed, 1.0)
    return -logprobs.sum()
