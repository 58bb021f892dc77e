"""Losses on rankings: pure functions of the scores and of who was ranked above whom.

One forward per response gives scores (N,); pairs and choices are then index arithmetic. The same
functions train the reward model (on its scores) and DPO (on beta times the log-ratio to the
reference). All are weighted means in nats; with weights that sum to 1 per prompt each is the mean
over prompts.
"""

from dataclasses import dataclass, replace

import torch
from torch.nn.functional import logsigmoid

from rlhf.reward.objective import Objective

# Stands for log 0: a true minus infinity has no gradient.
LOG_ZERO = -1e30


@dataclass(frozen=True, slots=True)
class Pairs:
    """P comparisons: `better`, `worse` (P,) index the scores; `weight` (P,) is not negative;
    `margin` (P,) is the strength, at least 1, and 0 for a tie (whose sides are in any order).
    """

    better: torch.Tensor
    worse: torch.Tensor
    weight: torch.Tensor
    margin: torch.Tensor

    def to(self, device: torch.device) -> "Pairs":
        return Pairs(
            self.better.to(device),
            self.worse.to(device),
            self.weight.to(device),
            self.margin.to(device),
        )


@dataclass(frozen=True, slots=True)
class Choices:
    """C choices, each the next group of a ranking out of the responses that were still unplaced.

    `alternatives` (C, A) index the scores, padded with -1; `chosen` (C, A) is True on the group;
    `weight` (C,) is not negative.
    """

    alternatives: torch.Tensor
    chosen: torch.Tensor
    weight: torch.Tensor

    def to(self, device: torch.device) -> "Choices":
        return Choices(self.alternatives.to(device), self.chosen.to(device), self.weight.to(device))


@dataclass(frozen=True, slots=True)
class Rankings:
    """The rankings of a batch, in the forms that the losses read: strict pairs, all pairs with the
    ties, choices.
    """

    strict: Pairs
    pairs: Pairs
    choices: Choices

    def weighed(self, times: torch.Tensor) -> "Rankings":
        """The same, each weighing so many times as much: `times` (N,) by response, alike for all
        of a prompt.
        """
        strict, pairs, choices = self.strict, self.pairs, self.choices
        first = choices.alternatives[:, 0]  # never padding
        return Rankings(
            replace(strict, weight=strict.weight * times[strict.better]),
            replace(pairs, weight=pairs.weight * times[pairs.better]),
            replace(choices, weight=choices.weight * times[first]),
        )

    def to(self, device: torch.device) -> "Rankings":
        return Rankings(self.strict.to(device), self.pairs.to(device), self.choices.to(device))


def ranking_loss(
    scores: torch.Tensor,
    rankings: Rankings,
    objective: Objective,
    log_nu: torch.Tensor | None = None,
) -> torch.Tensor:
    """The loss that `objective` names, a scalar; `log_nu` is for the losses that know ties.

    Raises ValueError where nothing in the batch has weight.
    """
    strict, pairs = rankings.strict, rankings.pairs
    if objective.loss == "davidson":
        assert log_nu is not None
        loss = davidson_loss(scores, pairs, log_nu)
    elif objective.loss == "plackett-luce":
        loss = plackett_luce_loss(scores, rankings.choices, log_nu)
    elif objective.loss == "robust":
        loss = robust_loss(scores, strict, objective.label_smoothing)
    elif objective.loss == "ipo":
        assert objective.tau is not None
        loss = ipo_loss(scores / objective.tau, strict, objective.tau)
    else:
        loss = kwise_loss(
            scores,
            strict.better,
            strict.worse,
            strict.weight,
            margin=objective.margin * strict.margin,
            label_smoothing=objective.label_smoothing,
        )
    if objective.centering:
        over = pairs if objective.ties else strict
        loss = loss + objective.centering * off_center(scores, over)
    return loss


def weight_of(rankings: Rankings, objective: Objective) -> torch.Tensor:
    """The weight over which `ranking_loss` takes its mean, a scalar."""
    if objective.loss == "plackett-luce":
        return rankings.choices.weight.sum()
    return (rankings.pairs if objective.ties else rankings.strict).weight.sum()


