"""A reward learned with its labelers: planted scores come back, bad labelers are found, and
nobody is harmed by looking.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import check_grad

from benchmarks.crew import Temper, compare, crew
from benchmarks.frontier import NUM_BAD
from benchmarks.rewards import comparisons_of
from benchmarks.world import make_world
from rlhf.data.records import Ranking
from rlhf.feedback.manners import Array, labeler_weights, manners
from rlhf.reward import labelers
from rlhf.reward.calibration import reliability
from rlhf.reward.labelers import (
    Comparisons,
    aware_weights,
    comparisons_from,
    held_out_gain,
    learn,
    plain_weights,
    weights_by_reward,
)


def labels(temper: Temper, count: int, *, seed: int = 0) -> Comparisons:
    world = make_world(seed=seed)
    return comparisons_of(world, compare(world, crew(temper), count, seed=seed))


def test_maximum_likelihood_recovers_planted_scores() -> None:
    """Identity 23: expected Bradley-Terry wins give the scores back up to a shift; 400 / ln 10
    points of Elo are a nat.
    """
    scores = np.array([0.0, 0.7, -1.1, 2.0])
    rows, votes = [], []
    for i in range(4):
        for j in range(i):
            row = np.zeros(4)
            row[i], row[j] = 1, -1
            rows.append(row)
            votes.append(1 / (1 + np.exp(scores[j] - scores[i])))
    made = Comparisons(
        np.array(rows),
        np.array(votes),
        np.zeros(6, dtype=np.int64),
        np.zeros((6, 0)),
        np.arange(6),
        np.full(6, 1e4),
    )
    found = plain_weights(made, ridge=1e-6)
    assert found - found[0] == pytest.approx(scores, abs=1e-5)
    elo = 400 / np.log(10) * (found - found[0])
    assert 1 / (1 + 10 ** (-(elo[3] - elo[1]) / 400)) == pytest.approx(votes[4], abs=1e-6)


def test_gradients_are_those_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity 26, for both losses, with ties and weights."""
    made = labels("tying", 60)
    made = replace(made, weight=np.random.default_rng(0).uniform(0.5, 2, 60))
    losses = []

    def keep(loss: object, start: np.ndarray[tuple[int], np.dtype[np.float64]]) -> object:
        losses.append(loss)
        return start

    monkeypatch.setattr(labelers, "_minimise", keep)
    plain_weights(made)
    aware_weights(made, 10)
    at = np.random.default_rng(1).normal(size=made.difference.shape[1]) * 0.3
    assert len(losses) == 3
    for loss in losses:
        assert check_grad(lambda w, f=loss: f(w)[0], lambda w, f=loss: f(w)[1], at) < 1e-4


def test_a_label_twice_is_weight_two_and_names_do_not_matter() -> None:
    """Identity 25."""
    made = labels("random", 300)
    index = np.arange(300)
    twice = made[np.concatenate([index, index[:40]])]
    heavy = replace(made, weight=np.where(index < 40, 2.0, 1.0))
    for learner in (plain_weights, lambda one: aware_weights(one, 10)[0]):
        assert learner(twice) == pytest.approx(learner(heavy), abs=1e-4)
    swap = np.array([3, 7, 0, 1, 9, 2, 4, 5, 6, 8])
    renamed = replace(made, labeler=swap[made.labeler], prompt=1000 - made.prompt)
    weights, manner = aware_weights(made, 10)
    weights_renamed, manner_renamed = aware_weights(renamed, 10)
    assert weights_renamed == pytest.approx(weights, abs=1e-5)
    assert manner_renamed[swap] == pytest.approx(manner, abs=1e-5)
    # The order of a pair is nobody's vote, but who is shown first is a habit: it turns with it.
    turned = replace(made, difference=-made.difference, vote=1 - made.vote, leanings=-made.leanings)
    assert aware_weights(turned, 10)[0] == pytest.approx(weights, abs=1e-5)


def test_what_is_minimised_is_the_same_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity 25 without the optimizer's own tolerance: both losses and their slopes."""
    losses: list[Callable[[Array], tuple[float, Array]]] = []

    def keep(loss: Callable[[Array], tuple[float, Array]], start: Array) -> Array:
        losses.append(loss)
        return start

    monkeypatch.setattr(labelers, "_minimise", keep)
    made = labels("random", 200)
    index = np.arange(200)
    swap = np.array([3, 7, 0, 1, 9, 2, 4, 5, 6, 8])
    heavy = replace(made, weight=np.where(index < 40, 2.0, 1.0))
    twice = made[np.concatenate([index, index[:40]])]
    renamed = replace(heavy, labeler=swap[made.labeler], prompt=1000 - made.prompt)
    at = 0.3 * np.random.default_rng(2).normal(size=(made.difference.shape[1],))
    found = []
    for one in (heavy, twice, renamed):
        losses.clear()
        plain_weights(one)
        aware_weights(one, 10, start=at)
        assert len(losses) == 2
        found.append(np.concatenate([np.append(*loss(at)) for loss in losses]))
    assert found[1] == pytest.approx(found[0], abs=1e-7)
    assert found[2] == pytest.approx(found[0], abs=1e-7)


