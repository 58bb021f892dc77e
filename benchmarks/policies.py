"""Exact policies of the controlled world: the best one for a reward at a distance from the
reference, best-of-n, and what they earn.

All of them are log-probabilities over every response, (P, N); nothing is sampled or trained.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from benchmarks.world import Array

LOG_BETA_RANGE = (-8.0, 9.0)


@dataclass(frozen=True, slots=True)
class Earned:
    """What a policy earns: the mean gold reward, and its KL to the reference in nats."""

    gold: float
    kl: float


def optimal(reward: Array, reference: Array, beta: float) -> Array:
    """The policy that maximises E[reward] - beta KL(policy, reference), which is
    reference * exp(reward / beta) / Z.

    Log-probabilities, (P, N). Korbak et al. (2022), equation 3; the closed form behind DPO.
    """
    tilted = reference + reward / beta
    top = tilted.max(1, keepdims=True)
    normalised: Array = tilted - top - np.log(np.exp(tilted - top).sum(1, keepdims=True))
    return normalised


def earned(policy: Array, reference: Array, gold: Array) -> Earned:
    """The mean over prompts of E[gold] and of KL(policy, reference)."""
    chances = np.exp(policy)
    kl = (chances * np.where(chances > 0, policy - reference, 0.0)).sum(1).mean()
    return Earned(float((chances * gold).sum(1).mean()), float(kl))


def optimal_at(reward: Array, reference: Array, nats: float) -> Array:
    """The optimal policy for `reward` whose mean KL is `nats`, one temperature for all prompts.

    Where the reward cannot lead that far (it says nothing, or the best responses are common), the
    policy that goes as far as it can.
    """

    def excess(log_beta: float) -> float:
        # KL(policy, reference) = E[reward / beta] - log Z, with one exponential per response
        scaled = reward * np.exp(-log_beta)
        tilted = reference + scaled
        top = tilted.max(1)
        chances = np.exp(tilted - top[:, None])
        total = chances.sum(1)
        kl = (chances * scaled).sum(1) / total - np.log(total) - top
        return float(kl.mean()) - nats

    low, high = LOG_BETA_RANGE
    if excess(low) <= 0:
        return optimal(reward, reference, float(np.exp(low)))
    return optimal(reward, reference, float(np.exp(brentq(excess, low, high, xtol=1e-5))))


def best_of(n: int, reward: Array, reference: Array) -> Array:
    """Log-probabilities of the best of n draws from the reference, equal rewards drawn by lot.

    P(best worth at most r) = P(one worth at most r)^n; -inf where a chance underflows. (P, N).
    """
    made = np.empty_like(reference)
    for row, (worth, logprobs) in enumerate(zip(reward, reference, strict=True)):
        _, level = np.unique(worth, return_inverse=True)
        mass = np.bincount(level, weights=np.exp(logprobs))
        up_to = np.minimum(np.cumsum(mass), 1.0)
        share = np.diff(up_to**n, prepend=0.0)
        with np.errstate(divide="ignore"):
            made[row] = logprobs + (np.log(share) - np.log(mass))[level]
    return made


def efficiency(policy: Array, reference: Array, gold: Array, nats: float | None = None) -> float:
    """eta: the gold that `policy` earns over the most that any policy earns at `nats` of KL (at
    the policy's own KL where that is not given).
    """
    got = earned(policy, reference, gold)
    at = got.kl if nats is None else nats
    if at < 1e-9:
        return 0.0
    return got.gold / earned(optimal_at(gold, reference, at), reference, gold).gold
