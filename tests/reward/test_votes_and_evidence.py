"""Votes, and what they say of scores: by hand, and against the accuracy of the reward stage."""

import numpy as np
import pytest

from rlhf.data.records import Ranking, Split
from rlhf.reward.accuracy import pair_accuracy
from rlhf.reward.evidence import best_responses, ceiling_of, evidence_on, held_out_split
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.votes import Votes, accuracy_of, gain_of, share_right, votes_of


def ranking(prompt: str, labeler: str, *groups: str) -> Ranking:
    """Groups of one-letter responses, best first; ids are prompt and letter."""
    made = tuple(tuple(f"{prompt}{letter}" for letter in group) for group in groups)
    shown = tuple(sorted(one for group in made for one in group))
    return Ranking.of(prompt_id=prompt, labeler_id=labeler, groups=made, shown=shown)


RANKINGS = [
    ranking("p", "ann", "a", "b", "c"),
    ranking("p", "bob", "c", "ab"),
    ranking("q", "ann", "b", "a"),
]
WORTH = {"pa": 3.0, "pb": 2.0, "pc": 2.0, "qa": 1.0, "qb": 0.0}


def test_votes_by_hand() -> None:
    votes = votes_of(RANKINGS)
    assert list(zip(votes.better, votes.worse, votes.margin.tolist(), strict=True)) == [
        ("pa", "pb", 1),
        ("pa", "pc", 2),
        ("pb", "pc", 1),
        ("pc", "pa", 1),
        ("pc", "pb", 1),
        ("qb", "qa", 1),
    ]
    assert list(votes.gaps(WORTH)) == [1, 1, 0, -1, 0, -1]
    found = accuracy_of(votes, votes.gaps(WORTH))
    # right, right, equal, wrong, equal; wrong
    assert found.value == pytest.approx((1 + 1 + 0.5 + 0 + 0.5 + 0) / 6)
    assert (found.pairs, found.prompts) == (6, 2)
    assert len(votes.among({"pa", "pb", "qa"})) == 1
    ann = votes.where(votes.labeler == "ann")
    assert (len(ann), set(ann.labeler)) == (4, {"ann"})


def test_the_accuracy_is_that_of_the_reward_stage() -> None:
    """The same votes from rankings and from ranked prompts: the same value, the same interval."""
    votes = votes_of(RANKINGS)
    ranked = [
        RankedPrompt(
            "p", (5,), ((6,),) * 3, (1,) * 3, (0, 0, 1, 2, 2), (1, 2, 2, 0, 1), (0.2,) * 5
        ),
        RankedPrompt("q", (5,), ((6,),) * 2, (1,) * 2, (1,), (0,), (1.0,)),
    ]
    scores = [[WORTH["pa"], WORTH["pb"], WORTH["pc"]], [WORTH["qa"], WORTH["qb"]]]
    assert accuracy_of(votes, votes.gaps(WORTH)) == pair_accuracy(ranked, scores)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 6 votes have scores that are not numbers"):
        votes_of(RANKINGS).gaps(WORTH | {"qa": float("nan")})


def test_a_gain_knows_that_what_is_hard_is_hard_for_both() -> None:
    """Two models that are right on the same 40 of 60 prompts, and one of them on 6 more."""
    votes = votes_of(ranking(f"p{n:02}-", "ann", "a", "b") for n in range(60))
    ours = np.array([1.0] * 46 + [-1.0] * 14)
    theirs = np.array([1.0] * 40 + [-1.0] * 20)
    gain = gain_of(votes, ours, theirs)
    assert gain.value == pytest.approx(0.1)
    # +- 1.96 sqrt(.1 * .9 / 60), where two accuracies on their own would each have +- .12
    assert (gain.low, gain.high) == pytest.approx((0.1 - 0.076, 0.1 + 0.076), abs=0.02)
    assert gain_of(votes, ours, ours).value == gain_of(votes, ours, ours).high == 0


def test_nothing_is_said_of_few_prompts() -> None:
    votes = votes_of(RANKINGS)
    few = share_right(votes, votes.gaps(WORTH), 3)
    assert (few.value, few.count, few.clusters) == (None, 6, 2)
    assert share_right(votes, votes.gaps(WORTH), 2).value == pytest.approx(0.5)


def test_the_best_response_wins_most_of_its_votes() -> None:
    # p: a wins 2 loses 1, b wins 1 loses 2, c wins 2 loses 2
    assert best_responses(votes_of(RANKINGS)) == {"p": "pa", "q": "qb"}
    tied = votes_of([ranking("p", "ann", "a", "b"), ranking("p", "bob", "b", "a")])
    assert best_responses(tied) == {"p": "pa"}


