"""The K-wise ranking loss, a pure function.

One forward per response gives scores; the pairs of a ranking are then index arithmetic. The same
function trains the reward model (on its scores) and DPO (on beta times the log-ratio to the
reference).
"""

import torch
from torch.nn.functional import logsigmoid


def kwise_loss(
    scores: torch.Tensor, better: torch.Tensor, worse: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Weighted mean over pairs of -log sigmoid(score of the better - score of the worse), in nats.

    `scores` (N,), one per response; `better`, `worse` (P,) index into it; `weight` (P,) is not
    negative. With weights that sum to 1 per prompt this is the mean over prompts of the mean over
    their pairs. Bradley-Terry (1952); InstructGPT (Ouyang et al. 2022), equation 1. Raises
    ValueError where no pair has weight.
    """
    total = weight.sum()
    if not total > 0:
        raise ValueError("a batch holds no pair with weight: every ranking in it is tied or empty")
    losses = -logsigmoid(scores[better] - scores[worse])  # (P,)
    return (weight * losses).sum() / total
