"""What PPO computes from a rollout, as pure functions on (B, T) tensors with a mask of response
tokens.
"""

import torch


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens where `mask` is 1, a scalar; what stands elsewhere cannot matter."""
    return torch.where(mask.bool(), values, 0.0).sum() / mask.sum().clamp(min=1)


def masked_whiten(
    values: torch.Tensor, mask: torch.Tensor, *, shift_mean: bool = True
) -> torch.Tensor:
    """Standard deviation 1 over the masked tokens, and mean 0 unless `shift_mean` is False; 0
    elsewhere.
    """
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    whitened = (values - mean) * torch.rsqrt(variance + 1e-8)
    return torch.where(mask.bool(), whitened if shift_mean else whitened + mean, 0.0)


def shaped_scores(
    scores: torch.Tensor,
    finished: torch.Tensor,
    tokens: torch.Tensor,
    *,
    reward_clip: float | None,
    missing_eos_penalty: float,
    length_penalty: float,
) -> torch.Tensor:
    """Scores (B,) of normalised rewards, clipped to `reward_clip`, less `missing_eos_penalty` where
    `finished` (B,) is 0, less `length_penalty` for each of the `tokens` (B,).

    The clip bounds what the reward model says and not the penalties, which must stay felt.
    """
    if reward_clip is not None:
        scores = scores.clamp(-reward_clip, reward_clip)
    return scores - missing_eos_penalty * (1 - finished) - length_penalty * tokens


def token_rewards(
    scores: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, kl_coef: float
) -> torch.Tensor:
    """-kl_coef * kl on each response token, plus the score (B,) at the last one; (B, T), 0
    elsewhere.

    Rows are padded on the left, so that the last response token is the last column. Ziegler et al.
    (2019), equation 2.
    """
    rewards = torch.where(mask.bool(), -kl_coef * kl, 0.0)
    rewards[:, -1] += scores
    return rewards


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns, (B, T) each; `values` are of the state before each token.

    Response tokens stand at the end of a row without gaps; the state after the last one is worth
    0. Schulman et al. (2016), equation 16.
    """
    real = mask.bool()
    rewards = torch.where(real, rewards, 0.0)
    values = torch.where(real, values, 0.0)
    advantage = torch.zeros_like(values[:, 0])
    after = torch.zeros_like(values[:, 0])
    columns = []
    for t in range(values.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * after - values[:, t]
        advantage = torch.where(real[:, t], delta + gamma * lam * advantage, 0.0)
        after = values[:, t]
        columns.append(advantage)
    advantages = torch.stack(columns[::-1], 1)
    return advantages, advantages + values


def policy_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    cliprange: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The clipped surrogate, per token (B, T), and where the clipped branch holds (B, T).

    Schulman et al. (2017), equation 7, with the sign turned.
    """
    log_ratio = torch.where(mask.bool(), logprobs - old_logprobs, 0.0)
    ratio = log_ratio.exp()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - cliprange, 1 + cliprange)
    return torch.maximum(plain, clipped), clipped > plain


def value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    cliprange: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half the squared error, per token (B, T), the larger of plain and clipped around the old
    value; and where the clipped one is the larger (B, T).
    """
    near = values.clamp(old_values - cliprange, old_values + cliprange)  # exact where not clipped
    plain, clipped = (values - returns) ** 2, (near - returns) ** 2
    return 0.5 * torch.maximum(plain, clipped), clipped > plain