def test_the_ceiling_is_that_of_the_labelers_agreement() -> None:
    # Of the pairs that both order strictly, (a, c) and (b, c), none is ordered alike.
    found = ceiling_of(RANKINGS)
    assert found is not None
    assert (found.agreement, found.value, found.pairs) == (0, 0.5, 2)
    assert ceiling_of(RANKINGS[1:]) is None
    alike = [ranking(f"p{n}", who, "a", "b") for n in range(9) for who in ("ann", "bob")]
    off = [ranking("x", "ann", "a", "b"), ranking("x", "bob", "b", "a")]
    nine_of_ten = ceiling_of(alike + off)
    assert nine_of_ten is not None
    assert nine_of_ten.value == pytest.approx((1 + 0.8**0.5) / 2)
    assert nine_of_ten.low is not None
    assert nine_of_ten.high == 1
    assert nine_of_ten.low < nine_of_ten.value


def crowd(prompts: int, *, start: int, wrong: int, labeler: str = "ann") -> list[Ranking]:
    """`a` is better than `b`, but for every `wrong`-th prompt."""
    return [
        ranking(f"p{n:04}-", labeler, *(("b", "a") if n % wrong == 0 else ("a", "b")))
        for n in range(start, start + prompts)
    ]


def planted() -> tuple[dict[Split, Votes], dict[str, float], dict[str, str]]:
    """Scores put `a` first by one nat; its texts say good, those of `b` bad, and are longer."""
    votes: dict[Split, Votes] = {
        "train": votes_of(crowd(200, start=0, wrong=1000)),
        "validation": votes_of(crowd(100, start=1000, wrong=4)),
        "test": votes_of(
            [*crowd(100, start=2000, wrong=5), *crowd(30, start=2000, wrong=2, labeler="eve")]
        ),
    }
    ids = {one for held in votes.values() for one in (*held.better, *held.worse)}
    scores = {one: 1.0 if one.endswith("a") else 0.0 for one in ids}
    texts = {one: "good thing" if one.endswith("a") else "bad thing indeed" for one in ids}
    return votes, scores, texts


def test_evidence_on_planted_votes() -> None:
    votes, scores, texts = planted()
    found = evidence_on(votes, scores, texts, scale=2.0, strangers=["eve"])
    assert found.split == "test"
    assert found.accuracy is not None
    assert found.accuracy.value == pytest.approx(0.8)
    assert found.accuracy.prompts == 100
    assert found.train is not None
    assert found.train.value == pytest.approx(0.995)
    assert found.validation is not None
    assert found.validation.value == pytest.approx(0.75)
    # The shorter one is better, so longest-is-best is wrong where the model is right.
    assert found.longest is not None
    assert found.longest.value == pytest.approx(0.2)
    assert found.gain_over_longest is not None
    assert found.gain_over_longest.value == pytest.approx(0.6)
    # A bag of words sees good and bad as well as the model does.
    assert found.words is not None
    assert found.gain_over_words is not None
    assert (found.words.value, found.gain_over_words.value) == pytest.approx((0.8, 0))
    # sigmoid(2 / T) = .75 on validation, where three of four votes follow the scores.
    assert found.temperature == pytest.approx(2 / np.log(3), rel=1e-3)
    assert found.temperature_votes == 100
    assert found.calibration is not None
    assert found.calibrated is not None
    assert found.calibration.error == pytest.approx(0.881 - 0.8, abs=1e-3)
    assert found.calibrated.error == pytest.approx(0.8 - 0.75, abs=1e-3)
    assert found.held_out_labelers is not None
    assert found.held_out_labelers.name == "1 labeler"
    assert found.held_out_labelers.right.value == pytest.approx(0.5)
    (ann,) = found.by_labeler
    assert (ann.name, ann.right.count) == ("ann", 100)


def test_without_a_test_split_validation_measures_and_fits_no_temperature() -> None:
    votes, scores, texts = planted()
    votes["test"] = votes_of([])
    assert held_out_split(votes) == "validation"
    found = evidence_on(votes, scores, texts, scale=1.0)
    assert (found.split, found.temperature, found.calibrated) == ("validation", None, None)


def test_without_any_held_out_vote_there_is_no_evidence() -> None:
    votes, scores, texts = planted()
    votes["test"] = votes["validation"] = votes_of([])
    found = evidence_on(votes, scores, texts, scale=1.0)
    assert (found.split, found.accuracy) == (None, None)


def test_names_of_prompts_and_labelers_do_not_matter() -> None:
    """Identity 25, for everything but the draws of the intervals."""
    votes, scores, texts = planted()
    renamed = {
        split: Votes(
            one.better,
            one.worse,
            np.array([f"x-{name}" for name in one.labeler]),
            np.array([f"{name[::-1]}" for name in one.prompt]),
            one.margin,
        )
        for split, one in votes.items()
    }
    ours = evidence_on(votes, scores, texts, scale=1.0)
    theirs = evidence_on(renamed, scores, texts, scale=1.0)
    assert ours.calibration == theirs.calibration
    assert ours.temperature == theirs.temperature
    assert ours.accuracy is not None
    assert theirs.accuracy is not None
    assert ours.accuracy.value == theirs.accuracy.value
