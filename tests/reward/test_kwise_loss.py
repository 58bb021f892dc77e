"""The K-wise ranking loss against hand-worked numbers, torch, and its own definition."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.reward.losses import kwise_loss

numbers = st.floats(-8, 8, allow_nan=False)


def loss(
    scores: list[float] | torch.Tensor, pairs: list[tuple[int, int]], weight: list[float]
) -> torch.Tensor:
    better, worse = zip(*pairs, strict=True)
    held = scores if isinstance(scores, torch.Tensor) else torch.tensor(scores, dtype=torch.float64)
    shares = torch.tensor(weight, dtype=torch.float64)
    return kwise_loss(held, torch.tensor(better), torch.tensor(worse), shares)


def in_order(count: int, start: int = 0) -> list[tuple[int, int]]:
    """All pairs of a strict ranking, best first."""
    return list(itertools.combinations(range(start, start + count), 2))


def test_three_responses_by_hand() -> None:
    # log(1+e^-2) = .126928, log(1+e^-3) = .048587, log(1+e^-1) = .313262: a third each.
    found = loss([2.0, 0.0, -1.0], in_order(3), [1 / 3] * 3)
    assert float(found) == pytest.approx((0.1269280 + 0.0485874 + 0.3132617) / 3, abs=1e-6)


@settings(deadline=None)
@given(numbers)
def test_equal_scores_cost_ln_2(score: float) -> None:
    assert float(loss([score] * 4, in_order(4), [1.0] * 6)) == pytest.approx(math.log(2), abs=1e-12)


@settings(deadline=None)
@given(numbers)
def test_loss_of_a_difference_and_of_its_negative(difference: float) -> None:
    right = float(loss([difference, 0.0], [(0, 1)], [1.0]))
    wrong = float(loss([difference, 0.0], [(1, 0)], [1.0]))
    assert right - wrong == pytest.approx(-difference, abs=1e-10)
    assert math.exp(-right) + math.exp(-wrong) == pytest.approx(1, abs=1e-10)


@settings(deadline=None)
@given(st.lists(numbers, min_size=6, max_size=6), numbers, numbers)
def test_a_shift_per_prompt_changes_nothing(scores: list[float], one: float, two: float) -> None:
    pairs, weight = in_order(3) + in_order(3, 3), [1 / 3] * 6
    shifted = [s + (one if i < 3 else two) for i, s in enumerate(scores)]
    assert float(loss(shifted, pairs, weight)) == pytest.approx(float(loss(scores, pairs, weight)))


@settings(deadline=None)
@given(numbers, numbers)
def test_two_responses_are_the_pairwise_loss(better: float, worse: float) -> None:
    pairwise = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(better - worse, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    )
    found = loss([better, worse], [(0, 1)], [1.0])
    assert float(found) == pytest.approx(float(pairwise), abs=1e-7)


def plackett_luce(scores: torch.Tensor) -> torch.Tensor:
    """-log of the probability of the order 0, 1, 2, ... under Plackett (1975)."""
    chosen = [scores[i] - scores[i:].logsumexp(0) for i in range(len(scores) - 1)]
    return -torch.stack(chosen).sum()


def test_plackett_luce_is_the_same_for_two_and_another_for_three() -> None:
    scores = torch.tensor([0.4, -0.3, 1.1], dtype=torch.float64)
    two = loss(scores[:2], in_order(2), [1.0])
    assert float(two) == pytest.approx(float(plackett_luce(scores[:2])), abs=1e-12)
    three = loss(scores, in_order(3), [1 / 3] * 3)
    assert abs(float(three) - float(plackett_luce(scores)) / 3) > 0.05


def test_gradient_is_the_mean_of_the_gradients_of_the_pairs() -> None:
    scores = torch.tensor([0.4, -0.3, 1.1, 0.2], dtype=torch.float64, requires_grad=True)
    loss(scores, in_order(4), [1 / 6] * 6).backward()
    expected = torch.zeros(4, dtype=torch.float64)
    for better, worse in in_order(4):
        push = torch.sigmoid(scores.detach()[worse] - scores.detach()[better]) / 6
        expected[better] -= push
        expected[worse] += push
    assert scores.grad is not None
    assert torch.allclose(scores.grad, expected, atol=1e-12)


@settings(deadline=None)
@given(st.permutations(range(5)), st.permutations(range(10)))
def test_order_of_responses_and_of_pairs_does_not_matter(
    places: list[int], turns: list[int]
) -> None:
    scores = torch.tensor([0.4, -0.3, 1.1, 0.2, -2.0], dtype=torch.float64)
    pairs, weight = in_order(5), [0.1 * n for n in range(1, 11)]
    moved = torch.empty_like(scores)
    moved[torch.tensor(places)] = scores
    turned = [(places[pairs[t][0]], places[pairs[t][1]]) for t in turns]
    found = loss(moved, turned, [weight[t] for t in turns])
    assert float(found) == pytest.approx(float(loss(scores, pairs, weight)), abs=1e-12)


def test_weights_are_shares() -> None:
    scores = [0.5, -0.5, 2.0]
    once = loss(scores, [(0, 1), (2, 0)], [3.0, 1.0])
    twice = loss(scores, [(0, 1), (0, 1), (0, 1), (2, 0)], [1.0] * 4)
    assert float(once) == pytest.approx(float(twice), abs=1e-12)
    mean = (3 * math.log1p(math.exp(-1)) + math.log1p(math.exp(-1.5))) / 4
    assert float(once) == pytest.approx(mean, abs=1e-7)


def test_finite_differences_agree() -> None:
    scores = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scores.requires_grad_()
    weight = [0.05 * n for n in range(1, 11)]
    assert torch.autograd.gradcheck(lambda s: loss(s, in_order(5), weight), (scores,), atol=1e-7)


def test_far_scores_stay_finite() -> None:
    assert float(loss([1e4, -1e4], [(0, 1)], [1.0])) == 0
    assert float(loss([1e4, -1e4], [(1, 0)], [1.0])) == 2e4


@pytest.mark.parametrize("weight", [[], [0.0, 0.0], [math.nan, 1.0]])
def test_a_batch_without_weight_is_refused(weight: list[float]) -> None:
    pairs = torch.tensor([[0, 1]] * len(weight), dtype=torch.long).reshape(-1, 2)
    with pytest.raises(ValueError, match="no pair with weight: every ranking in it is tied or em"):
        kwise_loss(torch.zeros(2), pairs[:, 0], pairs[:, 1], torch.tensor(weight))


@settings(deadline=None)
@given(numbers, st.lists(st.tuples(st.booleans(), st.floats(0.1, 1)), min_size=1, max_size=6))
def test_several_votes_on_a_pair_are_one_soft_label(
    gap: float, votes: list[tuple[bool, float]]
) -> None:
    """The mean over votes is the cross entropy with their (weighted) share: loss and gradient. So
    disagreement needs no option of its own.
    """
    total = sum(weight for _, weight in votes)
    share = sum(weight for first, weight in votes if first) / total
    scores = torch.tensor([gap, 0.0], dtype=torch.float64, requires_grad=True)
    pairs = [(0, 1) if first else (1, 0) for first, _ in votes]
    hard = loss(scores, pairs, [weight for _, weight in votes])
    soft = torch.nn.functional.binary_cross_entropy_with_logits(
        scores[0] - scores[1], torch.tensor(share, dtype=torch.float64)
    )
    assert float(hard.detach()) == pytest.approx(float(soft.detach()), abs=1e-9)
    (found,) = torch.autograd.grad(hard, scores)
    (expected,) = torch.autograd.grad(soft, scores)
    assert torch.allclose(found, expected, atol=1e-9)
