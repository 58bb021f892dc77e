"""A rollout: what is in it by enumeration, and that padding, order and company do not matter."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import EOS, PAD, every_response, gradients, policy, reward_model
from transformers import PreTrainedModel

from rlhf.data.identity import seed_from
from rlhf.models.batching import make_rows, response_logprobs
from rlhf.models.generation import Completion, Sampling, sample
from rlhf.models.loading import score_head
from rlhf.policy.advantages import policy_loss, token_rewards
from rlhf.policy.kl import kl_k1, kl_k3
from rlhf.policy.ppo_models import PolicyAndValue, state_values
from rlhf.policy.rollout import PromptIds, Roller, Rollout, Shaping, shape
from rlhf.reward.normalisation import normalise
from rlhf.reward.scorer import Scorer

BETA = 0.3
PROMPTS = [
    PromptIds("a", (5, 9, 11)),
    PromptIds("b", (7,)),
    PromptIds("c", (4, 4, 8, 30, 21, 6)),
    PromptIds("d", (12, 13)),
]


SHAPING = Shaping(BETA, missing_eos_penalty=1.0)
PLAIN = replace(SHAPING, whiten_advantages=False)


def roller(vocab_size: int = 40, dtype: torch.dtype = torch.float64, **changes: Any) -> Roller:
    made = Roller(
        rewards=Scorer(reward_model(vocab_size, seed=4, dtype=dtype), PAD),
        reference=policy(vocab_size, seed=9, dtype=dtype),
        sampling=Sampling(6),
        seed=3,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    return replace(made, **changes)


def reference_of(made: Roller) -> PreTrainedModel:
    assert made.reference is not None
    return made.reference


def evaluate(
    made: Roller,
    model: PreTrainedModel,
    value: PreTrainedModel,
    prompts: Sequence[PromptIds],
    answers: Sequence[Completion],
    shaping: Shaping = SHAPING,
) -> Rollout:
    return shape(made.measure(PolicyAndValue(model, value), prompts, answers), shaping)


def roll(
    made: Roller,
    model: PreTrainedModel,
    value: PreTrainedModel,
    prompts: Sequence[PromptIds],
    number: int,
) -> Rollout:
    return shape(made.roll(PolicyAndValue(model, value), prompts, number), SHAPING)


def value_model(vocab_size: int = 40, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    return reward_model(vocab_size, seed=5, dtype=dtype)


def completions(answers: Sequence[Sequence[int]]) -> list[Completion]:
    return [Completion(tuple(ids), ids[-1] == EOS) for ids in answers]


ANSWERS = [[6, 3, EOS], [9, 17, 20, 2, EOS], [EOS], [31, 8, 8, 8]]


def test_logprobs_kl_values_and_scores_by_their_definitions() -> None:
    judge, value = reward_model(seed=4), value_model()
    judge.config.reward_shift = value.config.reward_shift = 0.7
    made = roller(rewards=Scorer(judge, PAD))
    found = evaluate(made, policy(), value, PROMPTS, completions(ANSWERS))
    for row, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        ids = torch.tensor([[*prompt.ids, *answer]])
        with torch.no_grad():
            ours = torch.log_softmax(policy()(input_ids=ids).logits[0], -1)
            base = torch.log_softmax(reference_of(made)(input_ids=ids).logits[0], -1)
            states = value_model().model(input_ids=ids).last_hidden_state[0]
            worth = states @ score_head(value_model()).weight[0]
        start, n = len(prompt.ids), len(answer)
        for i, token in enumerate(answer):
            at = start + i - 1
            column = found.rows.input_ids.shape[1] - n + i
            assert float(found.logprobs[row, column]) == pytest.approx(
                float(ours[at, token]), abs=1e-10
            )
            gap = float(ours[at, token] - base[at, token])
            assert float(found.kl[row, column]) == pytest.approx(gap, abs=1e-10)
            assert float(found.values[row, column]) == pytest.approx(
                float(worth[at]) - 0.7, abs=1e-10
            )
        (score,) = made.rewards.score([prompt.ids], [answer])
        penalty = 0.0 if answer[-1] == EOS else 1.0
        assert float(found.scores[row]) == pytest.approx(score - penalty, abs=1e-5)
    assert found.finished.tolist() == [1, 1, 1, 0]
    outside = found.rows.response_mask == 0
    for values in (found.logprobs, found.kl, found.values, found.advantages, found.returns):
        assert not values[outside].any()


def test_values_and_scores_share_the_zero_of_the_reward() -> None:
    """A value model that starts as the reward model predicts the score at the last state."""
    model = reward_model(seed=4)
    normalise(model, [(p.ids, a) for p, a in zip(PROMPTS, ANSWERS, strict=True)], PAD)
    scorer = Scorer(model, PAD)
    assert abs(scorer.shift) > 0.01
    longer = make_rows([p.ids for p in PROMPTS], [[*a, 3] for a in ANSWERS], PAD)
    with torch.no_grad():
        found = state_values(model, longer, scorer.shift)[:, -1]
    assert found.tolist() == pytest.approx(
        scorer.score([p.ids for p in PROMPTS], ANSWERS), abs=1e-5
    )


def test_half_precision_values_are_kept_in_float32() -> None:
    rows = make_rows([p.ids for p in PROMPTS], ANSWERS, PAD)
    found = state_values(value_model(dtype=torch.bfloat16), rows, 0.123456)
    assert found.dtype == torch.float32
    assert (found[rows.response_mask == 0] == 0).all()


def test_kl_to_the_reference_is_zero_at_the_start() -> None:
    made = roller(reference=policy())
    found = evaluate(made, policy(), value_model(), PROMPTS, completions(ANSWERS))
    assert not found.kl.any()


def test_sums_of_a_rollout() -> None:
    made = roller()
    found = evaluate(made, policy(), value_model(), PROMPTS, completions(ANSWERS))
    with torch.no_grad():
        ours, base = (
            response_logprobs(m, found.rows).sum(1) for m in (policy(), reference_of(made))
        )
    assert torch.allclose(found.kl.sum(1), ours - base, atol=1e-10)
    mask = found.rows.response_mask
    rewards = token_rewards(found.scores, found.kl, mask, BETA)
    assert torch.allclose(rewards.sum(1), found.scores - BETA * (ours - base), atol=1e-6)
    before_last = rewards[:, :-1] + BETA * found.kl[:, :-1]
    assert torch.allclose(before_last, torch.zeros_like(before_last), atol=1e-12)
    white = found.advantages[mask.bool()]
    assert float(white.mean()) == pytest.approx(0, abs=1e-6)
    assert float(white.std(correction=0)) == pytest.approx(1, abs=1e-6)


def per_response(found: Rollout) -> list[tuple[list[float], ...]]:
    """The numbers of each response without its padding."""
    rows = []
    for row, mask in enumerate(found.rows.response_mask.bool()):
        parts = (found.logprobs, found.kl, found.values, found.advantages, found.returns)
        rows.append(tuple(part[row][mask].tolist() for part in parts))
    return rows


def test_padding_and_order_change_nothing() -> None:
    made = roller(dtype=torch.float32)
    model, value = policy(dtype=torch.float32), value_model(dtype=torch.float32)
    together = per_response(evaluate(made, model, value, PROMPTS, completions(ANSWERS), PLAIN))
    alone = [
        per_response(evaluate(made, model, value, [p], completions([a]), PLAIN))[0]
        for p, a in zip(PROMPTS, ANSWERS, strict=True)
    ]
    wide = [*PROMPTS, PromptIds("z", (3,) * 40)]
    padded = per_response(
        evaluate(made, model, value, wide, completions([*ANSWERS, [EOS]]), PLAIN)
    )[:-1]
    turned = per_response(
        evaluate(made, model, value, PROMPTS[::-1], completions(ANSWERS[::-1]), PLAIN)
    )
    for other in (alone, padded, turned[::-1]):
        for row, expected in zip(other, together, strict=True):
            for numbers, wanted in zip(row, expected, strict=True):
                assert numbers == pytest.approx(wanted, abs=1e-5)


def sampled(found: Rollout) -> list[list[int]]:
    return [
        ids[mask].tolist()
        for ids, mask in zip(found.rows.input_ids, found.rows.response_mask.bool(), strict=True)
    ]


def test_samples_belong_to_seed_prompt_and_rollout() -> None:
    made, model, value = roller(dtype=torch.float32), policy(dtype=torch.float32), value_model()
    value = value_model(dtype=torch.float32)
    expected = sample(
        model,
        [prompt.ids for prompt in PROMPTS],
        [seed_from("rollout", 3, prompt.id, 7) for prompt in PROMPTS],
        Sampling(6),
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    found = sampled(roll(made, model, value, PROMPTS, 7))
    assert found == [list(one.ids) for one in expected]
    assert sampled(roll(made, model, value, PROMPTS[::-1], 7)) == found[::-1]
    assert sampled(roll(made, model, value, PROMPTS[2:3], 7)) == found[2:3]
    assert sampled(roll(made, model, value, PROMPTS, 8)) != found
    assert sampled(roll(replace(made, seed=4), model, value, PROMPTS, 7)) != found


def test_a_prompt_that_stands_twice_in_a_rollout_is_answered_twice() -> None:
    made, model = roller(dtype=torch.float32), policy(dtype=torch.float32)
    value = value_model(dtype=torch.float32)
    once = sampled(roll(made, model, value, PROMPTS[:1], 0))
    thrice = sampled(roll(made, model, value, [PROMPTS[0]] * 3, 0))
    assert thrice[0] == once[0]
    assert len({tuple(ids) for ids in thrice}) == 3


def test_temperature_is_the_same_in_sampling_and_in_logprobs() -> None:
    made = roller(sampling=Sampling(6, temperature=0.5))
    found = evaluate(made, policy(), value_model(), PROMPTS, completions(ANSWERS))
    with torch.no_grad():
        expected = response_logprobs(policy(), found.rows, 0.5)
        base = response_logprobs(reference_of(made), found.rows, 0.5)
    assert torch.allclose(found.logprobs, expected, atol=1e-12, rtol=0)
    assert torch.allclose(found.kl, expected - base, atol=1e-12, rtol=0)
    assert not torch.allclose(expected, response_logprobs(policy(), found.rows).detach(), atol=0.1)


# Below, one prompt with every response of at most three tokens from four.

RESPONSES = list(every_response(4, 3))
PROMPT = PromptIds("p", (2, 3))


def enumerated(model: PreTrainedModel, **changes: Any) -> tuple[Roller, Rollout]:
    made = roller(4, **changes)
    prompts = [PROMPT] * len(RESPONSES)
    shaping = replace(PLAIN, lam=1.0)
    return made, evaluate(made, model, value_model(4), prompts, completions(RESPONSES), shaping)


def test_estimators_are_the_kl_on_average_over_all_responses() -> None:
    _, found = enumerated(policy(4))
    ours = found.logprobs.sum(1)
    base = found.reference.sum(1)
    assert float(ours.exp().sum()) == pytest.approx(1, abs=1e-8)
    assert float(base.exp().sum()) == pytest.approx(1, abs=1e-8)
    exact = float((ours.exp() * (ours - base)).sum())
    assert exact > 0.1
    for estimate in (kl_k1(ours, base), kl_k3(ours, base)):
        assert float((ours.exp() * estimate).sum()) == pytest.approx(exact, abs=1e-8)


def test_the_objective_is_least_short_at_pi_star() -> None:
    """J* - J(pi) = beta KL(pi, pi*), J being the expected sum of the token rewards."""
    _, found = enumerated(policy(4))
    ours = found.logprobs.sum(1)
    base = found.reference.sum(1)
    scores = found.scores.double()
    rewards = token_rewards(scores, found.kl, found.rows.response_mask, BETA).sum(1)
    achieved = float((ours.exp() * rewards).sum())
    best = torch.log_softmax(base + scores / BETA, 0)
    reachable = float(BETA * torch.logsumexp(base + scores / BETA, 0))
    short = float(BETA * (ours.exp() * (ours - best)).sum())
    assert short > 0.1
    assert reachable - achieved == pytest.approx(short, abs=1e-8)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_policy_gradient_is_that_of_the_objective(temperature: float) -> None:
    """Expected over all responses, with any value model as baseline; ratio 1, lambda 1."""
    model = policy(4)
    _, found = enumerated(model, sampling=Sampling(3, temperature))
    probabilities = found.logprobs.sum(1).exp()
    mask = found.rows.response_mask
    again = response_logprobs(model, found.rows, temperature)
    surrogate, clipped = policy_loss(again, found.logprobs, found.advantages, mask, 0.2)
    assert not clipped.any()
    (probabilities[:, None] * surrogate * mask).sum().backward()
    estimated = gradients(model)

    exact = policy(4)
    ours = response_logprobs(exact, found.rows, temperature).sum(1)
    base = found.reference.sum(1)
    objective = (ours.exp() * (found.scores.double() - BETA * (ours - base))).sum()
    (-objective).backward()
    assert torch.allclose(estimated, gradients(exact), atol=1e-8)
    assert estimated.abs().max() > 0.01
