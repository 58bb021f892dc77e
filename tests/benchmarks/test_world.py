"""The controlled world is what it says: probabilities that sum to 1, gold at unit scale, exact
policies that agree with enumeration.
"""

import itertools
import math

import numpy as np
import pytest

from benchmarks.crew import TEMPERATURE, Temper, compare, crew
from benchmarks.policies import best_of, earned, efficiency, optimal, optimal_at
from benchmarks.world import END, STEPS, WORDS, Array, Case, World, make_world

CASES: tuple[Case, ...] = ("well-specified", "mis-specified", "trap")


@pytest.fixture(scope="module", params=CASES)
def world(request: pytest.FixtureRequest) -> World:
    return make_world(request.param, seed=3)


def test_responses_are_enumerated_once(world: World) -> None:
    assert len(world.responses) == sum(WORDS**length for length in range(STEPS + 1)) == 5461
    assert len(np.unique(world.responses, axis=0)) == 5461
    ends = world.responses == END
    assert (ends[:, 1:] >= ends[:, :-1]).all()  # nothing comes after the end


def test_the_reference_sums_to_one_and_gold_is_standard(world: World) -> None:
    chances = np.exp(world.logprobs)
    assert chances.sum(1) == pytest.approx(1, abs=1e-12)
    assert (chances * world.gold).sum(1) == pytest.approx(0, abs=1e-10)
    assert (chances * world.gold**2).sum(1).mean() == pytest.approx(1, abs=1e-10)
    assert (len(world.train), len(world.test)) == (40, 20)
    assert not set(world.train) & set(world.test)


def test_the_reference_writes_word_by_word(world: World) -> None:
    """P(first words) is the sum over all that begin with them, and shares factor."""
    chances = np.exp(world.logprobs)

    def begins(*words: int) -> Array:
        found: Array = chances[:, (world.responses[:, : len(words)] == words).all(1)].sum(1)
        return found

    # What follows a word depends on that word alone, wherever it stands.
    after_start = begins(1, 2, 0) / begins(1, 2)
    later = begins(3, 1, 2, 0) / begins(3, 1, 2)
    assert after_start == pytest.approx(later, abs=1e-12)


def test_features_and_rewards_are_one(world: World) -> None:
    weights = np.random.default_rng(0).normal(size=world.num_features)
    prompts = np.array([5, 11])
    table = world.rewards(weights, prompts)
    response = np.array([0, 17, 5000])
    for row, prompt in enumerate(prompts):
        one = world.features(np.full(3, prompt), response) @ weights
        assert table[row, response] == pytest.approx(one, abs=1e-10)


def test_gold_is_linear_only_where_it_says_so() -> None:
    left: dict[Case, float] = {}
    for case in CASES:
        world = make_world(case, seed=1)
        every = np.arange(len(world.responses))
        design = [world.features(np.full_like(every, p), every) for p in range(6)]
        design = [features - features.mean(0) for features in design]
        gold = [world.gold[p] - world.gold[p].mean() for p in range(6)]
        x, y = np.concatenate(design), np.concatenate(gold)
        fitted = x @ np.linalg.lstsq(x, y)[0]
        left[case] = float(((y - fitted) ** 2).mean() / (y**2).mean())
    assert left["well-specified"] < 1e-12
    assert left["mis-specified"] > 0.1
    assert left["trap"] > 0.05


def test_the_trap_pays_near_the_reference_and_costs_far_from_it() -> None:
    world = make_world("trap", seed=0)
    said = (world.responses == 0).sum(1)
    assert np.exp(world.logprobs)[:, said > 2].sum(1).mean() < 0.03
    # Each further word where the others are the same: a b -> a b 0, and 0 0 0 -> 0 0 0 0.
    index = {tuple(row): number for number, row in enumerate(world.responses)}

    def gained(*words: int) -> float:
        more = index[(*words, 0, *[END] * (STEPS - len(words) - 1))]
        less = index[(*words, *[END] * (STEPS - len(words)))]
        return float((world.gold[:, more] - world.gold[:, less]).mean())

    assert gained(0, 0, 0) < gained(1, 2, 3) - 1


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_the_tilt_is_the_optimum(world: World, beta: float) -> None:
    """Identity 19: J* - J(pi) = beta KL(pi, pi*), for policies that are not the optimum."""
    reference, gold = world.logprobs[:4], world.gold[:4]
    best = optimal(gold, reference, beta)
    assert np.exp(best).sum(1) == pytest.approx(1, abs=1e-12)
    noise = np.random.default_rng(0).normal(size=best.shape)
    for other in (reference, optimal(noise, reference, 0.5)):
        got, top = earned(other, reference, gold), earned(best, reference, gold)
        lost = (top.gold - beta * top.kl) - (got.gold - beta * got.kl)
        apart = (np.exp(other) * (other - best)).sum(1).mean()
        assert lost == pytest.approx(beta * apart, abs=1e-8)


