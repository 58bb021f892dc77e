"""Best-of-n: the pool estimate by brute force, the chosen distribution by enumeration, and what is
never chosen.
"""

import itertools
import math
from collections.abc import Sequence
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import EOS, PAD, policy, reward_model, tokenizer

from rlhf.data.identity import Json
from rlhf.evaluation.winrate import best_of_n_kl_bound, win_rate
from rlhf.models.generation import Completion, Sampling
from rlhf.policy.best_of_n import choose, pool_estimate, sample_and_choose
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer

PROMPT = PromptIds("a", (5, 6))
CHANCES = (0.5, 0.2, 0.05, 0.25)  # of four responses
REWARDS = (0.3, -1.0, 2.0, 0.9)


def chosen_of(draw: Sequence[int]) -> int:
    """Which response the shipped code takes from a draw."""
    pool = [Completion((7 + i, EOS), finished=True) for i in draw]
    (best,), _ = choose([PROMPT], [pool], [[REWARDS[i] for i in draw]], 0.0)
    return best.ids[0] - 7


def best_of(n: int) -> list[float]:
    """The chance of each response to be the best of n, over all draws."""
    found = [0.0] * len(CHANCES)
    for draw in itertools.product(range(len(CHANCES)), repeat=n):
        found[chosen_of(draw)] += math.prod(CHANCES[i] for i in draw)
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_by_enumeration_it_stays_within_the_bounds(n: int) -> None:
    found = best_of(n)
    assert sum(found) == pytest.approx(1, abs=1e-10)
    kl = sum(p * math.log(p / q) for p, q in zip(found, CHANCES, strict=True) if p)
    assert -1e-12 <= kl <= best_of_n_kl_bound(n) + 1e-12
    wins = sum(
        found[i] * CHANCES[j] * win_rate([REWARDS[i]], [REWARDS[j]]).rate
        for i in range(4)
        for j in range(4)
    )
    assert 0.5 - 1e-12 <= wins <= n / (n + 1) + 1e-12
    if n == 1:
        assert found == pytest.approx(list(CHANCES), abs=1e-12)
    else:
        assert kl > 0.1


@pytest.mark.parametrize(("size", "n"), [(2, 1), (3, 2), (4, 2), (4, 3)])
def test_over_all_pools_the_estimate_is_best_of_n_exactly(size: int, n: int) -> None:
    exact = sum(p * r for p, r in zip(best_of(n), REWARDS, strict=True))
    mean = sum(
        math.prod(CHANCES[i] for i in draw)
        * pool_estimate([REWARDS[i] for i in draw], [REWARDS[i] for i in draw], n)
        for draw in itertools.product(range(4), repeat=size)
    )
    assert mean == pytest.approx(exact, abs=1e-10)


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.floats(-5, 5)), min_size=1, max_size=8), st.data()
)
def test_the_estimate_is_the_mean_over_all_subsets(
    pool: list[tuple[int, float]], data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, len(pool)))
    scores = [score + 1e-3 * i for i, (score, _) in enumerate(pool)]  # no two alike
    values = [value for _, value in pool]
    best = [
        values[max(subset, key=scores.__getitem__)]
        for subset in itertools.combinations(range(len(pool)), n)
    ]
    assert pool_estimate(scores, values, n) == pytest.approx(fmean(best), abs=1e-10)


def test_of_one_the_mean_of_all_the_maximum() -> None:
    assert pool_estimate(REWARDS, REWARDS, 1) == pytest.approx(fmean(REWARDS), abs=1e-12)
    assert pool_estimate(REWARDS, REWARDS, 4) == pytest.approx(2.0, abs=1e-12)
    # Best of 2 by hand: the ranks -1, .3, .9, 2 are best in 0, 1, 2, 3 of 6 pairs.
    assert pool_estimate(REWARDS, REWARDS, 2) == pytest.approx((0.3 + 2 * 0.9 + 3 * 2) / 6)
    with pytest.raises(ValueError, match="cannot take the best of 5 from 4 scores"):
        pool_estimate(REWARDS, REWARDS, 5)


def test_the_quantile_drops_the_worst_and_the_unfinished_are_never_chosen() -> None:
    prompts = [PromptIds(str(i), (5, i)) for i in range(5)]
    ended, cut = Completion((8, EOS), finished=True), Completion((9, 9), finished=False)
    pools = [[ended, cut], [ended, ended], [cut, cut], [cut, ended], [ended, ended]]
    rewards = [[1.0, 9.0], [0.5, 0.2], [7.0, 8.0], [9.0, -2.0], [0.0, 3.0]]
    everything, unfinished = choose(prompts, pools, rewards, 0.0)
    assert [(one.prompt.id, one.reward) for one in everything] == [
        ("0", 1.0),
        ("1", 0.5),
        ("3", -2.0),
        ("4", 3.0),
    ]
    assert unfinished == 1
    half, _ = choose(prompts, pools, rewards, 0.5)
    assert [one.prompt.id for one in half] == ["0", "4"]


def test_what_is_sampled_is_scored_as_it_is_and_belongs_to_its_prompt() -> None:
    model, scorer = policy(300, initializer_range=0.05), Scorer(reward_model(300), PAD)
    prompts = [PromptIds(str(i), (5 + i, 7, 9)) for i in range(6)]

    def drawn(asked: Sequence[PromptIds], seed: int) -> list[tuple[str, tuple[int, ...], float]]:
        chosen, figures = sample_and_choose(
            model,
            tokenizer(),
            scorer,
            asked,
            Sampling(60),
            num_samples=6,
            quantile=0.0,
            seed=seed,
            batch_size=9,
        )
        assert list(figures["reward_best_of"]) == ["1", "2", "4"]
        assert figures["chosen"] + figures["prompts_without_finished"] == len(asked)
        return [(one.prompt.id, one.ids, one.reward) for one in chosen]

    whole = drawn(prompts, 1)
    assert len(whole) >= 2
    for name, ids, reward in whole:
        (alone,) = scorer.score([prompts[int(name)].ids], [ids])
        assert reward == pytest.approx(alone, abs=1e-6)
        assert ids[-1] == EOS
    fewer = [(name, ids) for name, ids, _ in drawn(prompts[2:], 1)]
    assert fewer == [(name, ids) for name, ids, _ in whole if int(name) >= 2]
    assert drawn(prompts, 2) != whole


def test_nothing_is_chosen_by_a_reward_that_is_no_number() -> None:
    """The first of two was the best where it was NaN."""
    scorer = Scorer(reward_model(300), PAD)
    scorer.model.score.weight.data.fill_(math.nan)
    figures: Json = {"num_samples": 2, "quantile": 0.0, "seed": 1, "batch_size": 4}
    with pytest.raises(FloatingPointError, match="the reward of a response is nan"):
        sample_and_choose(policy(300), tokenizer(), scorer, [PROMPT], Sampling(4), **figures)


@pytest.mark.parametrize(("prompts", "samples"), [([], 4), ([PROMPT], 0)])
def test_nothing_to_choose_from_is_refused(prompts: list[PromptIds], samples: int) -> None:
    scorer = Scorer(reward_model(300), PAD)
    figures: Json = {"num_samples": samples, "quantile": 0.0, "seed": 1, "batch_size": 2}
    with pytest.raises(ValueError, match=f"in {samples} samples of each of {len(prompts)} prompts"):
        sample_and_choose(policy(300), tokenizer(), scorer, prompts, Sampling(4), **figures)
