"""PPO computes what TRL 1.12 computes, where TRL is right; the numbers are TRL's own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import EOS, PAD, quiet_arguments, tokenizer
from trl_oracle import GOLDEN, PROMPTS, SETTINGS, oracle_models

from rlhf.models.generation import Completion
from rlhf.models.training import fit
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.policy.ppo_models import ActorCritic
from rlhf.policy.rollout import Measured, PromptIds, Roller, Shaping, shape
from rlhf.reward.scorer import Scorer

TRL = json.loads(GOLDEN.read_text())
LENGTH = SETTINGS["response_length"]


def answers() -> list[Completion]:
    """TRL's samples. They do not end; the missing EOS costs where TRL found none."""
    rows = [row[-LENGTH:] for row in TRL["query_responses"]]
    return [Completion(tuple(ids), EOS in ids) for ids in rows]


def prompts() -> list[PromptIds]:
    rows = [row[:-LENGTH] for row in TRL["query_responses"]]
    assert all(row in PROMPTS for row in rows)
    return [PromptIds(str(number), tuple(ids)) for number, ids in enumerate(rows)]


class GivenAnswers(PPOTrainer):
    """A trainer whose policy is taken to have written the oracle's answers, and whose advantages
    are whitened as TRL does it: with n - 1 in the variance, where identity 17 asks for n.
    """

    def _begin(self, *arguments: Any) -> None:
        super()._begin(*arguments)
        assert self._rollout is not None
        n = len(TRL["mask"]) * LENGTH
        white = self._rollout.advantages * ((n - 1) / n) ** 0.5
        self._rollout = replace(self._rollout, advantages=white)

    def _roller(self, *arguments: Any) -> Roller:
        made = super()._roller(*arguments)

        class Given(Roller):
            def roll(self, models: ActorCritic, prompts: Any, number: int) -> Measured:
                return self.measure(models, prompts, answers())

        return Given(**{name: getattr(made, name) for name in made.__dataclass_fields__})


def trainer(folder: Path) -> GivenAnswers:
    policy, reference, value, reward = oracle_models()
    return GivenAnswers(
        args=PPOConfig(**quiet_arguments(folder, **SETTINGS)),
        processing_class=tokenizer(),
        model=policy,
        ref_model=reference,
        value_model=value,
        reward_model=Scorer(reward, PAD),
        train_dataset=prompts(),
    )


def in_order(trained: GivenAnswers) -> Measured:
    return trained.roller.measure(trained.trained, prompts(), answers())


def test_scores_values_and_advantages_are_trls(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    measured = in_order(made)
    assert measured.rewards.tolist() == pytest.approx(TRL["scores"], abs=1e-5)
    assert torch.allclose(measured.values[:, -LENGTH:], torch.tensor(TRL["values"]), atol=1e-5)
    raw = shape(
        measured,
        Shaping(
            **{name: SETTINGS[name] for name in ("kl_coef", "gamma", "lam", "missing_eos_penalty")},
            whiten_advantages=False,
        ),
    )
    assert torch.allclose(raw.advantages[:, -LENGTH:], torch.tensor(TRL["advantages"]), atol=1e-5)
    white = shape(measured, made.shaping()).advantages[:, -LENGTH:]
    # TRL divides by n - 1 in its variance.
    n = white.numel()
    assert torch.allclose(white * ((n - 1) / n) ** 0.5, torch.tensor(TRL["whitened"]), atol=1e-5)


def test_an_update_reports_and_learns_what_trl_reports_and_learns(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    logged: list[Any] = []
    made.get_train_dataloader = lambda: [prompts()] * 2  # type: ignore[method-assign]
    fit(made, log=logged.append, progress=lambda *_: None)
    ours, theirs = logged[0], TRL["metrics"]
    for name in (
        "objective/kl",
        "objective/entropy",
        "objective/non_score_reward",
        "objective/rlhf_reward",
        "objective/scores",
        "policy/approxkl_avg",
        "policy/clipfrac_avg",
        "loss/policy_avg",
        "loss/value_avg",
        "val/clipfrac_avg",
        "policy/entropy_avg",
        "val/ratio",
        "val/num_eos_tokens",
        "episode",
    ):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-5), name
    trained: Any = made.trained
    for model, name in ((trained.policy, "policy"), (trained.value_model, "value")):
        for weight, (total, squares, *first) in zip(model.parameters(), TRL[name], strict=True):
            assert float(weight.double().sum()) == pytest.approx(total, abs=1e-3)
            assert float((weight.double() ** 2).sum()) == pytest.approx(squares, rel=1e-5)
            assert weight.flatten()[:3].tolist() == pytest.approx(first, abs=1e-5)
