"""The zero and the unit of a reward: reference responses score 0 on average, with deviation 1."""

import math
from collections.abc import Sequence
from dataclasses import asdict

import torch
from transformers import PreTrainedModel

from rlhf.models.packing import tensor_in_batches
from rlhf.reward.ensemble import Array, Ensemble
from rlhf.reward.heads import Heads, heads_of, set_heads, wearing
from rlhf.reward.scorer import MEMBERS, SCALE, SHIFT, Scorer, member_rows

References = Sequence[tuple[Sequence[int], Sequence[int]]]


def normalise(
    model: PreTrainedModel, references: References, pad_token_id: int
) -> tuple[float, float]:
    """Folds the scale of the reference scores into the head; notes it and the mean in the config.

    Returns that mean and the standard deviation. The order of scores stays, and so do the
    probabilities of pairs, given the noted scale. Scores that are all alike are only shifted.
    Raises ValueError without references, and for scores that are not numbers.
    """
    prompts, responses = _apart(references)
    setattr(model.config, SHIFT, 0.0)
    scores = torch.tensor(Scorer(model, pad_token_id).score(prompts, responses)).double()
    mean, std = float(scores.mean()), float(scores.std(correction=0))
    scale = unit_of(mean, std)
    rescale_head(model, 1 / scale)
    setattr(model.config, SHIFT, mean / scale)
    setattr(model.config, SCALE, scale)
    return mean, std


def rescale_head(model: PreTrainedModel, factor: float) -> None:
    """Multiplies the head of a scorer."""
    head = heads_of(model)
    set_heads(model, Heads(head.weight * factor, head.bias * factor))


def normalise_heads(
    model: PreTrainedModel, ensemble: Ensemble, references: References, pad_token_id: int
) -> tuple[float, float, Heads]:
    """Turns a scorer with M heads into the plain one that scores their mean, and returns the mean
    and deviation of its raw reference scores, and the heads, normalised.

    Each head scores the references 0 on average; one unit, and one shift more, make the combined
    score 0 on average with deviation 1. The mean head with its shift is in the model.
    """
    wide = heads_of(model)
    set_heads(model, wide.mean)
    prompts, responses = _apart(references)
    with wearing(model, wide):
        raw = tensor_in_batches(member_rows, model, prompts, responses, pad_token_id).numpy()
    means, zero, unit = common_unit(raw, ensemble)
    mean = float(means.mean())
    set_heads(model, Heads(wide.mean.weight / unit, wide.mean.bias / unit))
    setattr(model.config, SHIFT, mean / unit)
    setattr(model.config, SCALE, unit)
    setattr(model.config, MEMBERS, asdict(ensemble))
    shift = torch.tensor(means + zero).to(wide.bias)
    return mean, unit, Heads(wide.weight / unit, (wide.bias - shift) / unit)


def common_unit(raw: Array, ensemble: Ensemble) -> tuple[Array, float, float]:
    """Of raw reference scores (N, M): the mean of each member, (M,); then the mean of what they say
    together, each less its mean, and its deviation.
    """
    means = raw.mean(0)
    together = ensemble.combined(raw - means)
    mean = float(together.mean())
    return means, mean, unit_of(float(means.mean()), float(together.std()))


def unit_of(mean: float, std: float) -> float:
    """What scores of this mean and deviation are divided by. Raises ValueError where those are not
    numbers.
    """
    if not math.isfinite(std):
        raise ValueError(
            f"the reward model scores its reference responses {mean} on average: its training "
            "diverged; lower trainer.learning_rate"
        )
    return std if std > 1e-6 else 1.0


def _apart(references: References) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
    if not references:
        raise ValueError("no reference response to set the zero and the unit of the reward by")
    prompts, responses = zip(*references, strict=True)
    return list(prompts), list(responses)
