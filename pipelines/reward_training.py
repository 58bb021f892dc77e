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
    steps_before: int = 0,
    log: Callable[[Json], None],
    progress: Callable[[int, int], None],
) -> "Trained":
    """Trains as the config's `reward` section says, all members of it, and saves the model under
    `folder`; the responses in `references`, or else in `train`, set its zero and its unit. The log
    goes on after `steps_before`, and a second training keeps checkpoints of its own.
    """
    from rlhf.models.loading import load_tokenizer, pad_token_id
    from rlhf.models.training import CHECKPOINTS, trainer_settings
    from rlhf.reward.ensemble import ALONE
    from rlhf.reward.seeds import train_seeds
    from rlhf.reward.trainer import train_reward

    model, reward = work.config.model, work.config.reward
    set_by = [(one.prompt, answer) for one in references or train for answer in one.responses]
    ensemble, seed = reward.of_members(), work.seed("reward")
    whole = ensemble.kind == "seeds"
    done = steps_before

    def train_one(target: Path, seed: int, member: int) -> "Trained":
        nonlocal done
        before = done
        place = f"{member}-after-{steps_before}" if member or steps_before else ""
        trained = train_reward(
            model_of(work.inputs["sft"]),
            train,
            set_by,
            target,
            trainer_settings(
                reward.trainer,
                folder=folder / CHECKPOINTS / place if place else folder,
                seed=seed,
                dtype=model.dtype,
                defaults=DEFAULTS if BATCH.keys() & reward.trainer.keys() else DEFAULTS | BATCH,
            ),
            seed=seed,
            dtype=model.dtype,
            lora=model.lora,
            log=lambda row: log({**row, "step": row["step"] + before}),
            progress=progress,
            validation=validation,
            objective=reward.objective(),
            ensemble=ALONE if whole else ensemble,
        )
        done += trained.steps
        return trained

    if not whole:
        return train_one(model_of(folder), seed, 0)
    pad = pad_token_id(load_tokenizer(model_of(work.inputs["sft"])))
    return train_seeds(
        train_one, ensemble, model_of(folder), set_by, pad, seed=seed, dtype=model.dtype
    )
