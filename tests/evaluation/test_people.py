"""What people preferred, counted by hand."""

import pytest

from rlhf.data.records import Prompt, Ranking, Response
from rlhf.evaluation.people import Contest, preferred


def contest(number: int, ours: str = "mine", theirs: str = "other") -> Contest:
    prompt = Prompt.of(f"Question {number}?")
    return Response.of(prompt.id, ours), Response.of(prompt.id, theirs)


def vote(one: Contest, verdict: int, labeler: str = "ada") -> Ranking:
    ours, theirs = one[0].id, one[1].id
    groups = {1: ((ours,), (theirs,)), 0: ((ours, theirs),), -1: ((theirs,), (ours,))}[verdict]
    return Ranking.of(
        prompt_id=one[0].prompt_id,
        labeler_id=labeler,
        groups=groups,
        shown=(theirs, ours),
        mode="evaluate",
    )


def test_the_majority_of_votes_on_a_prompt_is_one_comparison() -> None:
    one, two, three = contest(1), contest(2), contest(3)
    votes = [
        *(vote(one, verdict, f"l{i}") for i, verdict in enumerate((1, 1, -1))),  # won
        *(vote(two, verdict, f"l{i}") for i, verdict in enumerate((1, -1))),  # a tie
        vote(three, -1),  # lost
    ]
    won = preferred(votes, [one, two, three])
    assert won is not None
    assert (won.wins, won.ties, won.losses) == (1, 1, 1)
    assert won.rate == pytest.approx(0.5)


def test_answers_that_are_the_same_are_ties_and_those_not_judged_do_not_count() -> None:
    judged, same, waiting = contest(1), contest(2, "alike", "alike"), contest(3)
    won = preferred([vote(judged, 1)], [judged, same, waiting])
    assert won is not None
    assert (won.wins, won.ties, won.losses) == (1, 1, 0)
    assert won.rate == pytest.approx(0.75)


def test_nothing_is_said_where_nobody_judged() -> None:
    assert preferred([], [contest(1), contest(2, "alike", "alike")]) is None
    assert preferred([vote(contest(7), 1)], [contest(1)]) is None


def test_policies_that_always_say_the_same_are_even_without_asking() -> None:
    won = preferred([], [contest(n, "alike", "alike") for n in range(3)])
    assert won is not None
    assert (won.rate, won.ties) == (0.5, 3)
