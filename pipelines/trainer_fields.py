"""Checks the `trainer:` blocks against the trainers' own config classes. Imports torch: for
commands that train.
"""

import dataclasses
import difflib
import tempfile
from typing import Any

from pipelines.config import RunConfig
from rlhf.data.identity import Json

OURS = {"output_dir", "report_to", "disable_tqdm", "seed", "data_seed", "bf16", "fp16", "use_cpu"}
# What stands in the section itself.
BESIDE = {"dpo": {"beta": "beta", "loss_type": "loss", "label_smoothing": "label_smoothing"}}


def check_trainer_blocks(config: RunConfig) -> None:
    """Raises ValueError naming the first key of a `trainer:` block that its trainer does not know,
    and the nearest.
    """
    from transformers import TrainingArguments
    from trl import DPOConfig, SFTConfig

    from rlhf.policy.ppo import PPOConfig
    from rlhf.policy.rloo import RLOOArguments
    from rlhf.reward.trainer import RewardArguments

    kinds: dict[str, Any] = {
        "pretrain": TrainingArguments,
        "sft": SFTConfig,
        "reward": RewardArguments,
        "dpo": DPOConfig if config.dpo.implementation == "trl" else TrainingArguments,
        "ppo": PPOConfig,
        "rloo": RLOOArguments,
        "rejection": SFTConfig,
    }
    for section, kind in kinds.items():
        known = {item.name for item in dataclasses.fields(kind)} - OURS
        for key in getattr(config, section).trainer:
            if key in known and key in BESIDE.get(section, {}):
                ours = BESIDE[section][key]
                raise ValueError(f"{section}.trainer.{key} is {section}.{ours} here: set that")
            if key in known:
                continue
            if key in OURS:
                raise ValueError(
                    f"{section}.trainer.{key} is set by the run itself (seed, model.dtype, "
                    "folders): leave it out"
                )
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"unknown key {section}.trainer.{key} for {kind.__name__}{hint}")
        _check_values(section, kind, getattr(config, section).trainer)


def _check_values(section: str, kind: Any, trainer: Json) -> None:
    """Types and values: each against its default's type, then all by building the config."""
    defaults = {item.name: item.default for item in dataclasses.fields(kind)}
    for key, value in trainer.items():
        wanted = type(defaults[key])
        if wanted in {int, float} and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise ValueError(
                f"{section}.trainer.{key} must be a number, got {value!r}"
                + (
                    " (write 5.0e-5, not 5e-5: YAML reads that as text)"
                    if isinstance(value, str) and "e" in value
                    else ""
                )
            )
    from rlhf.models.training import CHECKPOINTING

    with tempfile.TemporaryDirectory() as folder:
        settings = {"output_dir": folder, "report_to": "none", "use_cpu": True, "bf16": False}
        try:
            kind(**{**settings, CHECKPOINTING: False, **trainer})
        except (TypeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{section}.trainer: {said}") from error
