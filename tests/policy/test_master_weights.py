"""Full fine-tuning in bfloat16 keeps float32 weights, so that no small step is lost; what is saved
has the type that was asked for, and LoRA's base stays in it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dpo_hands import DATA
from safetensors.torch import load_file
from tiny_models import PAD, policy, quiet_arguments, reward_model, save

from rlhf.data.identity import Json
from rlhf.models.batching import make_rows
from rlhf.models.loading import add_adapters, load_policy, load_tokenizer, trained_dtype
from rlhf.models.lora import LoraSettings
from rlhf.policy.adapters import one_base
from rlhf.policy.dpo import train_dpo
from rlhf.policy.dpo_trl import train_dpo_with_trl
from rlhf.policy.ppo_models import SharedTrunk
from rlhf.policy.ppo_training import train_ppo
from rlhf.policy.rloo import train_rloo
from rlhf.policy.rollout import PromptIds
from rlhf.policy.sft import fine_tune
from rlhf.reward.scorer import score_rows
from rlhf.reward.trainer import train_reward

LORA = LoraSettings(r=4, alpha=8)
RATE = 2.5e-7  # of weights near 0.25: a step of a millionth
QUIET: Json = {"log": lambda _: None, "progress": lambda *_: None}
Train = Callable[[Path, Path, Json, LoraSettings | None], None]


def sft(start: Path, folder: Path, settings: Json, lora: LoraSettings | None) -> None:
    row = {"input_ids": [5, 6, 7, 8, 1], "completion_mask": [0, 0, 1, 1, 1]}
    fine_tune(
        start,
        load_tokenizer(start),
        [row] * 4,
        [],
        folder / "model",
        settings,
        dtype="bfloat16",
        lora=lora,
        **QUIET,
    )


def reward(start: Path, folder: Path, settings: Json, lora: LoraSettings | None) -> None:
    train_reward(
        start,
        DATA,
        [((5, 6), (7, 8)), ((6,), (9,))],
        folder / "model",
        settings,
        seed=3,
        dtype="bfloat16",
        lora=lora,
        **QUIET,
    )


def dpo(start: Path, folder: Path, settings: Json, lora: LoraSettings | None) -> None:
    common: Json = {"beta": 0.1, "dtype": "bfloat16", "lora": lora, **QUIET}
    train_dpo(start, DATA, folder / "model", settings, **common)


def dpo_by_trl(start: Path, folder: Path, settings: Json, lora: LoraSettings | None) -> None:
    common: Json = {"beta": 0.1, "dtype": "bfloat16", "lora": lora, **QUIET}
    trl: Json = {"loss_type": "sigmoid", "label_smoothing": 0.0}
    train_dpo_with_trl(start, DATA, folder / "model", settings, **common, **trl)


def ppo(start: Path, folder: Path, settings: Json, lora: LoraSettings | None) -> None:
    shape = {"total_episodes": 8, "num_ppo_epochs": 1, "response_length": 4, "temperature": 1.0}
    judge = save(reward_model(300, seed=4, dtype=torch.bfloat16), folder / "judge")
    train_ppo(
        start,
        judge,
        [PromptIds(f"p{n}", (5 + n, 9)) for n in range(8)],
        folder / "model",
        {**{k: v for k, v in settings.items() if k != "max_steps"}, **shape},
        dtype="bfloat16",
        lora=lora,
        **QUIET,
    )


def rloo(start: Path, folder: Path, settings: Json, lora: LoraSettings | None) -> None:
    train_rloo(
        start,
        save(reward_model(300, seed=4, dtype=torch.bfloat16), folder / "judge"),
        [PromptIds(f"p{n}", (5 + n, 9)) for n in range(8)],
        folder / "model",
        {**settings, "num_generations": 4, "max_completion_length": 4},
        dtype="bfloat16",
        lora=lora,
        **QUIET,
    )


TRAININGS = [sft, reward, dpo, dpo_by_trl, ppo, rloo]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(policy(300, dtype=torch.bfloat16), tmp_path_factory.mktemp("start"))


def checkpoint(folder: Path, train: Train) -> dict[str, Any]:
    (path,) = (folder / "checkpoints").glob("checkpoint-*")
    if train is ppo:
        held = torch.load(path / "policy_and_value.pt", weights_only=True)
        mine = {k: v for k, v in held.items() if k.startswith("policy.")}
        return {name.removeprefix("policy."): one for name, one in mine.items()}
    return dict(load_file(next(path.glob("*model.safetensors"))))


@pytest.mark.parametrize("train", TRAININGS)
def test_a_step_of_a_millionth_is_not_lost(tmp_path: Path, start: Path, train: Train) -> None:
    settings = quiet_arguments(
        tmp_path,
        bf16=True,
        max_steps=1,
        per_device_train_batch_size=8,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        save_strategy="steps",
        save_steps=1,
    )
    train(start, tmp_path, settings, None)
    after, before = checkpoint(tmp_path, train), load_file(start / "model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    assert after[name].dtype == torch.float32
    moved = (after[name] - before[name].float()).abs()
    # Adam's first step is the rate for every weight, up to float32's own rounding.
    assert float((moved > 0).float().mean()) > 0.9
    assert float(moved.median()) == pytest.approx(RATE, rel=0.1)
    assert torch.equal(after[name].to(torch.bfloat16), before[name])  # where it would be lost
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {one.dtype for one in saved.values()} == {torch.bfloat16}


def moved_by_a_step(head: torch.nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Whether one step of a millionth changes each weight of a head, after these values of it."""
    (weight,) = [w for n, w in head.named_parameters() if n.endswith("weight") and w.requires_grad]
    values.sum().backward()
    with torch.no_grad():
        weight.add_(1)  # far from 0, where bfloat16 has steps of a 128th
    before = weight.detach().clone()
    torch.optim.Adam([weight], lr=1e-6).step()
    return weight != before


def test_heads_over_a_bfloat16_base_lose_no_small_step() -> None:
    rows = make_rows([(5, 6)], [(7, 8)], PAD)
    judge = add_adapters(reward_model(300, dtype=torch.bfloat16), LORA, "SEQ_CLS")
    assert moved_by_a_step(judge.score.modules_to_save, score_rows(judge, rows)).all()
    for dtype, held in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        shared = SharedTrunk(policy(300, dtype=dtype))
        assert shared.value_head.weight.dtype == held
        values = shared.read(rows, 1.0).values
        assert moved_by_a_step(shared.value_head, values).all()
    actor, judge = policy(300, dtype=torch.bfloat16), reward_model(300, dtype=torch.bfloat16)
    judge.model.load_state_dict(actor.model.state_dict())
    joint = one_base(actor, judge, LORA)
    assert moved_by_a_step(joint.value_head, joint.read(rows, 1.0).values).all()
    assert joint.score([(5, 6)], [(7, 8)])


def test_lora_keeps_its_base_as_it_is(tmp_path: Path, start: Path) -> None:
    assert trained_dtype("bfloat16", LORA) == "bfloat16"
    assert trained_dtype("bfloat16", None) == "float32"
    assert trained_dtype("float64", None) == "float64"
    settings = quiet_arguments(tmp_path, bf16=True, max_steps=1, per_device_train_batch_size=8)
    dpo(start, tmp_path, settings, LORA)
    assert load_policy(tmp_path / "model", "bfloat16").dtype == torch.bfloat16
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {one.dtype for one in saved.values()} == {torch.bfloat16}
