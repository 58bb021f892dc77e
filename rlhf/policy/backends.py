"""What samples the responses of a rollout beside the policy itself, and how far its log-probs are
from the trainer's.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch

from rlhf.models.generation import Completion
from rlhf.policy.processes import Processes


class Backend(Protocol):
    """An engine that follows the policy: it samples with the policy's weights of now."""

    def complete(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Completion]:
        """One response to each prompt of token ids, in their order, with the engine's log-probs."""

    def moved(self) -> None:
        """The policy has been updated: its weights must be taken over before the next response."""

    def close(self) -> None:
        """Gives back what the engine holds; nobody asks it for more."""


class Agreement:
    """How far an engine's log-probs are from those that the trainer reads, in nats a token.

    An engine that lags behind the policy, or samples from another distribution, learns from ratios
    that are wrong without a sign of it; this is the sign. Kernels that round otherwise leave a few
    thousandths in float32 and a few hundredths in bfloat16.
    """

    def __init__(self) -> None:
        self._found: torch.Tensor | None = None  # sum and number of gaps, and the largest

    def note(
        self, completions: Sequence[Completion], logprobs: torch.Tensor, mask: torch.Tensor
    ) -> None:
        """Compares with the trainer's `logprobs` (B, T), where `mask` (B, T) is 1 on a response."""
        self._found = None
        if not completions or any(one.logprobs is None for one in completions):
            return
        said = [p for one in completions for p in one.logprobs or ()]
        read = torch.cat([row[kept] for row, kept in zip(logprobs, mask.bool(), strict=True)])
        apart = (read.detach().cpu().double() - torch.tensor(said, dtype=torch.float64)).abs()
        self._found = torch.stack([apart.sum(), torch.tensor(len(apart)), apart.max()]).double()

    def over(self, processes: Processes, device: torch.device) -> None:
        """The gaps of all processes as one: each has noted its part of a rollout."""
        found = torch.zeros(3, dtype=torch.float64) if self._found is None else self._found
        here = found.to(device)
        sums, largest = processes.summed(here[:2].clone()), processes.highest(here[2:].clone())
        self._found = torch.cat([sums, largest]).cpu()

    @property
    def numbers(self) -> dict[str, float]:
        """Mean and largest gap of what was noted last; empty where no engine sampled."""
        if self._found is None or not self._found[1]:
            return {}
        total, count, largest = self._found.tolist()
        return {"rollout/logprob_gap": total / count, "rollout/logprob_gap_max": largest}

    def too_far(self, limit: float) -> str | None:
        """What is wrong where the mean gap of the last rollout is beyond `limit`, or no number."""
        gap = self.numbers.get("rollout/logprob_gap", 0.0)
        if math.isnan(gap):
            return (
                "log-probabilities of the engine that samples are not numbers: it was given broken "
                "weights, or computes in a type that overflows"
            )
        if gap <= limit:
            return None
        return (
            f"the engine that samples is {gap:.3f} nats a token from the policy, beyond "
            f"vllm_logprob_gap_limit ({limit}): it does not follow the policy's weights, or "
            "samples from another distribution"
        )