@pytest.mark.parametrize("temper", ["random", "contrary", "longest"])
def test_the_bad_are_found_and_weigh_nothing(temper: Temper) -> None:
    found = learn(labels(temper, 1000), 10)
    assert found.aware
    value = [one.value for one in found.reliability]
    assert max(value[:NUM_BAD]) < 0.25
    assert min(value[NUM_BAD:]) > 0.8
    weight = labeler_weights({str(j): one for j, one in enumerate(found.reliability)})
    assert all(weight[str(j)] < 0.25 for j in range(NUM_BAD))
    if temper == "contrary":
        assert max(value[:NUM_BAD]) < -0.7
        assert weight["0"] == 0.0
    if temper == "longest":
        assert found.reliability[0].leanings[0] > 1.4
    assert found.reliability[5].standard_error < 0.3
    assert sum(one.comparisons for one in found.reliability) == 1000


def test_a_habit_of_position_is_a_habit_not_a_fault() -> None:
    found = learn(labels("position", 1000), 10)
    for one in found.reliability[:NUM_BAD]:
        assert one.leanings[1] > 1
        assert one.value > 0.4


def ranked(
    temper: Temper, count: int
) -> tuple[list[Ranking], dict[str, list[float]], dict[str, int]]:
    """The world's labels as rankings of two, and the features and words of their responses."""
    world = make_world(seed=0)
    made = compare(world, crew(temper), count, seed=0)
    rankings = []
    features: dict[str, list[float]] = {}
    words: dict[str, int] = {}
    for number in range(count):
        prompt = made.prompt[number]
        ids = []
        for response in (made.first[number], made.second[number]):
            ids.append(f"{prompt}-{response}")
            row = world.features(np.array([prompt]), np.array([response]))[0]
            features[ids[-1]] = [float(one) for one in row]
            words[ids[-1]] = int(world.lengths[response])
        vote = made.vote[number]
        order = ids if vote == 1 else ids[::-1]
        rankings.append(
            Ranking.of(
                prompt_id=f"prompt-{prompt}",
                labeler_id=f"labeler-{made.labeler[number]}",
                groups=(tuple(ids),) if vote == 0.5 else tuple((one,) for one in order),
                shown=tuple(ids),
            )
        )
    return rankings, features, words


def test_rankings_give_weights_in_one_line() -> None:
    weight = weights_by_reward(*ranked("longest", 1000))
    assert max(weight["labeler-0"], weight["labeler-1"]) < 0.25
    assert min(weight[f"labeler-{j}"] for j in range(2, 10)) > 0.8
    clean = weights_by_reward(*ranked("careful", 300))
    assert clean == {f"labeler-{j}": 1.0 for j in range(10)}
    assert weights_by_reward([], {}, {}) == {}


def test_rankings_and_labels_are_the_same_comparisons() -> None:
    rankings, features, words = ranked("tying", 200)
    made, labelers_of = comparisons_from(rankings, features, words)
    expected = labels("tying", 200)
    assert [labelers_of[j] for j in made.labeler] == [f"labeler-{j}" for j in expected.labeler]
    assert (made.vote == expected.vote).all()
    assert (made.leanings == expected.leanings).all()
    scale = np.sqrt((expected.difference**2).mean(0))
    assert made.difference == pytest.approx(expected.difference / scale)
    assert (made.weight == 1.0).all()
    with pytest.raises(ValueError, match="whose features are not given"):
        comparisons_from(rankings, {}, words)


def test_a_clean_crew_is_left_alone() -> None:
    """The gate closes: the weights are the plain ones, bitwise."""
    made = labels("careful", 1000, seed=2)
    found = learn(made, 10)
    assert not found.aware
    assert (found.weights == plain_weights(made)).all()
    assert min(one.value for one in found.reliability) > 0.9


def test_the_gate_needs_something_to_hold_out() -> None:
    made = replace(labels("contrary", 300), prompt=np.zeros(300, dtype=np.int64))
    assert held_out_gain(made, 10) == (0.0, float("inf"))
    assert not learn(made, 10).aware
    assert held_out_gain(labels("contrary", 300), 10)[0] > 0


def test_few_votes_say_little() -> None:
    made = labels("contrary", 1000)
    first = np.flatnonzero(made.labeler == 0)
    few = made[np.sort(np.concatenate([np.flatnonzero(made.labeler >= NUM_BAD), first[:3]]))]
    found = learn(few, 10).reliability
    assert found[0].comparisons == 3
    assert found[1].value == pytest.approx(
        float(np.exp(manners(2).log_prior) @ manners(2).alpha)
    )  # nobody heard them: the prior
    weight = labeler_weights({str(j): one for j, one in enumerate(found)})
    assert weight["0"] == 1.0


def test_the_true_model_is_calibrated_ever_better() -> None:
    """Identity 24: its expected calibration error falls as one over the root of the votes."""
    world = make_world(seed=0)
    errors = []
    for count in (400, 40_000):
        made = compare(world, crew("careful"), count, seed=1)
        gap = world.gold[made.prompt, made.first] - world.gold[made.prompt, made.second]
        chance = 1 / (1 + np.exp(-2 * gap))
        said = np.where(made.vote == 1, chance, 1 - chance)
        errors.append(reliability(said)[0])
    assert errors[1] < 0.005
    assert errors[1] < errors[0] / 3


def test_a_temperature_leaves_the_order_of_every_pair() -> None:
    """Identity 24: one column of scores, and the reward is their temperature."""
    made = labels("careful", 1000)
    scores = 5 * (made.difference @ plain_weights(made))
    fitted = plain_weights(replace(made, difference=scores[:, None]), ridge=1e-6)
    assert 0.1 < fitted[0] < 0.3
    assert ((scores * fitted > 0) == (scores > 0)).all()
