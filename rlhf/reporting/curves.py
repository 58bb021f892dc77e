"""The curves of every trained model: what was logged on training data, and what is known of
validation and test data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log
from statistics import fmean

from rlhf.data.identity import Json
from rlhf.data.policies import policy_name
from rlhf.reporting.drawing import BLUE, GREY, ORANGE, TEAL
from rlhf.reporting.probes import probe_details
from rlhf.reporting.reading import RunRecord

TAIL = 0.2  # of what was logged: the end of a training, as a mean over its last part
Points = tuple[list[int], list[float]]
NOTHING: Points = ([], [])


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn in place of the figures of the table, where those are not logged by step."""

    figure: str
    train: Points
    validation: Points
    test: Points


@dataclass(frozen=True, slots=True)
class Curve:
    """One model: what was logged on training data, step by step, and what is known of validation
    and test data, at steps of their own. `bound` names what is asked of the gap; `sign` is -1 for a
    loss, which is better when lower.
    """

    model: str
    figure: str
    bound: str
    colour: str
    train: Points
    validation: Points
    test: Points
    trained: float | None
    sign: int = 1
    as_percent: bool = False
    drawn: "Drawn | None" = None

    @property
    def held_out(self) -> float | None:
        """The last figure on test prompts, or on validation where there is none."""
        values = self.test[1] or self.validation[1]
        return values[-1] if values else None

    @property
    def gap(self) -> float | None:
        """How much better the model is on what it learned from."""
        if self.trained is None or self.held_out is None:
            return None
        return self.sign * (self.trained - self.held_out)


def curves_of(run: RunRecord) -> list[Curve]:
    """Every model that the run trained, as far as it is known."""
    made = [_sft(run), _reward(run), _dpo(run)]
    made += [
        _rl(run, "ppo", "objective/scores", "held_out/reward", BLUE),
        _rl(run, "rloo", "reward", "held_out/reward", TEAL),
        _monitored(run),
    ]
    return [one for one in made if one is not None]


def _sft(run: RunRecord) -> Curve | None:
    train = _series(run.metrics("sft"), "loss")
    if not train[0]:
        return None
    last, seen = train[0][-1], _series(run.metrics("sft"), "eval_loss")
    final = run.result("sft").get("validation_loss")
    if final is not None:
        seen = ([*seen[0], last], [*seen[1], final])
    measured = probe_details(run, "regression").get("sft", {})
    known = measured.get("split") == "test" and "nats_per_token" in measured
    test = ([last], [measured["nats_per_token"]]) if known else NOTHING
    return Curve(
        "SFT", "loss, nats per token", "sft", GREY, train, seen, test, tail(train[1]), sign=-1
    )


def _reward(run: RunRecord) -> Curve | None:
    """Accuracies by split; while it trains, its loss, beside that of held-out votes at the end."""
    found, train = run.result("reward"), _series(run.metrics("reward"), "loss")
    if "train" not in found:
        return None
    last = [train[0][-1]] if train[0] else [0]
    accuracy = {
        split: (last, [found[split]["accuracy"]["value"]])
        for split in ("validation", "test")
        if split in found
    }
    return Curve(
        "reward model",
        "accuracy",
        "reward",
        TEAL,
        NOTHING,
        accuracy.get("validation", NOTHING),
        accuracy.get("test", NOTHING),
        found["train"]["accuracy"]["value"],
        as_percent=True,
        drawn=_reward_losses(run),
    )


def _reward_losses(run: RunRecord) -> Drawn:
    """The loss while it trains, and that of the held-out votes at the end by its bins; the latter
    only where it was trained by that loss.
    """
    found, train = run.result("reward"), _series(run.metrics("reward"), "loss")
    plain = run.config.get("reward", {}).get("loss", "bradley-terry") == "bradley-terry"
    validation, test = (
        ([train[0][-1]], [log_loss(found[split]["bins"])])
        if plain and train[0] and split in found
        else NOTHING
        for split in ("validation", "test")
    )
    seen = _series(run.metrics("reward"), "eval_loss")
    return Drawn(
        "loss, nats per pair",
        train,
        (seen[0] + validation[0], seen[1] + validation[1]),
        test,
    )


def log_loss(bins: Sequence[Sequence[float]]) -> float:
    """-log of the probability that was given to what happened, in nats per vote."""
    lost = sum(
        votes * (share * log(max(p, 1e-9)) + (1 - share) * log(max(1 - p, 1e-9)))
        for p, share, votes in bins
    )
    return -lost / sum(votes for *_, votes in bins)


def _dpo(run: RunRecord) -> Curve | None:
    train = _series(run.metrics("dpo"), "rewards/accuracies")
    if not train[0]:
        return None
    last = train[0][-1]
    accuracy = probe_details(run, "overfitting").get("dpo", {}).get("accuracy", {})
    held = [
        ([last], [accuracy[split]]) if split in accuracy else NOTHING
        for split in ("validation", "test")
    ]
    return Curve(
        "DPO",
        "implicit accuracy",
        "dpo",
        ORANGE,
        train,
        held[0],
        held[1],
        accuracy.get("train", tail(train[1])),
        as_percent=True,
    )


def _rl(run: RunRecord, name: str, scores: str, held_out: str, colour: str) -> Curve | None:
    train = _series(run.metrics(name), scores)
    if not train[0]:
        return None
    row = run.result("evaluate").get("policies", {}).get(name, {})
    test = ([train[0][-1]], [row["proxy_reward"]]) if "proxy_reward" in row else NOTHING
    seen = _series(run.metrics(name), held_out)
    return Curve(
        policy_name(name), "reward-model reward", "rl", colour, train, seen, test, tail(train[1])
    )


def _monitored(run: RunRecord) -> Curve | None:
    """PPO on held-out prompts by the reward model that it climbs, beside what the monitor gives the
    same answers; both count demonstrations as 0 with a spread of 1.
    """
    climbed = _series(run.metrics("ppo"), "held_out/reward")
    monitor = _series(run.metrics("ppo"), "held_out/monitor")
    if not climbed[0] or not monitor[0]:
        return None
    figure = "held out; validation: monitor"
    last = climbed[1][-1]
    return Curve("PPO's reward", figure, "monitor", BLUE, climbed, monitor, NOTHING, last)


def tail(values: Sequence[float]) -> float | None:
    """The end of a training: the mean of the last part of what was logged; None of nothing."""
    kept = [value for value in values if isfinite(value)]
    return fmean(kept[-max(1, round(TAIL * len(kept))) :]) if kept else None


def _series(rows: Sequence[Json], name: str) -> Points:
    """Steps and values of the rows that log `name`; a summary that repeats the last step is left
    out.
    """
    found: dict[int, float] = {}
    for row in rows:
        if name in row and "step" in row and "train_runtime" not in row:
            found[row["step"]] = float(row[name])
    return list(found), list(found.values())