def kwise_loss(
    scores: torch.Tensor,
    better: torch.Tensor,
    worse: torch.Tensor,
    weight: torch.Tensor,
    *,
    margin: torch.Tensor | float = 0.0,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Weighted mean over pairs of -log sigmoid(score of the better - score of the worse - margin).

    `scores` (N,), one per response; `better`, `worse` (P,) index into it; `weight` (P,) is not
    negative; `margin` (P,) in nats. Bradley-Terry (1952); InstructGPT (Ouyang et al. 2022),
    equation 1; margins: Llama 2 (Touvron et al. 2023), equation 2; `label_smoothing` takes that
    share of the pairs to be reversed: conservative DPO (Mitchell 2023). Raises ValueError where no
    pair has weight.
    """
    gaps = scores[better] - scores[worse] - margin  # (P,)
    losses = -logsigmoid(gaps)
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * logsigmoid(-gaps)
    return _mean(losses, weight)


def robust_loss(scores: torch.Tensor, pairs: Pairs, flipped: float) -> torch.Tensor:
    """Weighted mean over pairs of a loss whose expectation, where the share `flipped` of the pairs
    was written down the wrong way round, is the Bradley-Terry loss of the right ones.

    Chowdhury, Kini and Natarajan (2024), Provably robust DPO. It has no lower bound.
    """
    gaps = scores[pairs.better] - scores[pairs.worse]
    losses = -(1 - flipped) * logsigmoid(gaps) + flipped * logsigmoid(-gaps)
    return _mean(losses / (1 - 2 * flipped), pairs.weight)


def ipo_loss(log_ratios: torch.Tensor, pairs: Pairs, tau: float) -> torch.Tensor:
    """Weighted mean over pairs of (difference of the log-ratios - 1 / (2 tau))^2: the preferred one
    is to gain that much and no more.

    Azar et al. (2023), A general theoretical paradigm, equation 17.
    """
    gaps = log_ratios[pairs.better] - log_ratios[pairs.worse]
    return _mean((gaps - 1 / (2 * tau)) ** 2, pairs.weight)


def davidson_loss(scores: torch.Tensor, pairs: Pairs, log_nu: torch.Tensor) -> torch.Tensor:
    """Weighted mean over pairs of -log p(what was said), where a pair is won, lost or tied.

    p(tie) is to p(win) as nu exp((s + t) / 2) to exp(s): Davidson (1970), equation 2.1. Without
    ties and with nu to 0 this is Bradley-Terry.
    """
    better, worse = scores[pairs.better], scores[pairs.worse]
    tie = log_nu + (better + worse) / 2
    total = torch.stack([better, worse, tie]).logsumexp(0)
    return _mean(total - torch.where(pairs.margin == 0, tie, better), pairs.weight)


def plackett_luce_loss(
    scores: torch.Tensor, choices: Choices, log_nu: torch.Tensor | None
) -> torch.Tensor:
    """Weighted mean over choices of -log p(the group that was put next | what was unplaced).

    A group of n has the worth nu^(n-1) exp(mean of its scores), against all groups of all sizes:
    the Davidson-Luce model of Firth, Kosmidis and Turner (2019), with one nu for all sizes. For two
    it is Davidson's; without `log_nu` groups are of one and it is Plackett (1975) and Luce (1959),
    and a tie raises ValueError.
    """
    real = choices.alternatives >= 0
    held = scores[choices.alternatives.clamp(min=0)]  # (C, A)
    size = choices.chosen.sum(1)  # (C,)
    said = (held * choices.chosen).sum(1) / size
    if log_nu is None:
        if bool((size > 1).any()):
            raise ValueError("a ranking holds a tie, and ties have no probability without nu")
        return _mean(held.masked_fill(~real, LOG_ZERO).logsumexp(1) - said, choices.weight)
    worths = [
        (n - 1) * log_nu + _log_group_sum(held.masked_fill(~real, LOG_ZERO) / n, n)
        for n in range(1, held.shape[1] + 1)
    ]
    total = torch.stack(worths).logsumexp(0)
    return _mean(total - (size - 1) * log_nu - said, choices.weight)


def _log_group_sum(values: torch.Tensor, size: int) -> torch.Tensor:
    """Log of the sum, over all groups of `size` out of the columns of `values` (C, A), of exp of
    the sum of the group: (C,). The elementary symmetric polynomial of exp(values).
    """
    nothing = torch.full_like(values[:, 0], LOG_ZERO)
    sums = [torch.zeros_like(nothing), *[nothing] * size]  # by number of members so far
    for column in values.unbind(1):
        for n in range(size, 0, -1):
            sums[n] = torch.logaddexp(sums[n], (sums[n - 1] + column).clamp(min=LOG_ZERO))
    return sums[size]


def off_center(scores: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """Weighted mean over pairs of the squared sum of their scores: 0 where each pair is centred.

    Eisenstein et al. (2023), equation 2.
    """
    return _mean((scores[pairs.better] + scores[pairs.worse]) ** 2, pairs.weight)


def _mean(losses: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    total = weight.sum()
    if not total > 0:
        raise ValueError("a batch holds no pair with weight: every ranking in it is tied or empty")
    return (weight * losses).sum() / total
