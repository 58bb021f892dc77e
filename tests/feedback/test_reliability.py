"""Reliability from agreement: who flips coins, contradicts or loves length is found; who shares
nothing with others is not judged.
"""

from dataclasses import replace

import numpy as np
import pytest

from rlhf.data.records import Ranking
from rlhf.feedback import reliability
from rlhf.feedback.manners import Reliability, labeler_weights, manners
from rlhf.feedback.reliability import infer_manners, reliability_by_agreement, votes_of

CAREFUL = [f"careful-{number}" for number in range(6)]


def crew_rankings(
    names: list[str], prompts: int, each: int, *, seed: int = 0
) -> tuple[list[Ranking], dict[str, int]]:
    """Rankings of four by `each` of the labelers, and the words of the responses. Longer ones are
    a little better. What a name begins with is the temper.
    """
    draw = np.random.default_rng(seed)
    made: list[Ranking] = []
    words: dict[str, int] = {}
    for prompt in range(prompts):
        ids = [f"response-{prompt}-{letter}" for letter in draw.permutation(list("abcd"))]
        length = draw.integers(5, 40, 4)
        words |= {one: int(many) for one, many in zip(ids, length, strict=True)}
        gold = 1.5 * draw.normal(size=4) + 0.03 * (length - 22)
        for number in draw.choice(len(names), each, replace=False):
            name, place = names[number], draw.permutation(4)
            heard = gold + draw.gumbel(size=4)
            worth = {
                "careful": heard,
                "random": draw.normal(size=4),
                "contrary": draw.gumbel(size=4) - gold,
                "longest": length + 0.1 * draw.random(4),
                "first": heard - 2.0 * place,
                "even": np.zeros(4),
            }[name.split("-")[0]]
            levels = np.unique(-worth)
            made.append(
                Ranking.of(
                    prompt_id=f"prompt-{prompt}",
                    labeler_id=name,
                    groups=tuple(
                        tuple(ids[k] for k in range(4) if -worth[k] == level) for level in levels
                    ),
                    shown=tuple(ids[k] for k in np.argsort(place)),
                )
            )
    return made, words


def test_a_labeler_who_flips_coins_gets_weight_near_zero() -> None:
    """Identity 25."""
    made, words = crew_rankings(["random-0", *CAREFUL], 300, 3)
    found = reliability_by_agreement(made, words)
    weight = labeler_weights(found)
    assert weight["random-0"] < 0.1
    assert min(weight[name] for name in CAREFUL) > 0.9
    assert found["random-0"].value == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize(("other", "seed"), [("careful-0", 1), ("random-1", 2)])
def test_of_two_who_agree_as_coins_nobody_can_tell_which_one_is(
    monkeypatch: pytest.MonkeyPatch, other: str, seed: int
) -> None:
    rankings, _ = crew_rankings([other, "random-0"], 80, 2, seed=seed)
    values = []
    for rounds in (100, 101):  # they never settle, and it must not matter where that is cut off
        monkeypatch.setattr(reliability, "MAX_ROUNDS", rounds)
        found = reliability_by_agreement(rankings)
        values += [one.value for one in found.values()]
        assert all(one.standard_error > 0.4 for one in found.values())
    assert values == pytest.approx([values[0]] * 4, abs=0.02)
    assert 0.4 < values[0] < 0.75


def test_tempers_are_told_apart() -> None:
    names = ["contrary-0", "longest-0", "longest-1", "first-0", *CAREFUL]
    made, words = crew_rankings(names, 300, 3)
    found = reliability_by_agreement(made, words)
    assert found["contrary-0"].value < -0.8
    assert labeler_weights(found)["contrary-0"] == 0.0
    for name in ("longest-0", "longest-1"):
        assert found[name].value < 0.3
        assert found[name].leanings[0] > 1
    assert found["first-0"].leanings[1] > 1
    for name in CAREFUL:
        assert found[name].value > 0.9
        assert np.abs(found[name].leanings).max() < 0.3


def test_lovers_of_length_hide_where_lengths_are_not_known() -> None:
    """They agree with each other: without lengths, agreement alone thinks better of them."""
    made, words = crew_rankings(["longest-0", "longest-1", *CAREFUL], 300, 3)
    blind, seeing = reliability_by_agreement(made), reliability_by_agreement(made, words)
    assert seeing["longest-0"].value < 0.3
    assert blind["longest-0"].leanings[0] == pytest.approx(0, abs=0.01)
    assert labeler_weights(seeing)["longest-0"] < labeler_weights(blind)["longest-0"]


