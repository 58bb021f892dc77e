"""TRL's DPOTrainer on the pairs of rankings: whole, only where there are any, and as ours."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from dpo_hands import DATA, ranked, run
from tiny_models import parameters, policy, quiet_arguments, save, tokenizer
from trl import DPOConfig

from rlhf.data.identity import Json
from rlhf.models.loading import load_policy
from rlhf.models.lora import LoraSettings
from rlhf.policy.dpo import train_dpo
from rlhf.policy.dpo_objective import DPOLossName, dpo_objective, trl_loss_type
from rlhf.policy.dpo_trl import GuardedDPOTrainer, pairs_of, train_dpo_with_trl
from rlhf.reward.rankings import RankedPrompt

TWO = [replace(one, orders=()) for one in (DATA[0],)] + [
    RankedPrompt(name, prompt, answers, (1, 1), (0,), (1,), (1.0,))
    for name, prompt, answers in [
        ("b", (9, 4, 7), ((8, 8, 1), (9, 3, 5, 6, 1))),
        ("c", (6, 6), ((31, 1), (2, 17, 40, 1))),
        ("d", (5, 22, 8), ((12, 13, 14, 15, 1), (7, 1))),
    ]
]


def train(folder: Path, base: Path, data: Sequence[RankedPrompt], **changes: Any) -> list[Json]:
    """What was logged; how pairs are weighed as in a run, unless the arguments say otherwise."""
    usual: Json = {"beta": 0.1, "loss_type": "sigmoid", "label_smoothing": 0.0, "lora": None}
    how = {name: changes.pop(name, one) for name, one in usual.items()}
    logged: list[Json] = []
    train_dpo_with_trl(
        base,
        data,
        folder / "model",
        quiet_arguments(folder, bf16=False, **changes),
        dtype="float32",
        log=logged.append,
        progress=lambda *_: None,
        **how,
    )
    return logged


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
    logged = train(tmp_path, base, [ranked("a", [5] * 1030, [7, 8], [9])], max_steps=1)
    assert logged[0]["num_tokens"] == 1030 + 3 + 1030 + 2


@pytest.mark.parametrize(
    ("name", "smoothing", "per_token"),
    [
        ("sigmoid", 0.0, False),
        ("sigmoid", 0.0, True),
        ("robust", 0.1, False),
        ("ipo", 0.0, True),
    ],
)
def test_at_two_responses_it_is_trls_loss_step_for_step(
    tmp_path: Path, name: DPOLossName, smoothing: float, *, per_token: bool
) -> None:
    base = save(policy(300, dtype=torch.float32), tmp_path / "base")
    shared: Json = {
        "optim": "sgd",
        "learning_rate": 0.01,
        "max_grad_norm": 1.0,
        "per_device_train_batch_size": 2,
        "max_steps": 5,
        "train_sampling_strategy": "sequential",
    }
    ours: list[Json] = []
    train_dpo(
        base,
        TWO,
        tmp_path / "ours" / "model",
        quiet_arguments(tmp_path / "ours", **shared),
        beta=0.3,
        dtype="float32",
        lora=None,
        log=ours.append,
        progress=lambda *_: None,
        objective=dpo_objective(name, beta=0.3, label_smoothing=smoothing),
        length_normalised=per_token,
    )
    theirs = train(
        tmp_path / "theirs",
        base,
        TWO,
        beta=0.3,
        loss_type=trl_loss_type(name, label_smoothing=smoothing, length_normalised=per_token),
        label_smoothing=smoothing,
        **shared,
    )
    found, expected = ([row["loss"] for row in rows[:5]] for rows in (ours, theirs))
    assert found == pytest.approx(expected, abs=1e-4)
    assert abs(found[4] - found[0]) > 0.01  # they went somewhere
    if not per_token:
        for number in ("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen"):
            assert ours[4][number] == pytest.approx(theirs[4][number], abs=1e-3), number
    one, two = (load_policy(tmp_path / who / "model") for who in ("ours", "theirs"))
    assert torch.allclose(parameters(one), parameters(two), atol=1e-5)


def test_trl_is_stopped_where_the_policy_does_not_start_at_its_reference(tmp_path: Path) -> None:
    """As after an SFT in memory: the weights have moved, the config names the folder before."""
    base = save(policy(300, dtype=torch.float32), tmp_path / "base")
    moved = load_policy(base)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(1.05)
    trainer = GuardedDPOTrainer(
        model=moved,
        args=DPOConfig(**quiet_arguments(tmp_path, max_steps=1, bf16=False), max_length=None),
        train_dataset=Dataset.from_list(pairs_of(TWO)),
        processing_class=tokenizer(),
    )
    with pytest.raises(ValueError, match="does not start at its reference: rewards/chosen is"):
        run(trainer)


def test_trl_trains_lora_from_the_adapter_that_is_off(tmp_path: Path) -> None:
    base = save(policy(300, dtype=torch.float32), tmp_path / "base")
    logged = train(tmp_path, base, TWO, lora=LoraSettings(r=4), max_steps=8, learning_rate=1e-2)
    assert logged[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert logged[7]["loss"] < 0.6
    trained = load_policy(tmp_path / "model")
    assert trained.num_parameters() == load_policy(base).num_parameters()
    assert not torch.equal(parameters(trained), parameters(load_policy(base)))
