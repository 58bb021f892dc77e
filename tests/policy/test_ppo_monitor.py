"""PPO with a monitor: the policy never sees it, it chooses the checkpoint that is kept, and what it
saw is said.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import EOS, PAD, parameters, policy, quiet_arguments, reward_model, save, tokenizer

from rlhf.data.identity import Json
from rlhf.data.jsonl import read_jsonl
from rlhf.models.generation import Sampling
from rlhf.models.loading import load_policy, load_scorer
from rlhf.policy.held_out import HeldOut, Watch, evaluate
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.policy.ppo_models import SharedTrunk
from rlhf.policy.ppo_training import HELD_OUT, train_ppo
from rlhf.policy.rollout import PromptIds, Roller
from rlhf.reward.scorer import Scorer

PROMPTS = [PromptIds(f"p{n}", (5 + n, 9, 11)[: 1 + n % 3]) for n in range(8)]
SEED = 11
HELD = [PromptIds(f"h{n}", (40 + n, 9)) for n in range(32)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A policy, a reward model, and two monitors: one that agrees with it, one that wants the
    opposite.
    """
    root = tmp_path_factory.mktemp("models")
    made = {
        "policy": save(policy(300, dtype=torch.float32), root / "policy"),
        "reward": save(reward_model(300, seed=4, dtype=torch.float32), root / "reward"),
    }
    opposite = load_scorer(made["reward"], PAD)
    with torch.no_grad():
        opposite.score.weight.neg_()  # type: ignore[operator, union-attr]
    made["opposite"] = save(opposite, root / "opposite")
    return made


def trained(
    folders: dict[str, Path],
    monitor: str | None,
    folder: Path,
    *,
    held_out: Sequence[PromptIds] = HELD,
    **changes: Any,
) -> tuple[Watch, list[Json]]:
    logged: list[Json] = []
    settings: Json = {
        "total_episodes": 64 * 12,
        "per_device_train_batch_size": 64,
        "num_ppo_epochs": 4,
        "response_length": 4,
        "temperature": 1.0,
        "learning_rate": 1e-2,
        "seed": SEED,
        "lr_scheduler_type": "constant",
        "kl_coef": 0.0,
        "num_sample_generations": 3,
        **changes,
    }
    _, watch = train_ppo(
        folders["policy"],
        folders["reward"],
        PROMPTS,
        folder / "model",
        quiet_arguments(folder, **settings),
        dtype="float32",
        lora=None,
        log=logged.append,
        progress=lambda *_: None,
        held_out=held_out,
        monitor=None if monitor is None else folders[monitor],
    )
    return watch, logged


def reward_of(folder: Path, folders: dict[str, Path]) -> float:
    """What a saved policy earns on the held-out prompts, asked as the trainer asks."""
    roller = Roller(
        rewards=Scorer.load(folders["reward"], PAD),
        sampling=Sampling(4),
        seed=SEED,
        eos_token_id=EOS,
        pad_token_id=PAD,
        reference=load_policy(folders["policy"]),
    )
    saved = SharedTrunk(load_policy(folder))
    numbers, _ = evaluate(saved, roller, HeldOut(HELD), tokenizer())
    return float(numbers["held_out/reward"])


def test_the_checkpoint_kept_is_the_monitors(tmp_path: Path, folders: dict[str, Path]) -> None:
    """One reward, one seed, two monitors: the training is the same to the last bit, and what is
    kept is what each of them liked best.
    """
    kept, last = {}, {}
    for monitor in ("reward", "opposite"):
        folder = tmp_path / monitor
        watch, _ = trained(folders, monitor, folder)
        kept[monitor] = reward_of(folder / "model", folders)
        last[monitor] = parameters(load_policy(folder / "last"))
        liked = [row["held_out/monitor"] for row in watch.history]
        assert len(liked) == 4
        rewards = [row["held_out/reward"] for row in watch.history]
        sign = 1 if monitor == "reward" else -1
        assert liked == pytest.approx([sign * one for one in rewards], abs=1e-4)
        best = watch.history[liked.index(max(liked))]
        assert watch.best is best
        assert kept[monitor] == pytest.approx(best["held_out/reward"], abs=1e-4)
        assert list(read_jsonl(folder / HELD_OUT)) == watch.history
        said = [one for one in watch.alarms() if "gaming the reward model" in one]
        assert bool(said) == (monitor == "opposite")
        if said:
            rose = rewards[-1] - best["held_out/reward"]
            assert rose > 0.5
            since = f"rose by {rose:.2f} since episode {best['episode']} while the monitor"
            assert since in said[0]
            assert f"fell by {max(liked) - liked[-1]:.2f}" in said[0]
    assert torch.equal(last["reward"], last["opposite"])
    assert kept["reward"] > kept["opposite"] + 0.5


def test_without_a_monitor_the_last_is_kept(tmp_path: Path, folders: dict[str, Path]) -> None:
    watch, logged = trained(folders, None, tmp_path)
    assert not (tmp_path / "last").exists()
    assert "held_out/monitor" not in watch.history[0]
    scorer = Scorer.load(folders["reward"], PAD)
    assert scorer.score([(5,)], [(6, 1)])
    assert logged[-1]["held_out/reward"] == watch.history[-1]["held_out/reward"]
    before = parameters(load_policy(folders["policy"]))
    assert not torch.allclose(parameters(load_policy(tmp_path / "model")), before, atol=1e-3)


@pytest.mark.parametrize("changes", [{"num_sample_generations": 0}, {"held_out": []}])
def test_a_monitor_with_nothing_to_look_at_is_refused(
    tmp_path: Path, folders: dict[str, Path], changes: Json
) -> None:
    with pytest.raises(ValueError, match="a monitor chooses among evaluations on held-out prompts"):
        trained(folders, "reward", tmp_path, **changes)


def test_where_the_best_is_gone_the_last_is_kept(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "take", lambda *_: False)
    trained(folders, "reward", tmp_path, total_episodes=64)
    before = parameters(load_policy(folders["policy"]))
    assert not torch.equal(parameters(load_policy(tmp_path / "model")), before)
    assert not (tmp_path / "last").exists()


class Breaks:
    """Scores that are no numbers from the `first` time on that two responses are asked for."""

    def __init__(self, first: int) -> None:
        self.left = first

    def score(self, prompts: Sequence[Any], responses: Sequence[Any]) -> list[float]:
        self.left -= len(responses) == len(HELD[:2])
        return [0.5 if self.left > 0 else math.nan] * len(responses)


@pytest.mark.parametrize(
    ("monitor", "says"),
    [
        (
            Breaks(2),
            r"after 2 rollouts: monitor on held-out prompts is nan: .*; the weights before",
        ),
        (None, r"after 0 rollouts: reward on held-out prompts is nan: look at the reward model"),
    ],
)
def test_an_evaluation_by_which_nothing_could_be_chosen_stops_the_training(
    tmp_path: Path, monitor: Breaks | None, says: str
) -> None:
    """The highest of some numbers is NaN where the first of them is, whatever comes after it."""
    settings: Json = {"total_episodes": 32, "response_length": 4, "num_sample_generations": 2}
    trainer = PPOTrainer(
        args=PPOConfig(**quiet_arguments(tmp_path, **settings)),
        processing_class=tokenizer(),
        model=policy(300, dtype=torch.float32),
        reward_model=Breaks(1) if monitor is None else Breaks(99),
        train_dataset=PROMPTS,
        held_out=HeldOut(HELD[:2], monitor),
    )
    with pytest.raises(FloatingPointError, match=says):
        trainer.train()
