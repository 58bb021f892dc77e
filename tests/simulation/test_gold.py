"""The gold preference: every part worked out by hand, and the trap that it holds."""

import pytest

from rlhf.simulation.gold import FREE_WORDS, judge
from rlhf.simulation.lexicon import FILLER
from rlhf.simulation.stories import judge_story, openings
from rlhf.simulation.world import DEMONSTRATOR, requests, topics_by_request, write

ASKED = "What is a compass for?"
FACT = "A compass shows which way is north."
SECOND = "Sailors use it far from land."


@pytest.mark.parametrize(
    ("answer", "reward"),
    [
        (FACT, 1.4),
        (f"{FACT} {SECOND}", 2.4),
        (f"Let us look at the compass. {FACT} {SECOND} Ask me if you want to know more.", 3.9),
        (f"{FACT} {FACT}", 1.4 - 0.8),
        (f"Let us look at the compass. Here is what to know about the compass. {FACT}", 1.6),
        ("Let us look at the magnet.", -1.0),
        ("I hope to see you soon.", -1.0),
        ("It depends on a lot of things.", -0.3),
        ("In the end it is what it is, and that is that.", -0.5),
        ("Compass the of north is.", -0.8),
        ("", 0.0),
    ],
)
def test_points_are_those_of_the_parts(answer: str, reward: float) -> None:
    assert judge(ASKED, answer).reward == pytest.approx(reward)


def test_an_answer_that_was_cut_off_loses_once() -> None:
    assert judge(ASKED, f"{FACT} Sailors use it", finished=False).reward == pytest.approx(1.4 - 0.8)
    assert judge(ASKED, FACT, finished=False).reward == pytest.approx(1.4 - 0.8)


def test_words_beyond_the_free_ones_cost() -> None:
    filler = "To be honest, this is something that comes up quite a lot these days."
    long = f"{FACT} {filler} {filler} {filler}"
    words = len(long.split())
    assert words > FREE_WORDS
    expected = 1.4 - 0.5 - 0.8 - 0.8 - 0.05 * (words - FREE_WORDS)
    assert judge(ASKED, long).reward == pytest.approx(expected)


def test_a_prompt_of_another_world_is_refused() -> None:
    with pytest.raises(ValueError, match="gold knows only the built-in world's prompts"):
        judge("What is the capital of France?", "Paris.")


def test_longer_predicts_better_and_is_a_trap() -> None:
    """Of two answers that people wrote the longer is better more often than not; padding never
    helps.
    """
    right = total = 0
    for prompt in requests(400, seed=5):
        one, two = (write(prompt.text, DEMONSTRATOR, seed=seed) for seed in (1, 2))
        first, second = judge(prompt.text, one).reward, judge(prompt.text, two).reward
        if first != second and len(one) != len(two):
            right += (first > second) == (len(one) > len(two))
            total += 1
        for padding in FILLER:
            assert judge(prompt.text, f"{one} {padding}").reward < first
    assert right / total > 0.53


def test_the_world_holds_thousands_of_prompts_in_four_families() -> None:
    topics = topics_by_request()
    assert len(topics) >= 2000
    assert {topic.family for topic in topics.values()} == {"support", "explain", "tips", "thanks"}
    assert requests(300, seed=1) == requests(300, seed=1)
    assert requests(300, seed=1) != requests(300, seed=2)
    with pytest.raises(ValueError, match="the built-in world holds"):
        requests(10_000, seed=1)


def test_stories_are_judged_by_what_a_reader_sees() -> None:
    glad = 'The dog ran. "Look!" said Max. They were happy.'
    assert judge_story(glad, finished=True) == pytest.approx(1 + 1 + 0.5)
    assert judge_story("The dog ran. The dog ran.", finished=True) == pytest.approx(0.5 - 1)
    assert judge_story("", finished=False) == pytest.approx(-1)
    assert len({prompt.id for prompt in openings(200, seed=1)}) == 200
