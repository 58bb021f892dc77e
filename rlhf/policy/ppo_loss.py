"""PPO's loss on a micro-batch, and the sums that an update reports, by the names that TRL gave
them where it had them.
"""

import torch

from rlhf.policy.advantages import policy_loss, value_loss
from rlhf.policy.kl import kl_k3
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.rollout import Rollout
from rlhf.policy.token_logprobs import Reading

# Sums over the tokens of an update, in this order.
UPDATE = (
    "policy/approxkl_avg",
    "policy/kl_k3",
    "policy/clipfrac_avg",
    "loss/policy_avg",
    "loss/value_avg",
    "val/clipfrac_avg",
    "policy/entropy_avg",
    "val/ratio",
    "val/ratio_var",
)


def ppo_loss(
    read: Reading, batch: Rollout, tokens: torch.Tensor, config: PPOConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Policy loss + vf_coef * value loss - entropy_coef * entropy, summed over the micro-batch's
    response tokens and divided by `tokens`, those of the mini-batch; and the sums, as `UPDATE`
    lists them, in float64.
    """
    mask = batch.rows.response_mask
    surrogate, clipped = policy_loss(
        read.logprobs, batch.logprobs, batch.advantages, mask, config.cliprange
    )
    errors, value_clipped = value_loss(
        read.values, batch.values, batch.returns, config.cliprange_value
    )
    surrogate_sum = torch.where(mask.bool(), surrogate, 0.0).sum()
    errors_sum = torch.where(mask.bool(), errors, 0.0).sum()
    loss = surrogate_sum + config.vf_coef * errors_sum
    if config.entropy_coef > 0:
        loss = loss - config.entropy_coef * read.entropies.sum()
    with torch.no_grad():
        change = torch.where(mask.bool(), read.logprobs - batch.logprobs, 0.0)
        ratio = change.exp()
        columns = (
            0.5 * change**2,
            kl_k3(batch.logprobs, read.logprobs),
            clipped,
            surrogate,
            errors,
            value_clipped,
            read.entropies,
            ratio,
            ratio**2,
        )
        kept = [torch.where(mask.bool(), column.double(), 0.0).sum() for column in columns]
    return loss / tokens, torch.stack(kept)


def update_numbers(sums: torch.Tensor, tokens: float) -> dict[str, float]:
    """Means over the tokens of an update, over all its micro-batches and processes."""
    numbers = dict(zip(UPDATE, (sums / tokens).tolist(), strict=True))
    numbers["val/ratio_var"] = max(0.0, numbers["val/ratio_var"] - numbers["val/ratio"] ** 2)
    return numbers
