"""Records: ids that follow the content alone, and rankings that cannot be altered unseen."""

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.data.identity import canonical, content_id
from rlhf.data.records import Message, Preference, Prompt, Ranking, Response

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
turns = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=9)),
    max_size=3,
)


@st.composite
def rankings(draw: st.DrawFn) -> Ranking:
    shown = draw(st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=2, unique=True))
    levels: dict[int, list[str]] = {}
    for one in shown:
        levels.setdefault(draw(st.integers(0, 3)), []).append(one)
    return Ranking.of(
        prompt_id="prompt-1",
        labeler_id=draw(st.text(min_size=1, max_size=5)),
        groups=tuple(tuple(levels[level]) for level in sorted(levels)),
        shown=tuple(shown),
        none_acceptable=draw(st.booleans()),
        duration_seconds=draw(st.floats(0, 1e4)),
        rationale=draw(st.text(max_size=9)),
        submission_id=draw(st.uuids().map(str)),
    )


@given(
    st.dictionaries(st.text(max_size=4), json_values, max_size=4), st.randoms(use_true_random=False)
)
def test_the_order_of_keys_does_not_change_an_id(
    value: dict[str, Any], shuffler: random.Random
) -> None:
    keys = list(value)
    shuffler.shuffle(keys)
    assert content_id("thing", {key: value[key] for key in keys}) == content_id("thing", value)
    assert content_id("other", value) != content_id("thing", value)


@given(json_values, json_values)
def test_different_values_have_different_ids(one: Any, two: Any) -> None:
    assert (canonical(one) == canonical(two)) == (content_id("x", one) == content_id("x", two))


def test_an_id_is_the_same_on_every_machine() -> None:
    prompt = Prompt.of("Where is my parcel?")
    # printf '["prompt",[{"content":"Where is my parcel?","role":"user"}]]' | sha256sum
    assert prompt.id == "prompt-6b98e43b4e226aa2"
    assert Prompt.of("Where is my parcel?", family="parcels", split="test").id == prompt.id


@given(turns)
def test_prompts_survive_json_or_are_refused(given: list[Message]) -> None:
    messages = (*given, Message("user", "And then?"))
    prompt = Prompt.of(messages, family="f", split="test", demonstration="d")
    assert Prompt.from_json(prompt.to_json()) == prompt
    if not given or given[-1].role != "user" or not given[-1].content.strip():
        with pytest.raises(ValueError, match="must end in a user turn"):
            Prompt.of(tuple(given))


@given(rankings())
def test_rankings_survive_json(ranking: Ranking) -> None:
    again = Ranking.from_json(ranking.to_json())
    assert again == ranking
    assert again.submission_id == ranking.submission_id


@given(rankings(), st.randoms(use_true_random=False))
def test_the_order_within_a_tie_does_not_matter(ranking: Ranking, shuffler: random.Random) -> None:
    row = ranking.to_json()
    for group in row["groups"]:
        shuffler.shuffle(group)
    assert Ranking.from_json(row) == ranking


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("groups", [["b"], ["a"]]),
        ("shown", ["b", "a"]),
        ("labeler_id", "bob"),
        ("prompt_id", "prompt-2"),
        ("none_acceptable", True),
        ("duration_seconds", 2.0),
        ("submitted_at", "2026-01-01"),
        ("rationale", "changed"),
        ("supersedes", "ranking-0"),
    ],
)
def test_an_altered_ranking_is_seen(key: str, value: object) -> None:
    made = Ranking.of(
        prompt_id="prompt-1", labeler_id="ada", groups=(("a",), ("b",)), shown=("a", "b")
    )
    with pytest.raises(ValueError, match=f"{made.id} was altered"):
        Ranking.from_json({**made.to_json(), key: value})


@pytest.mark.parametrize(
    ("groups", "shown", "message"),
    [
        ((), ("a", "b"), "an empty ranking"),
        ((("a", "b"), ()), ("a", "b"), "an empty tie group"),
        ((("a",), ("a", "b")), ("a", "b"), "names a response twice"),
        ((("a",),), ("a", "b"), "ranked ['a'] of prompt-1 but was shown ['a', 'b']"),
        ((("a",),), ("a",), "at least two different responses"),
        ((("a",), ("b",)), ("a", "b", "b"), "at least two different responses"),
    ],
)
def test_what_is_no_ranking_is_refused(
    groups: tuple[tuple[str, ...], ...], shown: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Ranking.of(prompt_id="prompt-1", labeler_id="ada", groups=groups, shown=shown)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_ranking_takes_a_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        Ranking.of(
            prompt_id="p",
            labeler_id="ada",
            groups=(("a", "b"),),
            shown=("a", "b"),
            duration_seconds=seconds,
        )


def test_none_acceptable_needs_no_order() -> None:
    made = Ranking.of(
        prompt_id="p", labeler_id="ada", groups=(), shown=("a", "b"), none_acceptable=True
    )
    assert made.positions() == {}


def test_a_cut_off_response_is_another_response() -> None:
    whole, cut = Response.of("p", "Yes"), Response.of("p", "Yes", finished=False)
    assert whole.id != cut.id
    assert Response.from_json(cut.to_json()) == cut
    assert Response.of("p", "Yes", model="other").id == whole.id


def test_a_preference_row_has_the_shape_of_messages() -> None:
    row = Preference((Message("user", "Q"),), "good", "bad", "p", "r", "g", 0.5, 2, False).to_json()
    assert row["chosen"] == [{"role": "assistant", "content": "good"}]
    assert row["rejected"] == [{"role": "assistant", "content": "bad"}]
    assert (row["weight"], row["margin"], row["tie"]) == (0.5, 2, False)
