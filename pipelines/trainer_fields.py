"""Checks the `trainer:` blocks against the trainers' own config classes. Imports torch: for
commands that train.
"""

import dataclasses
import difflib
from typing import Any

from pipelines.config import RunConfig

OURS = {"output_dir", "report_to", "disable_tqdm", "seed", "data_seed", "bf16", "fp16", "use_cpu"}


def check_trainer_blocks(config: RunConfig) -> None:
    """Raises ValueError naming the first key of a `trainer:` block that its trainer does not know,
    and the nearest.
    """
    from transformers import TrainingArguments
    from trl import SFTConfig

    from rlhf.policy.ppo import PPOConfig

    kinds: dict[str, Any] = {
        "pretrain": TrainingArguments,
        "sft": SFTConfig,
        "reward": TrainingArguments,
        "dpo": TrainingArguments,
        "ppo": PPOConfig,
    }
    for section, kind in kinds.items():
        known = {item.name for item in dataclasses.fields(kind)} - OURS
        for key in getattr(config, section).trainer:
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
