"""Length or one answer that passes for quality comes first in the verdict."""

import pytest
from evaluated import PEOPLE, Results, dpo, equal, evaluated, named, results

from rlhf.data.identity import Json
from rlhf.evaluation.gate import verdict_on


@pytest.mark.parametrize("equal_length", [equal(0.55, 0.45, 0.65), equal(0.42, 0.36, 0.49)])
def test_a_policy_that_wins_by_length_is_called_out_first(equal_length: Json) -> None:
    made = verdict_on(results(dpo(length_controlled=equal_length)))
    assert made.decision != "ship"
    assert made.sentences[0].startswith("Length trap: DPO wins by length. It beats SFT in 70 %")
    assert made.traps == made.sentences[:1]
    still = verdict_on(results(dpo(length_controlled=equal(0.61, 0.49, 0.7))))
    assert still.traps == ()  # half of what it wins by is left


def test_a_reward_model_that_learned_length_is_called_out_first() -> None:
    fooled = {"proxy_win_rate": 0.71, "proxy_win_rate_low": 0.64}
    made = verdict_on(results(named("longest_of_16", **fooled)))
    assert made.sentences[0] == (
        "Length trap: the reward model has learned length. It prefers the longest of 16 SFT "
        "answers to SFT's in 71 % of comparisons; the judge does in 44 %."
    )
    assert made.decision == "ship"  # by a judge who has not learned it
    alone = {"judge": "reward", "judge_independent": False}
    worse = verdict_on(
        results(
            lambda found: (
                named("longest_of_16", **fooled, win_rate_low=0.64)(found),
                evaluated(**alone)(found),
            )
        )
    )
    assert worse.decision == "not enough evidence"
    assert worse.sentences[0].endswith("in 71 % of comparisons, and no other judge was asked.")


def test_where_longer_is_better_indeed_nobody_is_fooled() -> None:
    better = {"proxy_win_rate_low": 0.64, "win_rate": 0.6, "win_rate_low": 0.53}
    made = verdict_on(
        results(
            lambda found: (
                named("longest_of_16", **better)(found),
                evaluated(judge="built-in")(found),
            )
        )
    )
    assert (made.decision, made.traps) == ("ship", ())


def test_a_known_preference_and_people_are_not_fooled() -> None:
    def sprung(found: Results) -> None:
        for name in ("null", "longest_of_16"):
            named(name, win_rate=0.9, win_rate_low=0.85, proxy_win_rate_low=0.85)(found)

    def by_preference(found: Results) -> None:
        sprung(found)
        evaluated(judge="stories")(found)

    assert verdict_on(results(sprung)).decision == "not enough evidence"
    assert verdict_on(results(by_preference)).decision == "ship"
    assert verdict_on({**results(sprung), "judge": PEOPLE}).decision == "ship"


def test_one_answer_that_the_reward_model_prefers_to_all_is_a_warning() -> None:
    made = verdict_on(results(named("null", proxy_win_rate=0.99, proxy_win_rate_low=0.97)))
    assert made.decision == "ship"
    assert any(
        "one and the same answer to everything beats SFT in 99 %" in one for one in made.sentences
    )
