"""Probes: what becomes of a text, and what is made of the scores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.reward.probes import (
    FEWEST_CASES,
    SYNONYMS,
    Answer,
    Case,
    cases_of,
    paraphrased,
    probed,
    repeated,
    shuffled,
    swapped,
    truncated,
)

WORDS = ["Big", "dogs", "don't", "often", "help.", "I'm", "7", "glad,", "maybe!"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A big dog.", "A large dog."),
        ("Large dogs often help.", "Big dogs frequently assist."),
        ("I don't know.", "I do not know."),
        ("It is late, I'm off.", "It's late, I am off."),
        ("Bigger dogs.", "Bigger dogs"),  # no synonym within a word: the full stop goes
        ("Bigger dogs", "Bigger dogs."),
        ("Is it?", None),
    ],
)
def test_paraphrases_by_hand(text: str, said: str | None) -> None:
    assert paraphrased(text) == said


def test_a_synonym_is_one_way_and_back() -> None:
    words = [word for pair in SYNONYMS for word in pair]
    assert len(set(words)) == len(words)
    for first, second in SYNONYMS:
        there = paraphrased(f"it was {first} here")
        assert there == f"it was {second} here"
        assert paraphrased(there) == f"it was {first} here"


def test_half_of_the_words_blanks_as_they_were() -> None:
    assert truncated("one two\n\nthree four five six seven") == "one two\n\nthree"
    assert truncated("one two three four five") is None
    assert repeated("Yes, do.\n") == "Yes, do. Yes, do.\n"


@given(TEXTS)
def test_transformations_keep_to_the_words(words: list[str]) -> None:
    text = " ".join(words)
    assert sorted(shuffled(text, "x").split()) == sorted(words)
    assert repeated(text).split() == words * 2
    half = truncated(text)
    assert half is None or text.startswith(half)
    assert half is None or len(half.split()) == len(words) // 2
    assert paraphrased(text) != text


def test_each_answer_meets_that_of_another_prompt() -> None:
    answers = [Answer(f"p{n}", f"text {n}") for n in range(30)]
    others = swapped(answers)
    assert all(other != one.text for one, other in zip(answers, others, strict=True))
    assert sorted(filter(None, others)) == sorted(one.text for one in answers)
    assert swapped(answers[::-1]) == others[::-1], "by hash, whatever the order"
    assert swapped([Answer("p", "same"), Answer("q", "same ")]) == [None, None]


def test_cases_leave_out_what_cannot_be_changed() -> None:
    cases = cases_of([Answer("p", "Short."), Answer("q", "A big dog barks at the cat.")])
    assert [(one.answer.prompt_id, one.probe) for one in cases] == [
        ("p", "swap"),
        ("p", "repetition"),
        ("p", "paraphrase"),
        ("q", "swap"),
        ("q", "truncation"),
        ("q", "repetition"),
        ("q", "paraphrase"),
    ]
    assert cases[0].changed == "A big dog barks at the cat."


def test_what_the_scores_say_by_hand() -> None:
    answers = [Answer(f"p{n}", "") for n in range(FEWEST_CASES)]
    scored = [(Case("swap", one, ""), 2.0, 2.0 - n) for n, one in enumerate(answers)]
    scored += [(Case("repetition", one, ""), 2.0, 2.0 - n) for n, one in enumerate(answers)]
    scored += [(Case("paraphrase", one, ""), 2.0, 2.0 - n / 10) for n, one in enumerate(answers)]
    found = {one.probe: one for one in probed(scored, asked=25, std=2.0)}
    # An equal score is no higher (repetition), but not lower (swap).
    assert found["swap"].right.value == pytest.approx(19 / 20)
    assert found["repetition"].right.value == 1
    assert found["swap"].shift == pytest.approx(-9.5 / 2)
    # At most half of 2.0: shifts of 0 to 10 tenths.
    assert found["paraphrase"].right.value == pytest.approx(11 / 20)
    assert found["paraphrase"].shift == pytest.approx(0.95 / 2)
    assert (found["swap"].left_out, found["truncation"].left_out) == (5, 25)
    assert (found["truncation"].right.value, found["truncation"].shift) == (None, None)
    low, high = found["swap"].right.interval or (0, 0)
    assert low < 19 / 20 < high


def test_few_cases_are_counted_and_not_judged() -> None:
    scored = [(Case("swap", Answer("p", ""), ""), 1.0, 0.0)] * (FEWEST_CASES - 1)
    swap = probed(scored, asked=19, std=1.0)[0]
    assert (swap.right.value, swap.right.count, swap.shift) == (None, 19, -1.0)


def test_scores_that_are_all_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="all answers score alike"):
        probed([], asked=0, std=0.0)
