"""What PPO's numbers are, each by its definition: of a rollout, of an update, of an evaluation."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ppo_run import TEXTS, trainer_in
from tiny_models import EOS, PAD, gradients, policy, quiet_arguments, reward_model, tokenizer

from rlhf.models.batching import Rows, make_rows
from rlhf.models.generation import Sampling
from rlhf.policy.held_out import HeldOut, evaluate
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.ppo_loss import ppo_loss, update_numbers
from rlhf.policy.ppo_models import SharedTrunk
from rlhf.policy.ptx import ptx_batch, ptx_loss
from rlhf.policy.rollout import PromptIds, Roller, Rollout, rollout_numbers, rollout_seeds
from rlhf.policy.token_logprobs import Reading
from rlhf.reward.scorer import Scorer

ROWS = make_rows([(5, 6), (7,)], [(8, EOS), (9, 10, EOS)], PAD)  # response tokens: 2 and 3


def rollout(rows: Rows, **given: torch.Tensor) -> Rollout:
    """One in which everything is 0 that is not given."""
    per_token = dict.fromkeys(
        (
            "logprobs",
            "reference",
            "entropies",
            "kl",
            "values",
            "advantages",
            "returns",
        ),
        torch.zeros(rows.input_ids.shape),
    )
    per_row = dict.fromkeys(("scores", "rewards", "finished"), torch.zeros(len(rows.input_ids)))
    return Rollout(rows=rows, **{**per_token, **per_row, **given})


@pytest.mark.parametrize(
    ("guess", "explained"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], 1.0),
        ([3.0] * 5, 0.0),
        ([2.0, 3.0, 4.0, 5.0, 6.0], 0.5),  # squared error 1 beside a variance of 2
        ([7.0] * 5, -8.0),  # 18 beside 2
    ],
)
def test_explained_variance_by_hand(guess: list[float], explained: float) -> None:
    returns, values = torch.full((2, 4), 99.0), torch.full((2, 4), -7.0)  # padding cannot matter
    returns[ROWS.response_mask.bool()] = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    values[ROWS.response_mask.bool()] = torch.tensor(guess)
    found = rollout_numbers(rollout(ROWS, returns=returns, values=values), 0.1, EOS)
    assert found["val/explained_variance"] == pytest.approx(explained)


def test_of_equal_returns_there_is_nothing_to_explain() -> None:
    returns, values = torch.ones(2, 4), torch.zeros(2, 4)
    found = rollout_numbers(rollout(ROWS, returns=returns, values=values), 0.1, EOS)
    assert found["val/explained_variance"] == 0


def test_an_update_by_hand(tmp_path: Path) -> None:
    """The policy is half a nat below the rollout at every token, and its entropy is 2."""
    mask = ROWS.response_mask.double()
    read = Reading(-1.5 * mask, 2.0 * mask, 0.0 * mask)
    was = rollout(ROWS, logprobs=-1.0 * mask, advantages=mask)
    losses = []
    for coef in (0.0, 0.3):
        config = PPOConfig(**quiet_arguments(tmp_path, entropy_coef=coef))
        loss, sums = ppo_loss(read, was, mask.sum(), config)
        losses.append(float(loss))
    assert losses[0] == pytest.approx(-math.exp(-0.5))
    assert losses[1] == pytest.approx(losses[0] - 0.3 * 2.0)  # a bonus, not a cost
    numbers = update_numbers(sums, 5.0)
    # From the rollout's side, which drew the tokens: r - 1 - log r with r = new / old.
    assert numbers["policy/kl_k3"] == pytest.approx(math.exp(-0.5) - 1 + 0.5)
    assert numbers["policy/approxkl_avg"] == pytest.approx(0.5 * 0.5**2)
    assert numbers["policy/entropy_avg"] == pytest.approx(2.0)


def test_the_coefficient_is_steered_by_k1_whatever_is_charged(tmp_path: Path) -> None:
    settings = {"kl_estimator": "k3", "save_strategy": "no", "num_sample_generations": 0}
    trainer = trainer_in(tmp_path, {**settings, "total_episodes": 16})
    told: list[float] = []
    trainer.controller.update = lambda kl, episodes: told.append(kl)  # type: ignore[method-assign]
    trainer.train()
    log = [row for row in trainer.state.log_history if "eps" in row]
    assert told == [row["objective/kl_k1"] for row in log]
    assert told[1] != log[1]["objective/kl"]


def test_the_mix_is_weighed_by_its_mean_over_tokens(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, {"ptx_coef": 0.7, "num_sample_generations": 0})
    found: Any = trainer._ptx(trainer.trained, 6)
    moved = gradients(trainer.trained.policy)
    trainer.trained.zero_grad()
    rows = ptx_batch(TEXTS, 6, trainer.config.seed, 0)
    mean = ptx_loss(trainer.trained.policy, rows, PAD) / sum(len(text) for _, text in rows)
    (0.7 * mean).backward()
    assert float(found) == pytest.approx(0.7 * float(mean.detach()), abs=1e-12)
    assert torch.allclose(moved, gradients(trainer.trained.policy), atol=1e-12)


def test_an_evaluation_by_its_definitions() -> None:
    """KL a response, entropy a token, at the temperature that it is sampled at."""
    heat = 0.8
    model, reference = policy(300), policy(300, seed=9)
    roller = Roller(Scorer(reward_model(300), PAD), Sampling(6, heat), 3, EOS, PAD, reference)
    asked = [PromptIds(str(n), (5 + n, 9)) for n in range(6)]
    found, _ = evaluate(SharedTrunk(model), roller, HeldOut(asked), tokenizer())
    drawn = roller.complete(SharedTrunk(model), asked, rollout_seeds(asked, 3, -1))
    apart, entropies = [], []
    for prompt, answer in zip(asked, drawn, strict=True):
        ids = torch.tensor([[*prompt.ids, *answer.ids]])
        start = len(prompt.ids) - 1
        with torch.no_grad():
            ours, theirs = (
                torch.log_softmax(one(input_ids=ids).logits[0, start:-1] / heat, -1)
                for one in (model, reference)
            )
        token = torch.tensor(answer.ids)[:, None]
        apart.append(float((ours - theirs).gather(1, token).sum()))
        entropies += (-(ours.exp() * ours).sum(-1)).tolist()
    assert found["held_out/kl"] == pytest.approx(sum(apart) / len(apart), abs=1e-6)
    assert found["held_out/entropy"] == pytest.approx(sum(entropies) / len(entropies), abs=1e-6)
