"""Sampled PPO on problems with a known answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import (
    EOS,
    PAD,
    every_response,
    policy,
    quiet_arguments,
    reward_model,
    tokenizer,
)

from rlhf.data.identity import Json
from rlhf.models.batching import make_rows, response_logprobs
from rlhf.models.training import fit
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer

PROMPT = (2, 3)


class KnownReward(Scorer):
    """A scorer whose rewards stand in a table of responses."""

    table: dict[tuple[int, ...], float]

    def score(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], **_: Any
    ) -> list[float]:
        return [self.table[tuple(response)] for response in responses]


def train(
    folder: Path, table: dict[tuple[int, ...], float], vocab_size: int, **changes: Any
) -> tuple[torch.Tensor, torch.Tensor, list[Json]]:
    """Log-probs of all responses of the table before and after PPO, (N,), and the log."""
    shape: Json = {"dtype": torch.float32, "initializer_range": 0.1, "seed": 3}
    scorer = KnownReward(reward_model(vocab_size, **shape), PAD)
    scorer.table = table
    value = reward_model(vocab_size, **shape)
    with torch.no_grad():
        value.score.weight.zero_()
    settings = {
        "per_device_train_batch_size": 64,
        "num_ppo_epochs": 2,
        "learning_rate": 3e-3,
        "response_length": 2,
        "temperature": 1.0,
        "missing_eos_penalty": 0.0,
        **changes,
    }
    reference = policy(vocab_size, **shape)
    trainer = PPOTrainer(
        args=PPOConfig(**quiet_arguments(folder, **settings)),
        processing_class=tokenizer(),
        model=policy(vocab_size, **shape),
        value_model=value,
        ref_model=reference,
        reward_model=scorer,
        train_dataset=[PromptIds(f"p{n}", PROMPT) for n in range(64)],
    )
    logged: list[Json] = []
    fit(trainer, log=logged.append, progress=lambda *_: None)
    rows = make_rows([PROMPT] * len(table), list(table), PAD)
    trained: Any = trainer.model
    with torch.no_grad():
        before, after = (response_logprobs(m, rows).sum(1) for m in (reference, trained.policy))
    return before.double(), after.double(), logged


def test_the_best_answer_is_found(tmp_path: Path) -> None:
    responses = list(every_response(8, 2))
    best = (6, EOS)
    table = {response: float(response == best) for response in responses}
    before, after, logged = train(
        tmp_path, table, 8, total_episodes=64 * 40, kl_coef=0.01, learning_rate=5e-3
    )
    at = responses.index(best)
    assert float(before[at].exp()) < 0.05
    assert float(after[at].exp()) > 0.9
    scores = [row["objective/scores"] for row in logged if "objective/scores" in row]
    assert scores[0] < 0.1
    assert scores[-1] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_it_reaches_pi_star(tmp_path: Path, seed: int) -> None:
    """pi* = ref exp(r / beta) / Z, on a problem of 13 responses."""
    responses = list(every_response(4, 2))
    generator = torch.Generator().manual_seed(6)
    rewards = torch.randn(len(responses), dtype=torch.float64, generator=generator)
    table = dict(zip(responses, rewards.tolist(), strict=True))
    before, after, _ = train(
        tmp_path,
        table,
        4,
        seed=seed,
        kl_coef=0.5,
        lam=1.0,
        total_episodes=1024 * 80,
        per_device_train_batch_size=1024,
        num_ppo_epochs=1,
        num_mini_batches=4,
        learning_rate=1e-3,
    )
    wanted = torch.softmax(before + rewards / 0.5, 0)
    assert float((before.exp() - wanted).abs().sum() / 2) > 0.3
    assert float((after.exp() - wanted).abs().sum() / 2) <= 0.03
