"""Losses that know ties, margins, smoothing and centring: by hand, by enumeration, by finite
differences.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.reward.losses import (
    Rankings,
    davidson_loss,
    kwise_loss,
    off_center,
    plackett_luce_loss,
    ranking_loss,
)
from rlhf.reward.objective import Objective
from rlhf.reward.rankings import Order, RankedPrompt, collate

SCORES = torch.tensor([0.4, -0.3, 1.1, 0.2], dtype=torch.float64)
Groups = tuple[tuple[int, ...], ...]


def rankings(*orders: Groups, count: int = 4, weights: Sequence[float] | None = None) -> Rankings:
    """One prompt with these rankings of `count` responses."""
    shares = weights or [1 / len(orders)] * len(orders)
    voted = tuple(Order(groups, share) for groups, share in zip(orders, shares, strict=True))
    answers = tuple((7 + i,) for i in range(count))
    one = RankedPrompt("a", (5,), answers, (1,) * count, (), (), (), (), voted)
    return collate([one], range(count), 0).rankings


def weak_orders(items: tuple[int, ...]) -> Iterator[Groups]:
    """Every ranking of the items, ties allowed: 3, 13, 75 for 2, 3, 4 items."""
    if not items:
        yield ()
        return
    for size in range(1, len(items) + 1):
        for group in itertools.combinations(items, size):
            rest = tuple(item for item in items if item not in group)
            for tail in weak_orders(rest):
                yield (group, *tail)


def nu(value: float) -> torch.Tensor:
    return torch.tensor(math.log(value), dtype=torch.float64)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("prevalence", [0.3, 1.0, 4.0])
def test_probabilities_of_all_rankings_with_ties_sum_to_one(count: int, prevalence: float) -> None:
    orders = list(weak_orders(tuple(range(count))))
    assert len(orders) == {2: 3, 3: 13, 4: 75}[count]
    total = 0.0
    for groups in orders:
        choices = rankings(groups, count=count).choices
        loss = plackett_luce_loss(SCORES, choices, nu(prevalence))
        total += math.exp(-float(loss) * len(choices.weight))  # the loss is a mean over choices
    assert total == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_probabilities_of_all_strict_rankings_sum_to_one(count: int) -> None:
    total = 0.0
    for order in itertools.permutations(range(count)):
        choices = rankings(tuple((i,) for i in order), count=count).choices
        total += math.exp(-float(plackett_luce_loss(SCORES, choices, None)) * (count - 1))
    assert total == pytest.approx(1, abs=1e-7)


@settings(deadline=None)
@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(0.01, 10))
def test_a_pair_is_won_lost_or_tied(first: float, second: float, prevalence: float) -> None:
    scores = torch.tensor([first, second], dtype=torch.float64)
    outcomes: list[Groups] = [((0,), (1,)), ((1,), (0,)), ((0, 1),)]
    losses = [
        float(davidson_loss(scores, rankings(one, count=2).pairs, nu(prevalence)))
        for one in outcomes
    ]
    assert sum(math.exp(-loss) for loss in losses) == pytest.approx(1, abs=1e-7)
    for one, loss in zip(outcomes, losses, strict=True):
        other = plackett_luce_loss(scores, rankings(one, count=2).choices, nu(prevalence))
        assert float(other) == pytest.approx(loss, abs=1e-7)


def test_davidson_by_hand() -> None:
    # Worths 2 and 1 with nu 0.5: a tie has 0.5 sqrt 2 = 0.7071, all 3.7071.
    scores = torch.tensor([math.log(2), 0.0], dtype=torch.float64)
    won = davidson_loss(scores, rankings(((0,), (1,)), count=2).pairs, nu(0.5))
    tied = davidson_loss(scores, rankings(((0, 1),), count=2).pairs, nu(0.5))
    assert math.exp(-float(won)) == pytest.approx(2 / 3.7071068, abs=1e-7)
    assert math.exp(-float(tied)) == pytest.approx(0.7071068 / 3.7071068, abs=1e-7)


def test_plackett_luce_with_a_tie_by_hand() -> None:
    # Worths 4, 1, 1 and nu 1/2: first {0} of 4 + 1 + 1 + (2 + 2 + 1) / 2 + 4^(1/3) / 4, then the
    # tie of 1/2 in 1 + 1 + 1/2.
    scores = torch.tensor([math.log(4), 0.0, 0.0], dtype=torch.float64)
    loss = plackett_luce_loss(scores, rankings(((0,), (1, 2)), count=3).choices, nu(0.5))
    first = 4 / (6 + 2.5 + 4 ** (1 / 3) / 4)
    assert math.exp(-2 * float(loss)) == pytest.approx(first * 0.2, abs=1e-7)


def test_without_ties_all_are_bradley_terry_for_two() -> None:
    held = rankings(((1,), (0,)), count=2)
    plain = kwise_loss(SCORES, torch.tensor([1]), torch.tensor([0]), torch.ones(1))
    assert float(davidson_loss(SCORES, held.pairs, nu(1e-12))) == pytest.approx(float(plain))
    assert float(plackett_luce_loss(SCORES, held.choices, None)) == pytest.approx(float(plain))
    assert float(plackett_luce_loss(SCORES, held.choices, nu(1e-12))) == pytest.approx(float(plain))


def test_plackett_luce_differs_for_three() -> None:
    held = rankings(((0,), (1,), (2,)), count=3)
    pairs = held.pairs
    plain = kwise_loss(SCORES, pairs.better, pairs.worse, pairs.weight)
    assert abs(float(plackett_luce_loss(SCORES, held.choices, None)) - float(plain)) > 0.05


@pytest.mark.parametrize(
    "objective",
    [
        Objective(margin=0.7, label_smoothing=0.1, centering=0.3),
        Objective(loss="davidson", centering=0.3),
        Objective(loss="plackett-luce", centering=0.3),
    ],
)
def test_finite_differences_agree(objective: Objective) -> None:
    answers, share = ((7,), (8,), (9,), (6,)), (0.5, 0.3, 0.2)
    orders = (Order(((2,), (0, 1), (3,)), 0.6), Order(((1, 2, 3),), 0.4))
    one = RankedPrompt("a", (5,), answers, (1,) * 4, (2, 2, 0), (0, 1, 3), share, (1, 2, 3), orders)
    held = collate([one], range(4), 0).rankings
    scores, log_nu = SCORES.clone().requires_grad_(), nu(0.6).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s, n: ranking_loss(s, held, objective, n), (scores, log_nu), atol=1e-5
    )
    moved = scores + 3  # the centring alone knows where zero is
    without = Objective(objective.loss, objective.margin, objective.label_smoothing)
    with torch.no_grad():
        here, there = (ranking_loss(s, held, without, log_nu) for s in (scores, moved))
    assert float(there) == pytest.approx(float(here), abs=1e-7)


def test_far_scores_stay_finite() -> None:
    far = torch.tensor([90.0, -90.0, 0.0, 40.0], requires_grad=True)
    held = rankings(((1,), (0, 2), (3,)))
    for loss in (
        plackett_luce_loss(far, held.choices, torch.zeros(())),
        davidson_loss(far, held.pairs, torch.zeros(())),
    ):
        far.grad = None
        loss.backward()
        assert far.grad is not None
        assert torch.isfinite(far.grad).all()
        assert torch.isfinite(loss)


def test_margin_is_taken_off_the_gap() -> None:
    better, worse, weight = torch.tensor([0]), torch.tensor([1]), torch.ones(1)
    # gap 0.7, margin 0.2: log(1 + e^-0.5) = 0.474077
    found = kwise_loss(SCORES, better, worse, weight, margin=torch.tensor([0.2]))
    assert float(found) == pytest.approx(0.4740770, abs=1e-6)
    none = kwise_loss(SCORES, better, worse, weight, margin=torch.zeros(1))
    assert float(none) == float(kwise_loss(SCORES, better, worse, weight))


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_smoothing_is_a_mixture_and_stands_still_at_its_own_odds(share: float) -> None:
    weight = torch.ones(1, dtype=torch.float64)
    sides = torch.tensor([0]), torch.tensor([1])
    gap = torch.tensor([math.log((1 - share) / share), 0.0], dtype=torch.float64).requires_grad_()
    found = kwise_loss(gap, *sides, weight, label_smoothing=share)
    right, wrong = kwise_loss(gap, *sides, weight), kwise_loss(gap, *sides[::-1], weight)
    assert float(found) == pytest.approx(float((1 - share) * right + share * wrong), abs=1e-12)
    found.backward()
    assert gap.grad is not None
    assert float(gap.grad.abs().max()) < 1e-5


def test_centring_is_the_squared_sum_of_each_pair() -> None:
    pairs = rankings(((0,), (1,)), count=2).pairs
    scores = torch.tensor([1.5, 0.5])
    assert float(off_center(scores, pairs)) == pytest.approx(4)
    assert float(off_center(scores - 1, pairs)) == pytest.approx(0)


def test_a_ranking_of_a_prompt_counts_by_its_share() -> None:
    one, two = ((0,), (1,), (2,), (3,)), ((3,), (2, 1))  # three choices and two
    for objective in (Objective("davidson"), Objective("plackett-luce")):
        apart = [ranking_loss(SCORES, rankings(g), objective, nu(0.5)) for g in (one, two)]
        both = ranking_loss(SCORES, rankings(one, two, weights=[0.25, 0.75]), objective, nu(0.5))
        assert float(both) == pytest.approx(float(0.25 * apart[0] + 0.75 * apart[1]), abs=1e-6)


def test_a_tie_without_nu_is_refused() -> None:
    with pytest.raises(ValueError, match="a ranking holds a tie"):
        plackett_luce_loss(SCORES, rankings(((0, 1), (2,))).choices, None)


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"margin": -1.0}, "must not be negative"),
        ({"loss": "hinge"}, "no loss 'hinge': there are bradley-terry, plackett-luce, davidson"),
        ({"label_smoothing": 0.5}, "must lie in 0 to 0.5"),
        ({"loss": "davidson", "margin": 1.0}, "go with bradley-terry, not davidson"),
        ({"nu": 1.0}, "nu goes with plackett-luce and davidson"),
        ({"loss": "davidson", "nu": 0.0}, "nu must be above 0, got 0.0"),
    ],
)
def test_settings_that_contradict_one_another(settings_: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Objective(**settings_)  # type: ignore[arg-type]
