"""Stretches of words that texts share, and prompts that stand in what was trained on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.data.contamination import overlap
from rlhf.data.records import Prompt
from rlhf.data.splits import near_duplicates_of
from rlhf.data.verbatim import SHORTEST, Corpus, words_of

SOURCE = "One two three four five, six seven eight nine ten."


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert words_of("It's a Nice, day!") == ["it", "s", "a", "nice", "day"]
    assert words_of("煮鸡蛋 now") == ["煮", "鸡", "蛋", "now"]
    assert words_of("Müller läuft") == ["müller", "läuft"]


def test_the_longest_shared_stretch_is_found() -> None:
    corpus = Corpus.of([SOURCE, "apples and pears and plums"])
    asked = [
        "he said TWO three: four five six - and left",  # five words
        "one two three",  # too short to say anything
        "ten one two three four",  # no stretch runs over the end of a text: four
        "plums one two three",
        "",
    ]
    assert corpus.longest_runs(asked) == [5, 0, 4, 0, 0]


def naive_longest(text: str, corpus: list[str]) -> int:
    """By looking at every stretch of every text."""
    own, found = words_of(text), 0
    for other in map(words_of, corpus):
        for i in range(len(own)):
            for j in range(len(other)):
                size = 0
                while (
                    i + size < len(own)
                    and j + size < len(other)
                    and own[i + size] == other[j + size]
                ):
                    size += 1
                found = max(found, size)
    return found


TEXTS = st.lists(st.text("ab c", max_size=40), max_size=4)


@given(asked=TEXTS, corpus=TEXTS)
def test_the_longest_stretch_agrees_with_looking_at_all(
    asked: list[str], corpus: list[str]
) -> None:
    found = Corpus.of(corpus).longest_runs(asked)
    for text, length in zip(asked, found, strict=True):
        exact = naive_longest(text, corpus)
        assert length <= exact
        assert length >= (exact if exact < 16 else exact * 8 / 9) or exact < SHORTEST
        if exact < SHORTEST:
            assert length == 0


def test_a_text_is_covered_by_the_stretches_that_it_shares() -> None:
    corpus = Corpus.of([SOURCE])
    # of eleven words the first eight are shared, and no other eight in a row
    eleven = "two three four five six seven eight nine is not ten"
    assert corpus.covered([eleven], 8) == [pytest.approx(8 / 11)]
    assert corpus.covered(["two three four", SOURCE, ""], 8) == [0.0, 1.0, 0.0]
    assert corpus.holds(["three four", SOURCE, "four three", ""]) == [True, True, False, False]


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt.of(text) for text in texts]


def test_prompts_overlap_where_they_stand_there_whole_or_nearly() -> None:
    trained = prompts(
        "Please tell me how I can cook rice at home in a small pot.",
        "My kettle arrived broken and I would like a new one, thank you very much in advance.",
    )
    inside = "How I can cook rice at home in a small pot"
    near = "My kettle arrived broken and I would like a new one, thank you very much in advance!"
    mostly = "Tell me how I can cook rice at home in a tent"  # eleven words of twelve
    quoted = "She said to me that the answer is forty-two and no other number"
    clean = "What is the capital of a country that has no sea?"
    evaluated = prompts(inside, near, mostly, quoted, clean)
    found = overlap(evaluated, trained, {"demonstrations": [f"Well. {quoted}, she said."]})
    names = {one.id: one.text for one in evaluated}
    assert {names[one] for one in found.overlapping} == {inside, near, quoted}
    assert {names[one]: source for one, source in found.whole.items()} == {
        inside: "prompts",
        near: "prompts",  # punctuation is no word
        quoted: "demonstrations",
    }
    assert {names[one] for one in found.near} == {near}
    assert {names[one] for one in found.mostly_shared} == {inside, near, mostly, quoted}
    assert found.covered[evaluated[2].id] == pytest.approx(11 / 12)
    assert found.covered[evaluated[4].id] == 0.0


def test_short_prompts_overlap_as_near_duplicates_only() -> None:
    trained = prompts("Well, boil an egg for me, if you have the time.", "Boil an egg!")
    found = overlap(prompts("Boil an egg!"), trained, {})
    assert len(found.near) == 1  # the same prompt is its own near-duplicate
    assert found.whole == {}
    assert overlap(prompts("Boil an egg"), trained[:1], {}).overlapping == []


def test_near_duplicates_between_two_bodies_are_exact() -> None:
    ours = prompts("a b c d e f g h", "x y z")
    theirs = prompts("a b c d e f g h i", "x y z q r s", "a b c d e f g h j")
    # word 3-grams: 6 of the first against 7: 6 / 7; and 1 of 4
    found = near_duplicates_of(ours, theirs, 6 / 7)
    assert found == {ours[0].id: min(theirs[0].id, theirs[2].id)}
    assert near_duplicates_of(ours, theirs, 0.86) == {}
    assert near_duplicates_of(theirs, theirs, 1.0) == {one.id: one.id for one in theirs}
    assert near_duplicates_of(ours, [], 0.5) == {}
    assert near_duplicates_of(theirs, ours[1:], 0.5) == {}  # alike among themselves is no matter
