"""The stages of the loop, in order."""

from pipelines.config import RunConfig
from pipelines.stage import Stage
from pipelines.stages import (
    certify,
    dpo,
    evaluate,
    judge,
    label,
    monitor,
    ppo,
    preferences,
    pretrain,
    probe,
    prompts,
    rejection,
    report,
    reward,
    rloo,
    sample,
    sft,
)

STAGES: tuple[Stage, ...] = (
    prompts.STAGE,
    pretrain.STAGE,
    sft.STAGE,
    sample.STAGE,
    label.STAGE,
    preferences.STAGE,
    reward.STAGE,
    certify.STAGE,
    monitor.STAGE,
    dpo.STAGE,
    ppo.STAGE,
    rloo.STAGE,
    rejection.STAGE,
    evaluate.STAGE,
    probe.STAGE,
    judge.STAGE,
    report.STAGE,
)


def stages_of(config: RunConfig) -> list[Stage]:
    """The stages that this run has, in order."""
    return [stage for stage in STAGES if stage.enabled(config)]


def check_stage(name: str) -> str:
    """The name, where a stage has it; ValueError naming the stages otherwise."""
    names = [stage.name for stage in STAGES]
    if name not in names:
        raise ValueError(f"no stage named {name!r}: choose from {', '.join(names)}")
    return name
