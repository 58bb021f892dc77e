"""Whether RL may start on a reward model: what its certificate says, or else what the user says."""

from pathlib import Path
from typing import Literal, get_args

from pipelines.artifacts import read_certificate_of
from pipelines.config import RunConfig
from pipelines.stage import UnfitRewardError, Work
from rlhf.data.identity import Json

FIT = "fit for RL"
HELD_OUT = "held_out_prompts"
Climber = Literal["ppo", "rloo"]
CLIMBERS: tuple[Climber, ...] = get_args(Climber)


def refusals(config: RunConfig, certify: Path | None) -> dict[str, str]:
    """Which of this run's stages may not start on the reward model that the certificate in
    `certify` is about (None: there is none), and why: stage -> sentence.
    """
    asking = [one for one in CLIMBERS if needs_fitness(config, one)]
    if certify is None or not asking:
        return {}
    certificate = read_certificate_of(certify)
    if certificate["verdict"] == FIT:
        return {}
    return {one: _refusal(certificate, one) for one in asking}


def needs_fitness(config: RunConfig, stage: str) -> bool:
    """Whether a stage of this run starts only where the certificate says that it may."""
    if stage not in CLIMBERS or not config.certify.enabled:
        return False
    section = getattr(config, stage)
    return bool(section.enabled and not section.allow_unfit_reward)


def held_out_asked(config: RunConfig) -> int | None:
    """How many ranked held-out prompts the certificate will ask for before RL; None where nobody
    will ask it.
    """
    from rlhf.reward.certificate import thresholds

    if not any(needs_fitness(config, one) for one in CLIMBERS):
        return None
    (bound,) = (one.rl for one in thresholds() if one.name == HELD_OUT)
    return None if bound is None else int(bound)


def fitness_for_rl(work: Work, climber: Climber) -> Json:
    """What this stage is to record of it: the verdict, and whether it was overridden; None where
    the config leaves the certificate out.

    Raises UnfitRewardError where the verdict is another and `allow_unfit_reward` is not set in the
    stage's section.
    """
    if "certify" not in work.inputs:
        return {"reward_verdict": None, "unfit_reward_allowed": False}
    certificate = read_certificate_of(work.inputs["certify"])
    verdict = certificate["verdict"]
    if verdict == FIT:
        return {"reward_verdict": verdict, "unfit_reward_allowed": False}
    if not getattr(work.config, climber).allow_unfit_reward:
        raise UnfitRewardError(_refusal(certificate, climber))
    return {"reward_verdict": verdict, "unfit_reward_allowed": True}


def _refusal(certificate: Json, climber: Climber) -> str:
    failing = [one for one in certificate["checks"] if one["passes"]["rl"] is False]
    first = failing[0]
    name = climber.upper()
    others = f" and {len(failing) - 1} more checks" if len(failing) > 1 else ""
    return (
        f"{name} does not start: the reward model is {_said(certificate['verdict'])} "
        f"({first['threshold']['title']}{others}): {_remedy(certificate, first)}, or set "
        f"{climber}.allow_unfit_reward=true to start all the same, or {climber}.enabled=false to "
        f"go on without {name}; `rlhf reward certify` shows all."
    )


def _said(verdict: str) -> str:
    return "not yet fit for RL" if verdict == "not yet" else verdict


def _remedy(certificate: Json, failing: Json) -> str:
    threshold = failing["threshold"]
    if threshold["name"] == HELD_OUT:  # another split would be another run, without the rankings
        asked, held = threshold["rl"], failing["value"] or 0
        had = f"{asked:.0f} held-out ones are asked, {held:.0f} are ranked"
        return f"rank answers to more prompts ({had})"
    more = (certificate["forecast"] or {}).get("more")
    return f"collect about {more:,} more rankings" if more else str(threshold["remedy"])
