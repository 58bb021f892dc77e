"""How a run trains a reward model on ranked prompts: on all of them, or on a part."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.artifacts import model_of
from pipelines.stage import Work
from rlhf.data.identity import Json

if TYPE_CHECKING:
    from rlhf.reward.rankings import RankedPrompt
    from rlhf.reward.trainer import Trained

DEFAULTS: Json = {"num_train_epochs": 1, "adam_epsilon": 1e-5}
# 64 prompts a step, unless the config says otherwise: InstructGPT (Ouyang et al. 2022), appendix C.
BATCH: Json = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 8}


def train_on(
    work: Work,
    train: "Sequence[RankedPrompt]",
    validation: "Sequence[RankedPrompt]",
    folder: Path,
    *,
    references: "Sequence[RankedPrompt] | None" = None,
    log: Callable[[Json], None],
    progress: Callable[[int, int], None],
) -> "Trained":
    """Trains as the config's `reward` section says, and saves the model under `folder`; the
    responses in `references`, or else in `train`, set its zero and its unit.
    """
    from rlhf.models.training import trainer_settings
    from rlhf.reward.trainer import train_reward

    model, reward = work.config.model, work.config.reward
    return train_reward(
        model_of(work.inputs["sft"]),
        train,
        [(one.prompt, response) for one in references or train for response in one.responses],
        model_of(folder),
        trainer_settings(
            reward.trainer,
            folder=folder,
            seed=work.seed("reward"),
            dtype=model.dtype,
            defaults=DEFAULTS if BATCH.keys() & reward.trainer.keys() else DEFAULTS | BATCH,
        ),
        seed=work.seed("reward"),
        dtype=model.dtype,
        lora=model.lora,
        log=log,
        progress=progress,
        validation=validation,
        objective=reward.objective(),
    )
