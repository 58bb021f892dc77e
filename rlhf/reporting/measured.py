"""What a run measured of reward against distance from SFT: where its policies ended, and what PPO
saw on held-out prompts on its way.

Reward model, monitor and judge each speak in units of their own; here every gain over SFT is in
spreads: standard deviations of what SFT's answers get from that judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import pstdev, stdev
from typing import Literal

from rlhf.data.identity import Json
from rlhf.data.policies import TRAINED, policy_name
from rlhf.evaluation.overoptimisation import Curve, Kind, fit, why_not
from rlhf.evaluation.winrate import Z95
from rlhf.reporting.formatting import THIN, number
from rlhf.reporting.reading import RunRecord

Judge = Literal["reward model", "monitor", "judge"]
AT_SFT = 0.05  # nats: where a training starts, but for the rounding of log-probs
BEST_OF = "best_of_"


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one policy ended, in spreads over SFT. `judged` is None where the reward model is the
    judge; `half` is half of its mean's 95 % interval; `bound` says that `kl` is only the most.
    """

    policy: str
    kl: float
    proxy: float
    judged: float | None
    half: float
    bound: bool


@dataclass(frozen=True, slots=True)
class Trail:
    """What one judge said of one algorithm's policy on held-out prompts while it trained.

    `few` says how far a look can be trusted, where it rests on few answers.
    """

    algorithm: str
    judge: Judge
    kl: tuple[float, ...]
    gains: tuple[float, ...]
    few: str = ""


def spots(run: RunRecord) -> list[Spot]:
    """Where every policy ended whose distance is known; SFT at 0, the longest of n left out (no
    reward chose it).
    """
    found = run.result("evaluate")
    policies: Json = found.get("policies", {})
    if "sft" not in policies:
        return []
    own_judge = found.get("judge") != "reward"
    proxy_spread, judged_spread = (_spread(run, name) for name in ("proxy_reward", "gold_reward"))
    made = []
    for name, row in policies.items():
        distance = row.get("kl") if row.get("kl") is not None else row.get("kl_bound")
        if distance is None or name.startswith("longest"):
            continue
        judged = (row["gold_reward"] - policies["sft"]["gold_reward"]) / judged_spread
        made.append(
            Spot(
                name,
                max(0.0, float(distance)),
                (row["proxy_reward"] - policies["sft"]["proxy_reward"]) / proxy_spread,
                judged if own_judge else None,
                _half(run, name) / judged_spread,
                row.get("kl") is None,
            )
        )
    return made


def trails(run: RunRecord) -> list[Trail]:
    """What was seen on held-out prompts in each training that looked, from SFT on.

    A training whose first look was not at SFT has no start to count gains from, and is left out.
    """
    found = []
    for algorithm in TRAINED:
        rows = [row for row in run.metrics(algorithm) if _finite(row, "held_out/kl")]
        if len(rows) < 2 or abs(rows[0]["held_out/kl"]) > AT_SFT:
            continue
        judges: tuple[tuple[Judge, str, float], ...] = (
            ("reward model", "held_out/reward", _spread(run, "proxy_reward")),
            ("monitor", "held_out/monitor", _monitor_spread(run, algorithm, rows[0])),
        )
        for judge, name, spread in judges:
            seen = [row for row in rows if _finite(row, name)]
            if len(seen) < 2 or seen[0] is not rows[0]:
                continue
            found.append(
                Trail(
                    algorithm,
                    judge,
                    tuple(max(0.0, row["held_out/kl"]) for row in seen),
                    tuple((row[name] - seen[0][name]) / spread for row in seen),
                )
            )
    return found + _judged_trails(run)


