"""KL divergence: estimators per token, and the coefficient that weighs it."""

from dataclasses import dataclass
from typing import Literal

import torch

Estimator = Literal["k1", "k3"]
ERROR_CLIP = 0.2


def kl_k1(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """log pi - log ref: unbiased, may be negative. Schulman (2020), Approximating KL divergence."""
    return logprobs - reference


def kl_k3(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """(r - 1) - log r with r = ref / pi: unbiased, never negative. Schulman (2020)."""
    log_ratio = reference - logprobs
    return torch.expm1(log_ratio) - log_ratio


def estimate_kl(
    logprobs: torch.Tensor, reference: torch.Tensor, estimator: Estimator
) -> torch.Tensor:
    """The estimator that a config names, shape kept."""
    return (kl_k1 if estimator == "k1" else kl_k3)(logprobs, reference)


@dataclass
class KLController:
    """The weight of the KL in the reward: fixed, or steered towards `target` nats a response.

    With a target the coefficient is multiplied after each rollout by 1 + e n / horizon, where e is
    the relative error clipped to 0.2 and n the episodes of the rollout. Ziegler et al. (2019),
    section 2.2.
    """

    coef: float
    target: float | None = None
    horizon: int = 10000

    def update(self, kl: float, episodes: int) -> None:
        """Takes in the mean KL of a response over a rollout, in nats."""
        if self.target is None:
            return
        error = min(max(kl / self.target - 1, -ERROR_CLIP), ERROR_CLIP)
        self.coef *= 1 + error * episodes / self.horizon