def test_names_do_not_matter() -> None:
    """Identity 25: labelers, prompts and responses under other names, in another order."""
    made, words = crew_rankings(["contrary-0", "random-0", *CAREFUL], 40, 3)

    def other(name: str) -> str:
        return "x" + name[::-1]

    renamed = [
        Ranking.of(
            prompt_id=other(one.prompt_id),
            labeler_id=other(one.labeler_id),
            groups=tuple(tuple(other(response) for response in group) for group in one.groups),
            shown=tuple(other(response) for response in one.shown),
        )
        for one in reversed(made)
    ]
    found = reliability_by_agreement(made, words)
    again = reliability_by_agreement(renamed, {other(one): many for one, many in words.items()})
    assert {other(name) for name in found} == set(again)
    for name, one in found.items():
        assert again[other(name)].value == pytest.approx(one.value, abs=1e-6)
        assert again[other(name)].leanings == pytest.approx(one.leanings, abs=1e-6)


def test_a_ranking_twice_is_weight_two() -> None:
    made, words = crew_rankings(["random-0", *CAREFUL], 40, 2)
    twice = votes_of([*made, *made[:10]], words)
    once = votes_of(made, words)
    heavy = replace(once, weight=np.where(np.arange(len(once.weight)) < 60, 1.0, 0.5))
    assert infer_manners(twice) == pytest.approx(infer_manners(heavy), abs=1e-6)


def test_nobody_confirms_themselves() -> None:
    """Votes that nobody shares leave alpha where the prior put it, however many they are."""
    made, _ = crew_rankings(["careful-0"], 200, 1)
    found = reliability_by_agreement(made)["careful-0"]
    known = manners(2)
    without_habit = (known.leaning == 0).all(1)
    prior = np.exp(known.log_prior)
    chances = infer_manners(votes_of(made, {}))[0]
    # The habits are judged (here: none shows); among manners without a habit nothing moved.
    assert chances[without_habit] / chances[without_habit].sum() == pytest.approx(
        prior[without_habit] / prior[without_habit].sum(), abs=1e-6
    )
    assert found.comparisons == 0
    assert labeler_weights({"careful-0": found}) == {"careful-0": 1.0}


def test_comparisons_are_counted_as_a_ranking_tells() -> None:
    """A ranking of four is three comparisons, where somebody else judged the same pairs."""
    made, words = crew_rankings(["careful-0", "careful-1"], 5, 2)
    alone, _ = crew_rankings(["careful-0"], 9, 1, seed=3)
    own = [
        Ranking.of(
            prompt_id="alone-" + one.prompt_id,
            labeler_id=one.labeler_id,
            groups=one.groups,
            shown=one.shown,
        )
        for one in alone
    ]
    found = reliability_by_agreement([*made, *own], words)
    assert found["careful-0"].comparisons == pytest.approx(15)
    assert found["careful-1"].comparisons == pytest.approx(15)


def test_a_tie_is_half_a_vote_each_way_and_nothing_breaks() -> None:
    made, words = crew_rankings(["even-0", *CAREFUL], 100, 3)
    found = reliability_by_agreement(made, words)
    assert found["even-0"].value < 0.6  # who never decides says little
    assert reliability_by_agreement([], {}) == {}


def test_the_stated_error_is_honest() -> None:
    """Over 20 crews, the truth (0 or 1) is within two standard errors at least nine times of ten,
    on few rankings.
    """
    missed = total = 0
    for seed in range(20):
        made, words = crew_rankings(["random-0", *CAREFUL], 60, 2, seed=seed)
        for name, one in reliability_by_agreement(made, words).items():
            truth = 0.0 if name == "random-0" else 1.0
            missed += abs(one.value - truth) > 2 * one.standard_error + 0.02
            total += 1
    assert missed / total < 0.1


def test_weights_are_shares_and_wait_for_evidence() -> None:
    def one(value: float, comparisons: float) -> Reliability:
        return Reliability(value, 0.1, (0.0, 0.0), comparisons)

    found = {"a": one(0.8, 50), "b": one(-0.9, 50), "c": one(-0.9, 4), "d": one(1.0, 50)}
    assert labeler_weights(found) == {"a": 0.8, "b": 0.0, "c": 1.0, "d": 1.0}
    assert labeler_weights(found, min_comparisons=3)["c"] == 0.0


def test_manners_are_a_distribution_around_like_the_others() -> None:
    for habits in range(3):
        known = manners(habits)
        assert np.exp(known.log_prior).sum() == pytest.approx(1)
        assert known.alpha[0] == 1.0
        assert int(known.log_prior.argmax()) == 0
        assert known.leaning.shape == (5 + 12 * habits, habits)
        assert ((known.leaning != 0).sum(1) <= 1).all()


def test_a_labeler_with_one_ranking_weighs_what_everybody_does() -> None:
    made, words = crew_rankings(CAREFUL, 40, 3)
    alone = replace(made[0], labeler_id="contrary-0", groups=made[0].groups[::-1])
    found = reliability_by_agreement([*made, alone], words)
    assert found["contrary-0"].comparisons == pytest.approx(3)
    assert labeler_weights(found)["contrary-0"] == 1.0