def _judged_trails(run: RunRecord) -> list[Trail]:
    """What the judge said of the same policies, once the training had ended."""
    found = []
    for algorithm, looks in run.result("evaluate").get("on_the_way", {}).items():
        if len(looks) < 2 or abs(looks[0]["kl"]) > AT_SFT:
            continue
        spread = _spread(run, "gold_reward")
        found.append(
            Trail(
                algorithm,
                "judge",
                tuple(max(0.0, look["kl"]) for look in looks),
                tuple((look["judged"] - looks[0]["judged"]) / spread for look in looks),
                _few(looks[-1], spread),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Fitted:
    """A curve through measurements, or why there is none; `words` say which."""

    who: str
    colour: str
    curve: Curve | None
    words: str


def fitted(
    who: str, colour: str, kind: Kind, kl: Sequence[float], gains: Sequence[float]
) -> Fitted:
    """Gao's curve through what `who` measured, in words."""
    reason = why_not(kl)
    if reason:
        return Fitted(who, colour, None, f"{who}: no curve is fitted, {reason}.")
    curve = fit(kind, kl, gains)
    form = "log d" if kind == "rl" else "d"
    sign = "+" if curve.beta < 0 else "\u2212"
    law = f"d ({number(curve.alpha)} {sign} {number(abs(curve.beta))} {form})"
    return Fitted(
        who, colour, curve, f"{who}: {law} through {curve.points} points, {_peak(curve)}."
    )


def _peak(curve: Curve) -> str:
    """Where the curve turns down, in nats, and how sure that is."""
    low, high = (None if d is None else d * d for d in (curve.peak_low, curve.peak_high))
    reach = f"{number(curve.reach**2, 1)} nats"
    if curve.peak is not None and curve.peaks_within_reach:
        at = f"highest at {number(curve.peak**2, 1)} nats"
        if low is None and high is None:
            return f"{at}, though the points leave open where, or whether, it turns"
        if high is None:
            return f"{at} (95{THIN}%: {number(low, 1)} or more)"
        return f"{at} (95{THIN}%: {number(low or 0.0, 1)} to {number(high, 1)})"
    said = f"no peak within the measured range (up to {reach})"
    if curve.peak is not None and low is not None and low <= curve.reach**2:
        said += f", though one from {number(low, 1)} nats on is not ruled out"
    return said


def best_of_n(found: Sequence[Spot]) -> list[Spot]:
    """The best-of-n among the spots, by n."""
    drawn = [spot for spot in found if spot.policy.startswith(BEST_OF)]
    return sorted(drawn, key=lambda spot: int(spot.policy.removeprefix(BEST_OF)))


def trail_name(trail: Trail) -> str:
    """ "PPO, reward model", "PPO, judge (24 answers a look, ± 0.2)"."""
    few = f" ({trail.few})" if trail.few else ""
    return f"{policy_name(trail.algorithm)}, {trail.judge}{few}"


def _few(look: Json, spread: float) -> str:
    error = look.get("judged_se")
    trusted = "" if error is None else f", each ±{THIN}{number(error / spread)}"
    return f"{look['answers']} answers a look{trusted}"


def _finite(row: Json, name: str) -> bool:
    return isinstance(row.get(name), (int, float)) and isfinite(row[name])


def _spread(run: RunRecord, name: str) -> float:
    """The standard deviation of SFT's answers under this judge; 1 where it is not known."""
    values = [
        float(row["answers"]["reference"][name])
        for row in run.answers
        if "reference" in row["answers"]
    ]
    return (pstdev(values) if len(values) > 1 else 0.0) or 1.0


def _monitor_spread(run: RunRecord, algorithm: str, first: Json) -> float:
    """From the standard error of its first mean; 1 where that is not known."""
    prompts = (run.config.get(algorithm) or {}).get("held_out_prompts") or 0
    return float(first.get("held_out/monitor_se") or 0.0) * sqrt(prompts) or 1.0


def _half(run: RunRecord, name: str) -> float:
    """Half of the 95 % interval of the mean judged gain over SFT, prompt by prompt."""
    gains = [
        row["answers"][name]["gold_reward"] - row["answers"]["sft"]["gold_reward"]
        for row in run.answers
        if {name, "sft"} <= row["answers"].keys()
    ]
    return Z95 * stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else 0.0
