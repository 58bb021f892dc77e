"""Length: how far answers drift from SFT's, and how much of the reward's gain is there without
that.

The reward model's zero is arbitrary, so reward per token means nothing; what a token more brings,
and what is gained where answers are as long as SFT's, does.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy import stats

from rlhf.data.identity import Json
from rlhf.evaluation.probes.bench import BASE, Bench
from rlhf.evaluation.probes.finding import Finding, NothingToProbeError
from rlhf.evaluation.probes.means import LEVEL, ratio_of
from rlhf.evaluation.probes.measure import Measure

TITLE = "Length"
FEWEST = 3


def probe(bench: Bench) -> dict[str, Finding]:
    """From the evaluation's own answers and their rewards; no model is asked."""
    if len(bench.answered) < FEWEST:
        raise NothingToProbeError("the evaluation holds fewer than three answers")
    base = bench.tokens_of(BASE)
    rewards = {name: [one.proxy[name] for one in bench.answered] for name in bench.policies}
    found: dict[str, Finding] = {}
    for name in bench.policies:
        tokens = bench.tokens_of(name)
        more = [float(ours - theirs) for ours, theirs in zip(tokens, base, strict=True)]
        gains = [a - b for a, b in zip(rewards[name], rewards[BASE], strict=True)]
        measures: dict[str, Measure] = {}
        if name != BASE:
            measures["drift"] = ratio_of(more, [float(one) for one in base])
            measures["gain_at_like_length"] = at_like_length(gains, more)
        found[name] = Finding(measures, _details(tokens, rewards[name], gains, more))
    return found


def at_like_length(gains: Sequence[float], more_tokens: Sequence[float]) -> Measure:
    """What is gained where an answer has as many tokens as SFT's: the intercept of the gain
    against the tokens more, by least squares, with an interval that allows for spreads that differ
    (HC3, MacKinnon and White 1985).
    """
    y, x = np.asarray(gains, np.float64), np.asarray(more_tokens, np.float64)
    if np.ptp(x) == 0:  # all as much longer: length explains nothing that could be told apart
        x = np.zeros((len(y), 0))
    design = np.column_stack([np.ones(len(y)), x])  # (N, 1 or 2)
    inverse = np.linalg.pinv(design.T @ design)
    fitted = inverse @ design.T @ y
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design).clip(max=1 - 1e-9)
    rest = (y - design @ fitted) / (1 - leverage)
    covariance = inverse @ (design.T * rest**2) @ design @ inverse
    reach = float(stats.t.ppf((1 + LEVEL) / 2, max(1, len(y) - design.shape[1])))
    reach *= sqrt(max(0.0, float(covariance[0, 0])))
    value = float(fitted[0])
    return Measure(value, value - reach, value + reach, len(y))


def _details(
    tokens: Sequence[int], rewards: Sequence[float], gains: Sequence[float], more: Sequence[float]
) -> Json:
    """Mean length, the correlation of reward and length over the answers, and what a token more
    than SFT brought.
    """
    return {
        "mean_tokens": round(float(np.mean(tokens)), 2),
        "reward_length_correlation": correlation(tokens, rewards),
        "gain": round(float(np.mean(gains)), 4),
        "gain_per_token": round(float(np.polyfit(more, gains, 1)[0]), 5) if np.ptp(more) else None,
    }


def correlation(tokens: Sequence[int], rewards: Sequence[float]) -> float | None:
    """Spearman's: by ranks, so that one very long answer is one answer. None where all are
    alike.
    """
    if len(set(tokens)) < 2 or len(set(rewards)) < 2:
        return None
    return round(float(stats.spearmanr(tokens, rewards).statistic), 4)
