"""LoRA's adapters of PPO and of the reward model are drawn from the run's seed, not from whatever
was drawn before.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from dpo_hands import DATA
from tiny_models import policy, quiet_arguments, reward_model, save

from rlhf.models.lora import LoraSettings
from rlhf.policy.ppo_training import Memory, train_ppo
from rlhf.policy.rollout import PromptIds
from rlhf.reward.trainer import train_reward

LORA = LoraSettings(r=4, alpha=8)
PROMPTS = [PromptIds(f"p{n}", (5 + n, 9)) for n in range(4)]
SEEDS = (5, 5, 6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A policy, and a reward model on the same weights."""
    root = tmp_path_factory.mktemp("models")
    actor = policy(300, dtype=torch.float32)
    judge = reward_model(300, dtype=torch.float32)
    judge.model.load_state_dict(actor.model.state_dict())
    return save(actor, root / "policy"), save(judge, root / "reward")


def drawn(folder: Path, weights: str) -> dict[str, torch.Tensor]:
    """The factors A after a step whose rate moves nothing: as they were drawn."""
    found: dict[str, Any] = {}
    (path,) = folder.glob(f"checkpoints/checkpoint-*/{weights}")
    if path.suffix == ".pt":
        found = torch.load(path, weights_only=True)
    else:
        from safetensors.torch import load_file

        found = load_file(path)
    return {name: one for name, one in found.items() if "lora_A" in name}


def check(found: list[dict[str, torch.Tensor]], count: int) -> None:
    one, again, other = found
    assert len(one) == count
    for name, weight in one.items():
        assert weight.std() > 0
        assert torch.equal(weight, again[name])
        assert not torch.equal(weight, other[name])


@pytest.mark.parametrize(("memory", "models"), [("separate", 2), ("shared", 1), ("adapters", 1)])
def test_ppo(tmp_path: Path, folders: tuple[Path, Path], memory: Memory, models: int) -> None:
    found = []
    for number, seed in enumerate(SEEDS):
        folder = tmp_path / str(number)
        torch.manual_seed(number)  # what was drawn before
        settings = quiet_arguments(
            folder,
            total_episodes=4,
            per_device_train_batch_size=4,
            num_ppo_epochs=1,
            response_length=2,
            learning_rate=0.0,
            save_strategy="steps",
            save_steps=1,
            seed=seed,
        )
        train_ppo(
            *folders,
            PROMPTS,
            folder / "model",
            settings,
            dtype="float32",
            lora=LORA,
            log=lambda _: None,
            progress=lambda *_: None,
            memory=memory,
        )
        fresh = drawn(folder, "policy_and_value.pt")
        found.append({n: one for n, one in fresh.items() if ".value." not in n})
    check(found, count=models * 2 * 7)  # two layers of seven linear parts


def test_the_reward_model(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    found = []
    for number, seed in enumerate(SEEDS):
        folder = tmp_path / str(number)
        torch.manual_seed(number)
        train_reward(
            folders[0],
            DATA,
            [((5, 6), (7, 8)), ((6,), (9,))],
            folder / "model",
            quiet_arguments(
                folder, max_steps=1, learning_rate=0.0, save_strategy="steps", save_steps=1
            ),
            seed=seed,
            dtype="float32",
            lora=LORA,
            log=lambda _: None,
            progress=lambda *_: None,
        )
        found.append(drawn(folder, "adapter_model.safetensors"))
    check(found, count=2 * 7)
