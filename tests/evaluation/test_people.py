"""What people preferred, counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.data.records import Prompt, Ranking, Response
from rlhf.evaluation.judges import ByScore, Judge, Judged, Matchup, share
from rlhf.evaluation.people import ByPeople, Contest, differences, looks, may_stop, preferred
from rlhf.evaluation.winrate import WinRate


def contest(number: int, ours: str = "mine", theirs: str = "other") -> Contest:
    prompt = Prompt.of(f"Question {number}?")
    return Response.of(prompt.id, ours), Response.of(prompt.id, theirs)


def vote(one: Contest, verdict: int, labeler: str = "ada", at: str = "") -> Ranking:
    ours, theirs = one[0].id, one[1].id
    groups = {1: ((ours,), (theirs,)), 0: ((ours, theirs),), -1: ((theirs,), (ours,))}[verdict]
    return Ranking.of(
        prompt_id=one[0].prompt_id,
        labeler_id=labeler,
        groups=groups,
        shown=(theirs, ours),
        mode="evaluate",
        submitted_at=at,
    )


def test_the_majority_of_votes_on_a_prompt_is_one_comparison() -> None:
    one, two, three = contest(1), contest(2), contest(3)
    votes = [
        *(vote(one, verdict, f"l{i}") for i, verdict in enumerate((1, 1, -1))),  # won
        *(vote(two, verdict, f"l{i}") for i, verdict in enumerate((1, -1))),  # a tie
        vote(three, -1),  # lost
    ]
    won = preferred(ByPeople(votes), [one, two, three])
    assert won is not None
    assert (won.wins, won.ties, won.losses) == (1, 1, 1)
    assert won.rate == pytest.approx(0.5)


def test_answers_that_are_the_same_and_those_not_judged_do_not_count() -> None:
    judged, same, waiting = contest(1), contest(2, "alike", "alike"), contest(3)
    won = preferred(ByPeople([vote(judged, 1)]), [judged, same, waiting])
    assert won is not None
    assert (won.wins, won.ties, won.losses) == (1, 0, 0)
    assert won.rate == 1


@given(st.integers(1, 40), st.integers(0, 40))
def test_the_rate_is_that_of_those_judged_however_many_were_not_or_are_the_same(
    unseen: int, same: int
) -> None:
    """Three of four won: with ties for what is the same and nothing for what nobody saw, judging
    fewer would have brought the rate nearer to one half.
    """
    seen = [contest(n) for n in range(4)]
    people = ByPeople([vote(one, 1 if n else -1) for n, one in enumerate(seen)])
    others = [contest(100 + n) for n in range(unseen)]
    others += [contest(200 + n, "alike", "alike") for n in range(same)]
    won = preferred(people, [*seen, *others])
    assert won is not None
    assert (won.rate, won.wins, won.ties, won.losses) == (0.75, 3, 0, 1)


def test_nothing_is_said_where_nobody_judged() -> None:
    nobody = ByPeople([])
    assert preferred(nobody, [contest(1), contest(2, "alike", "alike")]) is None
    assert preferred(ByPeople([vote(contest(7), 1)]), [contest(1)]) is None


def test_of_policies_that_always_say_the_same_nothing_is_known_without_asking() -> None:
    won = preferred(ByPeople([]), [contest(n, "alike", "alike") for n in range(3)])
    assert won == WinRate(0.5, 0.0, 1.0, 0, 0, 0)


def test_policies_are_told_apart_where_people_judged_both() -> None:
    """On prompts 0 to 7 DPO won and PPO lost; what only one was judged on, or says the same, is no
    difference.
    """
    dpo = [contest(n, "dpo") for n in range(10)]
    ppo = [contest(n, "ppo" if n < 8 else "other") for n in range(10)]
    people = ByPeople([vote(one, 1) for one in dpo] + [vote(one, -1) for one in ppo[:8]])
    (row,) = differences(people, {"dpo": dpo, "ppo": ppo})
    assert (row["first"], row["second"], row["clusters"]) == ("dpo", "ppo", 8)
    assert (row["value"], row["low"], row["high"]) == (1.0, 1.0, 1.0)
    assert differences(people, {"dpo": dpo[8:], "ppo": ppo}) == []


def test_people_are_a_judge_like_any_other() -> None:
    judged, same, waiting = contest(1), contest(2, "alike", "alike"), contest(3)
    judge: Judge = ByPeople([vote(judged, 1), vote(judged, 0, "bob")])
    rows = [Matchup(Prompt.of("?"), *one) for one in (judged, same, waiting)]
    assert judge.compare(rows) == [Judged(0.75, 0.5), Judged(0.5, 0.5), None]
    assert (judge.name, judge.independent) == ("people", True)


def test_a_score_is_a_judge_too() -> None:
    judge: Judge = ByScore("longest", False, lambda _, response: float(len(response.text)))
    (found,) = judge.compare([Matchup(Prompt.of("?"), *contest(1))])
    assert found == Judged(4.0, 5.0)
    assert [share(Judged(1, 2)), share(Judged(2, 2)), share(Judged(3, 2))] == [0, 0.5, 1]


def test_one_looks_at_the_first_vote_on_each_prompt_in_the_order_of_time() -> None:
    one, two, three = contest(1), contest(2), contest(3)
    people = ByPeople(
        [
            vote(one, -1, "bob", at="2026-11-24T12"),
            vote(one, 1, "ada", at="2026-11-24T11"),
            vote(two, -1, at="2026-11-24T10"),
            vote(three, 0, at="2026-11-24T09"),
        ]
    )
    assert people.first_votes([one, two, three, contest(4)]) == [0.5, 0.0, 1.0]


def test_people_may_stop_once_a_policy_is_better_or_all_are_worse() -> None:
    rows = [contest(number) for number in range(8)]
    won = ByPeople([vote(one, 1) for one in rows])
    alone = looks(won, {"dpo": rows})
    assert (alone["dpo"].says, may_stop(alone.values())) == ("better", True)
    # One of two must show more: 2^8 / 9 = 28.4 is 20 at least, and 40 not.
    two = looks(won, {"dpo": rows, "ppo": rows[:1]})
    assert (two["dpo"].says, may_stop(two.values())) == ("go on", False)
    lost = ByPeople([vote(one, -1) for one in rows])
    assert may_stop(looks(lost, {"dpo": rows}).values())
