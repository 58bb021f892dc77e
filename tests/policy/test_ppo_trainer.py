"""The PPO trainer: how a rollout is consumed, what its first step is, and that it repeats."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import (
    EOS,
    PAD,
    gradients,
    interrupt_after,
    parameters,
    policy,
    quiet_arguments,
    reward_model,
    save,
    tokenizer,
)
from torch.optim.optimizer import register_optimizer_step_post_hook

from rlhf.data.identity import Json, seed_from
from rlhf.models.generation import Sampling, sample
from rlhf.models.loading import load_policy, load_scorer
from rlhf.models.lora import LoraSettings
from rlhf.models.training import fit
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.policy.ppo_batches import RolloutBatches
from rlhf.policy.ppo_training import train_ppo
from rlhf.policy.rollout import PromptIds, Rollout
from rlhf.policy.rollout import shape as shaped
from rlhf.reward.scorer import Scorer

SHIFT = 0.7  # of the reward model's zero
PROMPTS = [PromptIds(f"p{n}", (5 + n, 9, 11)[: 1 + n % 3]) for n in range(11)]


class WatchedScorer(Scorer):
    """A scorer that keeps what it was asked."""

    asked: list[tuple[tuple[int, ...], tuple[int, ...]]]

    def score(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], **named: Any
    ) -> list[float]:
        pairs = [(tuple(p), tuple(r)) for p, r in zip(prompts, responses, strict=True)]
        self.asked = [*getattr(self, "asked", []), *pairs]
        return super().score(prompts, responses, **named)


class WatchedPPO(PPOTrainer):
    """A trainer that keeps which responses each optimizer step learned from."""

    learned: list[tuple[int, list[tuple[int, ...]]]]

    def _loss(self, model: Any, batch: Rollout, tokens: torch.Tensor) -> Any:
        ids = [
            tuple(row[mask.bool()].tolist())
            for row, mask in zip(batch.rows.input_ids, batch.rows.attention_mask, strict=True)
        ]
        self.learned = [*getattr(self, "learned", []), (self.state.global_step, ids)]
        return super()._loss(model, batch, tokens)


def trainer_in(
    folder: Path, dtype: torch.dtype = torch.float32, prompts: Any = PROMPTS, **changes: Any
) -> WatchedPPO:
    judge = reward_model(seed=4, dtype=dtype)
    value = reward_model(seed=4, dtype=dtype)
    judge.config.reward_shift = value.config.reward_shift = SHIFT
    settings = {
        "total_episodes": 24,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_mini_batches": 2,
        "num_ppo_epochs": 3,
        "response_length": 5,
        "temperature": 1.0,
        "missing_eos_penalty": 1.0,
        "learning_rate": 1e-3,
        **changes,
    }
    return WatchedPPO(
        args=PPOConfig(**quiet_arguments(folder, **settings)),
        processing_class=tokenizer(),
        model=policy(dtype=dtype),
        value_model=value,
        ref_model=policy(dtype=dtype),
        reward_model=WatchedScorer(judge, PAD),
        train_dataset=prompts,
    )


def run(trainer: Any) -> list[Json]:
    logged: list[Json] = []
    fit(trainer, log=logged.append, progress=lambda *_: None)
    return logged


def test_a_rollout_is_consumed_in_mini_batches_of_micro_batches(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    steps: list[object] = []
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: steps.append(optimizer))
    try:
        run(trainer)
    finally:
        hook.remove()
    # 24 episodes are three rollouts of 8; each is passed 3 times in 2 mini-batches of 4.
    assert len(steps) == trainer.state.global_step == 3 * 3 * 2
    assert len(trainer.roller.rewards.asked) == 24  # type: ignore[attr-defined]
    sampled = [(*p, *r) for p, r in trainer.roller.rewards.asked]  # type: ignore[attr-defined]
    for rollout in range(3):
        held = Counter(sampled[8 * rollout : 8 * rollout + 8])
        for epoch in range(3):
            first = 6 * rollout + 2 * epoch
            learned = [ids for at, ids in trainer.learned if first <= at < first + 2]
            assert [len(ids) for ids in learned] == [4, 4]
            assert Counter(learned[0] + learned[1]) == held
    orders = [tuple(ids) for _, ids in trainer.learned]
    assert len(set(orders)) > 12  # each pass is shuffled anew


def test_micro_batches_are_of_the_size_asked_for(tmp_path: Path) -> None:
    trainer = trainer_in(
        tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4, num_mini_batches=1
    )
    run(trainer)
    assert {len(ids) for _, ids in trainer.learned} == {2}
    assert Counter(at for at, _ in trainer.learned) == dict.fromkeys(range(9), 4)


def test_every_prompt_is_used_once_before_any_is_used_twice() -> None:
    batches = list(RolloutBatches(count=11, size=4, repeats=3, rollouts=6, seed=1))
    assert len(batches) == len(RolloutBatches(11, 4, 3, 6, 1)) == 18
    assert batches[::3] == batches[1::3] == batches[2::3]
    order = [index for batch in batches[::3] for index in batch]
    assert sorted(order[:11]) == sorted(order[11:22]) == list(range(11))
    assert order[:11] != order[11:22]
    assert list(RolloutBatches(11, 4, 3, 6, 2)) != batches


def test_the_scorer_reads_what_the_policy_wrote(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, seed=7)
    run(trainer)
    first = next(iter(RolloutBatches(len(PROMPTS), 8, 6, 3, 7)))
    expected = sample(
        policy(dtype=torch.float32),
        [PROMPTS[i].ids for i in first],
        [seed_from("rollout", 7, PROMPTS[i].id, 0) for i in first],
        Sampling(5),
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    asked = trainer.roller.rewards.asked[:8]  # type: ignore[attr-defined]
    assert asked == [(PROMPTS[i].ids, one.ids) for i, one in zip(first, expected, strict=True)]


def test_the_first_step_is_on_policy(tmp_path: Path) -> None:
    logged = run(trainer_in(tmp_path, num_mini_batches=1, num_ppo_epochs=1))
    first = logged[0]
    assert first["objective/kl"] == 0
    assert first["policy/approxkl_avg"] == pytest.approx(0, abs=1e-5)
    assert first["policy/clipfrac_avg"] == 0
    assert logged[1]["objective/kl"] != 0
    whole = trainer_in(
        tmp_path,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        num_mini_batches=1,
        num_ppo_epochs=1,
    )
    # advantages are whitened over the very set: their mean, and with ratio 1 the loss, is 0
    assert run(whole)[0]["loss/policy_avg"] == pytest.approx(0, abs=1e-5)


def test_reused_data_is_off_policy_and_says_so(tmp_path: Path) -> None:
    logged = run(trainer_in(tmp_path, num_ppo_epochs=4, learning_rate=1e-2))
    assert logged[0]["policy/approxkl_avg"] > 1e-3
    assert logged[0]["policy/clipfrac_avg"] > 0.01


def test_numbers_of_a_rollout_are_those_of_its_responses(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, total_episodes=8, kl_coef=0.0)
    first = run(trainer)[0]
    asked = trainer.roller.rewards.asked  # type: ignore[attr-defined]
    scores = Scorer(reward_model(seed=4, dtype=torch.float32), PAD).score(*zip(*asked, strict=True))
    ended = [response[-1] == EOS for _, response in asked]
    penalised = [s - SHIFT - (0 if end else 1) for s, end in zip(scores, ended, strict=True)]
    assert first["objective/scores"] == pytest.approx(sum(penalised) / 8, abs=1e-5)
    assert first["objective/finished"] == pytest.approx(sum(ended) / 8)
    tokens = sum(len(response) for _, response in asked) / 8
    assert first["objective/response_tokens"] == pytest.approx(tokens)
    assert first["val/explained_variance"] < 1


def moved(folder: Path, **changes: Any) -> torch.Tensor:
    """How one step of plain SGD moved policy and value model: their gradient."""
    trainer = trainer_in(
        folder,
        torch.float64,
        total_episodes=8,
        num_mini_batches=1,
        num_ppo_epochs=1,
        optim="sgd",
        learning_rate=1.0,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        **changes,
    )
    before = parameters(trainer.model)  # type: ignore[arg-type]
    run(trainer)
    assert trainer.state.global_step == 1
    return before - parameters(trainer.model)  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "accumulation"), [(2, 4), (1, 8), (4, 2)])
def test_micro_batching_does_not_change_the_gradient(
    tmp_path: Path, size: int, accumulation: int
) -> None:
    whole = moved(tmp_path, per_device_train_batch_size=8, gradient_accumulation_steps=1)
    parts = moved(
        tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=accumulation
    )
    assert torch.allclose(whole, parts, atol=1e-8)
    assert whole.abs().max() > 0.01


def test_the_gradient_is_that_of_the_token_mean(tmp_path: Path) -> None:
    """At ratio 1: - sum A log pi / tokens, and vf_coef half the squared value error / tokens."""
    from rlhf.models.batching import response_logprobs
    from rlhf.policy.ppo_models import state_values

    shape: Json = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    found = moved(tmp_path, vf_coef=0.7, **shape)
    twin = trainer_in(tmp_path, torch.float64, total_episodes=8, num_mini_batches=1, **shape)
    first = next(iter(RolloutBatches(len(PROMPTS), 8, 3, 1, twin.args.seed)))
    model: Any = twin.model
    held = shaped(twin.roller.roll(model, [PROMPTS[i] for i in first], 0), twin.shaping())
    mask = held.rows.response_mask
    logprobs = response_logprobs(model.policy, held.rows)
    values = state_values(model.value_model, held.rows, SHIFT)
    loss = -(held.advantages * logprobs) + 0.35 * (values - held.returns) ** 2
    ((loss * mask).sum() / mask.sum()).backward()
    assert torch.allclose(found, gradients(model), atol=1e-6)


def test_reference_and_reward_model_stay_as_they_were(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    start = parameters(trainer.model)  # type: ignore[arg-type]
    judge: Any = trainer.roller.rewards
    models: Any = (trainer.ref_model, judge.model)
    frozen = [parameters(model) for model in models]
    run(trainer)
    for model, before in zip(models, frozen, strict=True):
        assert torch.equal(parameters(model), before)
    assert not torch.equal(parameters(trainer.model), start)  # type: ignore[arg-type]


def test_same_seed_same_weights(tmp_path: Path) -> None:
    found = []
    for seed in (1, 1, 2):
        trainer = trainer_in(tmp_path, seed=seed)
        run(trainer)
        found.append(parameters(trainer.model))  # type: ignore[arg-type]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_fewer_prompts_than_a_rollout_are_enough(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, prompts=PROMPTS[:3])
    run(trainer)
    asked = trainer.roller.rewards.asked[:8]  # type: ignore[attr-defined]
    assert {p for p, _ in asked} == {p.ids for p in PROMPTS[:3]}
    assert len(set(asked)) > 5  # drawn anew each time, not one answer per prompt


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_mini_batches": 3}, "8 episodes .* does not divide into 3 mini-batches"),
        ({"num_mini_batches": 0}, "num_mini_batches must be above 0, got 0"),
        ({"total_episodes": 7}, "total_episodes is 7, less than one rollout of 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tmp_path: Path, changes: Json, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        trainer_in(tmp_path, **changes)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return (
        save(policy(300, dtype=torch.float32), folder / "policy"),
        save(reward_model(300, seed=4, dtype=torch.float32), folder / "reward"),
    )


def train(folder: Path, models: tuple[Path, Path], **changes: Any) -> list[Json]:
    logged: list[Json] = []
    lora = changes.pop("lora", None)
    settings = {
        "total_episodes": 24,
        "per_device_train_batch_size": 4,
        "num_mini_batches": 2,
        "num_ppo_epochs": 1,
        "response_length": 5,
        "temperature": 1.0,
        "missing_eos_penalty": 1.0,
        "learning_rate": 1e-3,
        **changes,
    }
    train_ppo(
        *models,
        PROMPTS,
        folder / "model",
        quiet_arguments(folder, **settings),
        dtype="float32",
        lora=lora,
        log=logged.append,
        progress=lambda *_: None,
    )
    return logged


def interrupted(folder: Path, models: tuple[Path, Path], step: int, **changes: Any) -> None:
    """The same training as `train`, killed as step number `step` begins."""
    config = PPOConfig(
        **quiet_arguments(
            folder,
            total_episodes=24,
            per_device_train_batch_size=4,
            num_mini_batches=2,
            num_ppo_epochs=1,
            response_length=5,
            temperature=1.0,
            missing_eos_penalty=1.0,
            learning_rate=1e-3,
            **changes,
        )
    )
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer(),
        model=load_policy(models[0]),
        value_model=load_scorer(models[1], PAD),
        ref_model=load_policy(models[0]),
        reward_model=Scorer(load_scorer(models[1], PAD), PAD),
        train_dataset=PROMPTS,
    )
    trainer.add_callback(interrupt_after(step))
    with pytest.raises(KeyboardInterrupt):
        run(trainer)


def both_models_of(trained: Path, value: Path) -> torch.Tensor:
    return torch.cat([parameters(load_policy(trained)), parameters(load_scorer(value, PAD))])


def both_models(folder: Path) -> torch.Tensor:
    """All weights of the saved policy and of the value model beside it."""
    return both_models_of(folder / "model", folder / "value")


@pytest.mark.parametrize("step", [6, 7])  # in the middle of a rollout, and at its beginning
def test_resuming_gives_the_weights_of_the_uninterrupted_training(
    tmp_path: Path, models: tuple[Path, Path], step: int
) -> None:
    saving: Json = {"save_strategy": "steps", "save_steps": 1}
    expected = train(tmp_path / "whole", models, **saving)
    interrupted(tmp_path / "cut", models, step, **saving)
    found = train(tmp_path / "cut", models, **saving)
    whole, cut = (both_models(tmp_path / name) for name in ("whole", "cut"))
    assert torch.equal(whole, cut)
    assert not torch.equal(whole, both_models_of(*models))
    names = ("step", "loss", "objective/kl", "objective/scores", "policy/approxkl_avg")
    assert [[row.get(n) for n in names] for row in found] == [
        [row.get(n) for n in names] for row in expected
    ]


def test_lora_trains_policy_and_value_model_and_is_merged(
    tmp_path: Path, models: tuple[Path, Path]
) -> None:
    logged = train(tmp_path, models, learning_rate=1e-2, lora=LoraSettings(r=4))
    assert logged[0]["objective/kl"] == 0
    for folder in ("model", "value"):
        assert not (tmp_path / folder / "adapter_config.json").exists()
    after, before = both_models(tmp_path), both_models_of(*models)
    assert after.shape == before.shape
    assert not torch.allclose(after, before, atol=1e-4)
