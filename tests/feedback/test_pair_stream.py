"""A file of rankings streamed into pairs: as from memory, whatever the order of its rows."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_pairs import IDS, PROMPT

from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.pairs import Voices, preferences_from, stream_pairs


def rankings_of_two_prompts() -> list[Ranking]:
    """Three labelers on one prompt, one with a tie; one on another; one who found none acceptable;
    one who judged policies.
    """
    other = Prompt.of("Where is my refund?")
    replies = [Response.of(other.id, text).id for text in ("here", "there")]

    def said(labeler: str, *groups: tuple[int, ...], **changes: Any) -> Ranking:
        shown = tuple(IDS[n] for n in sorted(n for group in groups for n in group) or (0, 1))
        ordered = tuple(tuple(IDS[n] for n in group) for group in groups)
        named: Json = {
            "prompt_id": PROMPT.id,
            "labeler_id": labeler,
            "groups": ordered,
            "shown": shown,
        }
        return Ranking.of(**{**named, **changes})

    return [
        said("ada", (0,), (1,), (2,)),
        said("bob", (2,), (0, 1)),
        said("cyd", (3,), (0,)),
        said("dan", none_acceptable=True),
        said("eve", (0,), (1,), mode="evaluate"),
        said(
            "ada",
            prompt_id=other.id,
            groups=((replies[1],), (replies[0],)),
            shown=tuple(replies),
        ),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_streamed_is_what_memory_gives(tmp_path: Path, seed: int) -> None:
    made = rankings_of_two_prompts()
    random.Random(seed).shuffle(made)
    path = tmp_path / "rankings.jsonl"
    write_jsonl(path, (one.to_json() for one in made))
    other = next(one.prompt_id for one in made if one.prompt_id != PROMPT.id)
    texts = {one: Response(one, "", one) for ranking in made for one in ranking.shown}
    prompts = {PROMPT.id: PROMPT, other: Prompt(other, PROMPT.messages)}
    # Each text is its own id, so that the two can be compared.
    held = list(preferences_from(made, prompts, texts))
    streamed = list(stream_pairs(path))
    assert [
        (one.prompt_id, one.ranking_id, one.better, one.worse, one.margin, one.weight)
        for one in streamed
    ] == [
        (one.prompt_id, one.ranking_id, one.chosen, one.rejected, one.margin, one.weight)
        for one in held
    ]
    strict = sum(one.weight for one in streamed if one.margin and one.prompt_id == PROMPT.id)
    assert strict == pytest.approx(1.0)
    assert len(streamed) == 3 + 3 + 1 + 1


def test_an_altered_row_is_refused(tmp_path: Path) -> None:
    row = rankings_of_two_prompts()[0].to_json()
    row["labeler_id"] = "bob"
    write_jsonl(tmp_path / "rankings.jsonl", [row])
    with pytest.raises(ValueError, match="was altered"):
        list(stream_pairs(tmp_path / "rankings.jsonl"))


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 9).map(float))))
def test_voices_are_sums_by_prompt(said: list[tuple[str, float]]) -> None:
    voices = Voices.of(said)
    for name in "abcdefg":
        assert voices.of_prompt(name) == sum(weight for prompt, weight in said if prompt == name)
