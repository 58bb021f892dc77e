"""Trains DPO in float64 for five steps, in as many processes as start it: base folder, work folder,
batch size of each.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from dpo_hands import DATA, ranked
from tiny_models import quiet_arguments

from rlhf.data.identity import Json
from rlhf.models.lora import LoraSettings
from rlhf.policy.dpo import train_dpo
from rlhf.reward.rankings import RankedPrompt


def data() -> list[RankedPrompt]:
    """Fourteen prompts of two to four responses, some of them with less weight than the rest."""
    more = [ranked(f"m{i}", [5 + i, 6], [7 + i, 8, i + 2], [9, 4 + i]) for i in range(11)]
    light = [replace(one, weight=tuple(0.2 * w for w in one.weight)) for one in more[::3]]
    return [*DATA, *[one for i, one in enumerate(more) if i % 3], *light]


def five_steps(base: Path, folder: Path, size: int, accumulation: int, *, lora: bool) -> None:
    """Writes the model, and beside it what was logged."""
    logged: list[Json] = []
    settings: dict[str, Any] = {
        "max_steps": 5,
        "learning_rate": 1e-2,
        "optim": "sgd",
        "save_strategy": "steps",
        "save_steps": 3,
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulation,
    }
    train_dpo(
        base,
        data(),
        folder / "model",
        quiet_arguments(folder, **settings),
        beta=0.3,
        dtype="float64",
        lora=LoraSettings(r=4) if lora else None,
        log=logged.append,
        progress=lambda *_: None,
    )
    if logged:  # one process of several reports
        (folder / "logged.json").write_text(json.dumps(logged), encoding="utf-8")


if __name__ == "__main__":
    five_steps(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        int(sys.argv[3]),
        int(sys.argv[4]),
        lora="lora" in sys.argv,
    )