def test_eta_is_one_for_gold_and_less_for_others(world: World) -> None:
    reference, gold = world.logprobs[world.test], world.gold[world.test]
    for nats in (0.5, 2.0):
        policy = optimal_at(gold, reference, nats)
        assert earned(policy, reference, gold).kl == pytest.approx(nats, abs=1e-4)
        assert efficiency(policy, reference, gold, nats) == pytest.approx(1, abs=1e-6)
        other = optimal_at(-gold, reference, nats)
        assert efficiency(other, reference, gold, nats) < 0
    assert optimal_at(3 * gold, reference, 1.0) == pytest.approx(
        optimal_at(gold, reference, 1.0), abs=1e-4
    )
    assert efficiency(reference, reference, gold) == 0.0


def test_a_reward_that_says_nothing_goes_nowhere(world: World) -> None:
    reference, gold = world.logprobs[world.test], world.gold[world.test]
    policy = optimal_at(np.zeros_like(gold), reference, 2.0)
    assert earned(policy, reference, gold).kl == pytest.approx(0, abs=1e-9)
    assert efficiency(policy, reference, gold, 2.0) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_best_of_n_keeps_its_bounds(world: World, n: int) -> None:
    """Identity 22: KL <= log n - (n - 1) / n, win rate <= n / (n + 1), n = 1 is the reference."""
    reference, gold = world.logprobs[world.test], world.gold[world.test]
    policy = best_of(n, gold, reference)
    chances, base = np.exp(policy), np.exp(reference)
    assert chances.sum(1) == pytest.approx(1, abs=1e-9)
    got = earned(policy, reference, gold)
    assert got.kl <= math.log(n) - (n - 1) / n + 1e-9
    for worth, drawn, from_base in zip(gold, chances, base, strict=True):
        _, level = np.unique(worth, return_inverse=True)
        mass = np.bincount(level, weights=from_base)
        rate = np.bincount(level, weights=drawn) @ (np.cumsum(mass) - mass / 2)  # ties are half
        assert rate <= n / (n + 1) + 1e-9
    if n == 1:
        assert policy == pytest.approx(reference, abs=1e-7)


def test_best_of_n_is_brute_force() -> None:
    """Identity 22: five responses, two of equal worth, all 125 ways to draw three."""
    chances = np.array([[0.1, 0.3, 0.2, 0.15, 0.25]])
    worth = np.array([[0.5, -1.0, 2.0, 0.5, 0.0]])
    expected = np.zeros(5)
    for drawn in itertools.product(range(5), repeat=3):
        probability = math.prod(float(chances[0, one]) for one in drawn)
        best = max(worth[0, one] for one in drawn)
        winners = [one for one in drawn if worth[0, one] == best]
        for winner in winners:
            expected[winner] += probability / len(winners)
    made = np.exp(best_of(3, worth, np.log(chances)))[0]
    assert made == pytest.approx(expected, abs=1e-12)
    # Many draws find the best there is.
    assert np.exp(best_of(500, worth, np.log(chances)))[0, 2] == pytest.approx(1, abs=1e-10)


def test_labelers_are_what_their_temper_says() -> None:
    world = make_world(seed=0)
    tempers: list[Temper] = ["careful", "random", "contrary", "longest", "position", "tying"]
    labels = compare(world, tempers, 30_000, seed=1)
    gap = world.gold[labels.prompt, labels.first] - world.gold[labels.prompt, labels.second]
    longer = world.lengths[labels.first] - world.lengths[labels.second]
    assert set(labels.prompt) <= set(world.train)
    assert (labels.first != labels.second).all()
    by = {temper: labels.labeler == number for number, temper in enumerate(tempers)}
    chance = 1 / (1 + np.exp(-gap / TEMPERATURE))

    def rate(temper: Temper, where: object = True) -> float:
        return float(labels.vote[by[temper] & np.asarray(where)].mean())

    assert rate("careful") == pytest.approx(chance[by["careful"]].mean(), abs=0.02)
    near = np.abs(gap - 0.5) < 0.1  # sigmoid(1) = 0.731
    assert rate("careful", near) == pytest.approx(0.731, abs=0.06)
    assert rate("contrary", near) == pytest.approx(1 - 0.731, abs=0.06)
    assert rate("random", near) == pytest.approx(0.5, abs=0.06)
    assert rate("longest", longer > 0) == 1.0
    assert rate("longest", longer < 0) == 0.0
    assert rate("position") > 0.7
    assert 0.1 < float((labels.vote[by["tying"]] == 0.5).mean()) < 0.5
    assert not (labels.vote[~by["tying"]] == 0.5).any()


def test_a_world_and_its_labels_repeat() -> None:
    one, two = make_world(seed=4), make_world(seed=4)
    assert (one.gold == two.gold).all()
    assert (one.gold != make_world(seed=5).gold).any()
    made, again = (compare(one, crew("random"), 50, seed=7) for _ in range(2))
    assert (made.vote == again.vote).all()
    assert crew("random") == ["random"] * 2 + ["careful"] * 8
