"""TRL's DPOTrainer on the pairs of rankings: whole, and only where there are any."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dpo_hands import DATA, ranked
from tiny_models import policy, quiet_arguments, save

from rlhf.data.identity import Json
from rlhf.policy.dpo_trl import pairs_of, train_dpo_with_trl


def test_a_row_is_a_strict_pair_of_ids() -> None:
    assert pairs_of(DATA[1:2]) == [
        {"prompt_ids": [6], "chosen_ids": chosen, "rejected_ids": rejected}
        for chosen, rejected in (
            ([8, 8, 8, 1], [9, 3, 1]),
            ([8, 8, 8, 1], [4, 1]),
            ([9, 3, 1], [4, 1]),
        )
    ]


def test_rankings_of_ties_alone_are_refused() -> None:
    tied = [replace(one, better=(), worse=(), weight=()) for one in DATA]
    with pytest.raises(ValueError, match="no ranking of the train split has a strict pair"):
        pairs_of(tied)


def test_long_pairs_are_trained_on_whole(tmp_path: Path) -> None:
    """TRL cuts at 1,024 tokens by default, and says nothing."""
    base = save(policy(40, dtype=torch.float32), tmp_path / "base")
    logged: list[Json] = []
    train_dpo_with_trl(
        base,
        [ranked("a", [5] * 1030, [7, 8], [9])],
        tmp_path / "model",
        quiet_arguments(tmp_path, max_steps=1, bf16=False),
        beta=0.1,
        loss_type="sigmoid",
        label_smoothing=0.0,
        dtype="float32",
        lora=None,
        log=logged.append,
        progress=lambda *_: None,
    )
    assert logged[0]["num_tokens"] == 1030 + 3 + 1030 + 2
