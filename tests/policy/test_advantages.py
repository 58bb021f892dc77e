"""What PPO computes from a rollout: rewards per token, advantages, whitening, KL, clipping."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.policy.advantages import (
    gae,
    masked_mean,
    masked_whiten,
    policy_loss,
    token_rewards,
    value_loss,
)
from rlhf.policy.kl import kl_k1, kl_k3

MASK = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 0, 0, 1]])


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def on_mask(values: torch.Tensor) -> torch.Tensor:
    return values[MASK.bool()]


def with_nan_outside(values: torch.Tensor) -> torch.Tensor:
    return torch.where(MASK.bool(), values, math.nan)


def test_token_rewards_by_hand() -> None:
    kl = torch.tensor([[9.0, 9.0, 1.0, 2.0, 3.0], [9.0, -1.0, 0.0, 1.0, 2.0]])
    found = token_rewards(torch.tensor([5.0, -2.0]), kl, MASK[:2], 0.1)
    expected = [[0.0, 0.0, -0.1, -0.2, 4.7], [0.0, 0.1, 0.0, -0.1, -2.2]]
    assert torch.allclose(found, torch.tensor(expected))


def test_rewards_sum_to_the_score_less_the_kl() -> None:
    kl, scores = random(1, 3, 5), random(2, 3)
    total = token_rewards(scores, with_nan_outside(kl), MASK, 0.3).sum(1)
    assert torch.allclose(total, scores - 0.3 * (kl * MASK).sum(1), atol=1e-12)


def test_gae_by_hand() -> None:
    rewards = torch.tensor([[0.0, 1.0, 0.0, 2.0]])
    values = torch.tensor([[0.0, 0.5, 1.0, 1.5]])
    mask = torch.tensor([[0, 1, 1, 1]])
    advantages, returns = gae(rewards, values, mask, 0.9, 0.5)
    last = 2 - 1.5  # .5
    middle = 0 + 0.9 * 1.5 - 1 + 0.45 * last  # .575
    first = 1 + 0.9 * 1 - 0.5 + 0.45 * middle  # 1.65875
    assert advantages[0].tolist() == pytest.approx([0, first, middle, last])
    assert returns[0].tolist() == pytest.approx([0, first + 0.5, middle + 1, 2])


def test_gae_without_discount_is_the_return_less_the_value() -> None:
    rewards, values = random(3, 3, 5) * MASK, random(4, 3, 5) * MASK
    advantages, returns = gae(rewards, values, MASK, 1, 1)
    ahead = rewards.flip(1).cumsum(1).flip(1)
    assert torch.allclose(on_mask(returns), on_mask(ahead), atol=1e-12)
    assert torch.allclose(on_mask(advantages + values), on_mask(ahead), atol=1e-12)


def test_gae_with_lambda_0_is_the_temporal_difference() -> None:
    rewards, values = random(5, 3, 5) * MASK, random(6, 3, 5) * MASK
    advantages, _ = gae(rewards, values, MASK, 0.9, 0)
    after = torch.nn.functional.pad(values[:, 1:], (0, 1))
    assert torch.allclose(on_mask(advantages), on_mask(rewards + 0.9 * after - values), atol=1e-12)


def test_nothing_gained_and_nothing_expected_is_no_advantage() -> None:
    zero = torch.zeros(3, 5)
    advantages, returns = gae(zero, zero, MASK, 1, 0.95)
    assert not advantages.any()
    assert not returns.any()


def test_what_stands_in_the_padding_cannot_matter() -> None:
    rewards, values = random(7, 3, 5), random(8, 3, 5)
    clean = gae(rewards * MASK, values * MASK, MASK, 0.99, 0.95)
    dirty = gae(with_nan_outside(rewards), with_nan_outside(values), MASK, 0.99, 0.95)
    for a, b in zip(clean, dirty, strict=True):
        assert torch.equal(a, b)
        assert not (a * (1 - MASK)).any()
    assert masked_mean(with_nan_outside(rewards), MASK) == pytest.approx(on_mask(rewards).mean())
    assert torch.allclose(
        masked_whiten(with_nan_outside(rewards), MASK), masked_whiten(rewards, MASK)
    )


@settings(deadline=None)
@given(st.floats(0.1, 50), st.floats(-50, 50), st.integers(0, 1000))
def test_whitening(scale: float, shift: float, seed: int) -> None:
    values = random(seed, 3, 5)
    white = masked_whiten(values, MASK)
    assert float(on_mask(white).mean()) == pytest.approx(0, abs=1e-6)
    assert float(on_mask(white).std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert torch.allclose(white, masked_whiten(values * scale + shift, MASK), atol=1e-5)
    kept = masked_whiten(values, MASK, shift_mean=False)
    assert torch.allclose(on_mask(kept - white), on_mask(values).mean(), atol=1e-12)


def test_whitening_equal_values_is_finite() -> None:
    assert not masked_whiten(torch.full((3, 5), 2.0), MASK).any()


def distribution(seed: int) -> torch.Tensor:
    return torch.log_softmax(random(seed, 12), 0)


@pytest.mark.parametrize("seed", range(5))
def test_both_estimators_are_the_kl_on_average_and_k3_is_never_negative(seed: int) -> None:
    ours, reference = distribution(seed), distribution(seed + 100)
    exact = (ours.exp() * (ours - reference)).sum()
    assert torch.isclose((ours.exp() * kl_k1(ours, reference)).sum(), exact, atol=1e-12)
    assert torch.isclose((ours.exp() * kl_k3(ours, reference)).sum(), exact, atol=1e-12)
    assert (kl_k3(ours, reference) >= 0).all()
    assert (kl_k1(ours, reference) < 0).any()
    assert not kl_k3(ours, ours).any()


def clip_gradient(advantage: float, ratio: float) -> tuple[float, bool]:
    """d loss / d log pi of one token, and whether it is reported as clipped."""
    new = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    old, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1)
    loss, clipped = policy_loss(new, old, one.double() * advantage, one, 0.2)
    loss.sum().backward()
    assert new.grad is not None
    return float(new.grad), bool(clipped)


@pytest.mark.parametrize(("advantage", "ratio"), [(1.5, 1.21), (1.5, 3.0), (-1.5, 0.79), (-2, 0.1)])
def test_beyond_the_clip_there_is_no_gradient(advantage: float, ratio: float) -> None:
    assert clip_gradient(advantage, ratio) == (0.0, True)


@pytest.mark.parametrize(
    ("advantage", "ratio"),
    [(1.5, 0.5), (1.5, 1.0), (1.5, 1.19), (-1.5, 3.0), (-1.5, 1.0), (-1.5, 0.81)],
)
def test_elsewhere_the_gradient_is_that_of_the_ratio(advantage: float, ratio: float) -> None:
    gradient, clipped = clip_gradient(advantage, ratio)
    assert gradient == pytest.approx(-advantage * ratio)
    assert not clipped


def test_policy_loss_by_hand() -> None:
    new = torch.tensor([[math.log(1.5), math.log(0.9), math.log(1.5)]])
    advantages = torch.tensor([[2.0, -1.0, -1.0]])
    loss, clipped = policy_loss(new, torch.zeros(1, 3), advantages, torch.ones(1, 3), 0.2)
    assert loss[0].tolist() == pytest.approx([-2 * 1.2, 0.9, 1.5])
    assert clipped[0].tolist() == [True, False, False]


def test_policy_loss_outside_the_mask_is_not_made_of_log_ratios() -> None:
    new, old = with_nan_outside(random(9, 3, 5)), with_nan_outside(random(10, 3, 5))
    loss, clipped = policy_loss(new, old, torch.zeros(3, 5), MASK, 0.2)
    assert torch.isfinite(loss).all()
    assert not clipped.any()


def test_value_loss_by_hand() -> None:
    # Within the clip: the plain error. Beyond it on the near side: the larger error counts.
    values = torch.tensor([[1.1, 2.0, 0.0]])
    old, returns = torch.tensor([[1.0, 1.0, 1.0]]), torch.tensor([[2.0, 2.0, 2.0]])
    found, clipped = value_loss(values, old, returns, 0.2)
    assert found[0].tolist() == pytest.approx([0.5 * 0.9**2, 0.5 * 0.8**2, 0.5 * 2.0**2])
    assert clipped[0].tolist() == [False, True, False]


def test_no_value_within_the_clip_counts_as_clipped() -> None:
    """Nor one that differs by what rounding left: the share would be of noise."""
    generator = torch.Generator().manual_seed(0)
    old, new, returns = torch.randn(3, 10_000, generator=generator) * 0.05
    assert (new - old).abs().max() < 0.3
    _, clipped = value_loss(new, old, returns, 0.3)
    assert not clipped.any()


def test_finite_differences_agree() -> None:
    old, advantages, returns = random(11, 3, 5) / 5, random(12, 3, 5), random(13, 3, 5)
    new = (old + random(14, 3, 5) / 4).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: policy_loss(x, old, advantages, MASK, 0.2)[0] * MASK, (new,), atol=1e-6
    )
    values = (old + random(15, 3, 5) / 4).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: value_loss(x, old, returns, 0.2)[0], (values,), atol=1e-6
    )
    assert torch.autograd.gradcheck(lambda x: kl_k3(x, old), (new,), atol=1e-6)
