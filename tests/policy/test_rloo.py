"""RLOO through TRL: on our ids, with our scorer and our penalty, from its reference; it learns."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tiny_models import (
    EOS,
    PAD,
    parameters,
    policy,
    quiet_arguments,
    reward_model,
    save,
    tokenizer,
)

from rlhf.data.identity import Json
from rlhf.models.loading import load_policy
from rlhf.models.lora import LoraSettings
from rlhf.policy.rloo import RLOOArguments, RLOOTrainer, reward_of, train_rloo
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer

PROMPTS = [PromptIds(str(i), (5 + i, 7, 9 + i)) for i in range(8)]
SETTINGS: Json = {
    "bf16": False,
    "num_generations": 2,
    "per_device_train_batch_size": 4,
    "max_completion_length": 4,
    "max_steps": 1,
    "learning_rate": 1e-3,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(policy(300, dtype=torch.float32), tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(reward_model(300, dtype=torch.float32), tmp_path_factory.mktemp("judge"))


def train(folder: Path, base: Path, judge: Path, **changes: Any) -> list[Json]:
    logged: list[Json] = []
    lora = changes.pop("lora", None)
    train_rloo(
        base,
        judge,
        PROMPTS,
        folder / "model",
        quiet_arguments(folder, **SETTINGS | changes),
        dtype="float32",
        lora=lora,
        log=logged.append,
        progress=lambda *_: None,
    )
    return logged


def test_the_reward_is_the_scorers_of_these_ids_less_the_penalty() -> None:
    scorer = Scorer(reward_model(), PAD)
    prompts, ended = [[5, 6], [7], [5, 6]], [[8, EOS], [9, 4, EOS], [8, 3]]
    plain = scorer.score(prompts, ended)
    found = reward_of(scorer, EOS, 0.5)(prompts=prompts, completion_ids=ended, completions=["?"])
    assert found == pytest.approx([plain[0], plain[1], plain[2] - 0.5], abs=1e-9)


def test_a_reward_that_is_no_number_is_not_learned_from() -> None:
    """TRL takes NaN for no reward: it warned, learned nothing and came to its end."""
    scorer = Scorer(reward_model(), PAD)
    scorer.model.score.weight.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=r"is nan \(its tokens end in \[8, 1\]\): look at"):
        reward_of(scorer, EOS, 0.5)(prompts=[[5, 6]], completion_ids=[[8, EOS]])


def test_special_tokens_of_a_completion_reach_the_scorer(
    tmp_path: Path, base: Path, judge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL decodes completions without them; a score of that text would be another one."""
    seen: list[tuple[list[int], list[int]]] = []
    score = Scorer.score

    def watched(self: Scorer, prompts: Any, responses: Any, **named: Any) -> list[float]:
        seen.extend(zip(map(list, prompts), map(list, responses), strict=True))
        return score(self, prompts, responses, **named)

    monkeypatch.setattr(Scorer, "score", watched)
    logged = train(tmp_path, base, judge, max_completion_length=48, per_device_train_batch_size=16)
    assert {tuple(prompt) for prompt, _ in seen} == {one.ids for one in PROMPTS}
    finished = sum(ids[-1] == EOS for _, ids in seen) / len(seen)
    assert finished > 0  # EOS stands in what was scored
    assert logged[0]["completions/clipped_ratio"] == pytest.approx(1 - finished, abs=1e-6)
    assert logged[0]["completions/mean_length"] == pytest.approx(
        sum(len(ids) for _, ids in seen) / len(seen), abs=1e-5
    )
    scorer = Scorer.load(judge, PAD)
    scores = score(scorer, [p for p, _ in seen], [r for _, r in seen])
    expected = [s - (ids[-1] != EOS) for s, (_, ids) in zip(scores, seen, strict=True)]
    assert logged[0]["reward"] == pytest.approx(sum(expected) / len(expected), abs=1e-4)


def test_what_a_model_was_saved_to_sample_with_is_not_sampled_with(
    tmp_path: Path, base: Path, judge: Path
) -> None:
    """A repetition penalty of a hub model's: what is sampled would not be what is trained."""
    odd = load_policy(base)
    odd.generation_config.repetition_penalty = 50.0
    odd.generation_config.eos_token_id = [EOS, *range(100, 300)]
    logged = [
        train(tmp_path / name, folder, judge, max_completion_length=16)[0]
        for name, folder in (("plain", base), ("odd", save(odd, tmp_path / "saved")))
    ]
    for name in ("reward", "completions/mean_length", "completions/clipped_ratio"):
        assert logged[0][name] == logged[1][name], name


def test_it_starts_at_its_reference_and_leaves_it(tmp_path: Path, base: Path, judge: Path) -> None:
    logged = train(tmp_path, base, judge, max_steps=4, learning_rate=1e-2)
    assert logged[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert abs(logged[3]["kl"]) > 1e-3
    assert not torch.equal(parameters(load_policy(tmp_path / "model")), parameters(policy(300)))


def test_a_policy_that_does_not_start_at_its_reference_is_stopped(
    tmp_path: Path, base: Path, judge: Path
) -> None:
    moved = load_policy(base)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(1.05)
    trainer = RLOOTrainer(
        model=moved,
        reward_funcs=reward_of(Scorer.load(judge, PAD), EOS, 1.0),
        args=RLOOArguments(**quiet_arguments(tmp_path, **SETTINGS)),
        train_dataset=Dataset.from_list([{"prompt": list(one.ids)} for one in PROMPTS]),
        processing_class=tokenizer(),
    )
    with pytest.raises(ValueError, match="does not start at its reference: their KL is"):
        trainer.train()


def test_lora_learns_to_end_where_not_ending_costs(tmp_path: Path, base: Path, judge: Path) -> None:
    """Nearly all of the reward is the penalty: what is learned is to stop."""
    logged = train(
        tmp_path,
        base,
        judge,
        max_steps=30,
        learning_rate=3e-2,
        num_generations=8,
        per_device_train_batch_size=32,
        max_completion_length=8,
        missing_eos_penalty=50.0,
        beta=0.0,
        lora=LoraSettings(r=8),
    )
    cut = [row["completions/clipped_ratio"] for row in logged if "reward" in row]
    assert sum(cut[:3]) / 3 > 0.8
    assert sum(cut[-3:]) / 3 < 0.4
    assert load_policy(tmp_path / "model").num_parameters() == load_policy(base).num_parameters()


def test_dropout_is_off_unless_asked_for(tmp_path: Path) -> None:
    assert RLOOArguments(**quiet_arguments(tmp_path, **SETTINGS)).disable_dropout


def test_fewer_prompts_than_a_generation_takes_are_refused(
    tmp_path: Path, base: Path, judge: Path
) -> None:
    with pytest.raises(ValueError, match=r"a generation takes 16 prompts .* and there are 8"):
        train(tmp_path, base, judge, per_device_train_batch_size=32)


@pytest.mark.parametrize("penalty", [-1.0, math.nan])
def test_a_penalty_that_would_reward_is_refused(tmp_path: Path, penalty: float) -> None:
    with pytest.raises(ValueError, match="taken off the score: it must not be negative, got"):
        RLOOArguments(**quiet_arguments(tmp_path, **SETTINGS, missing_eos_penalty=penalty))
