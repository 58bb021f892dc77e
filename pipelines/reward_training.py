"""How a run trains a reward model on ranked prompts: on all of them, or on a part."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.artifacts import RankedRow, model_of
from pipelines.config import RunConfig
from pipelines.stage import Work
from rlhf.data.identity import Json, seed_from

if TYPE_CHECKING:
    from rlhf.reward.rankings import RankedPrompt
    from rlhf.reward.trainer import Trained

DEFAULTS: Json = {"num_train_epochs": 1, "adam_epsilon": 1e-5}
# 64 prompts a step, unless the config says otherwise: InstructGPT (Ouyang et al. 2022), appendix C.
BATCH: Json = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 8}


MONITOR_SHARE = 5  # one ranked train prompt in five, where PPO has a monitor


def is_monitors(config: RunConfig, prompt_id: str) -> bool:
    """Whether a train prompt's rankings go to the monitor, and so not to the reward model."""
    watched = config.ppo.enabled and config.ppo.monitor
    return watched and seed_from("monitor", config.seed, prompt_id) % MONITOR_SHARE == 0


def rankings_to_climb(config: RunConfig, rows: Iterable[RankedRow]) -> list[RankedRow]:
    """The ranked train prompts that the reward model learns from."""
    return [row for row in rows if not is_monitors(config, row.prompt.id)]


def train_on(
    work: Work,
    train: "Sequence[RankedPrompt]",
    validation: "Sequence[RankedPrompt]",
    folder: Path,
    *,
    references: "Sequence[RankedPrompt] | None" = None,
    seed_name: str = "reward",
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
    ensemble, seed = reward.of_members(), work.seed(seed_name)
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
