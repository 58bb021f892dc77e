"""Rankings to pairs: counts, margins and weights, worked by hand and as properties."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.data.identity import content_id
from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.pairs import comparisons, preferences_from

PROMPT = Prompt.of("Where is my parcel?")
ANSWERS = [Response.of(PROMPT.id, f"answer {number}") for number in range(6)]
IDS = [answer.id for answer in ANSWERS]
BY_ID = {answer.id: answer for answer in ANSWERS}


def ranking(
    groups: list[list[int]], labeler: str = "ada", none_acceptable: bool = False
) -> Ranking:
    flat = sorted(number for group in groups for number in group) or [0, 1]
    return Ranking.of(
        prompt_id=PROMPT.id,
        labeler_id=labeler,
        groups=tuple(tuple(IDS[number] for number in group) for group in groups),
        shown=tuple(IDS[number] for number in flat),
        none_acceptable=none_acceptable,
    )


def test_margins_count_tie_groups() -> None:
    pairs = {
        (IDS.index(better), IDS.index(worse)): margin
        for better, worse, margin in comparisons(ranking([[3], [0], [1, 2]]))
    }
    tie = {pair: margin for pair, margin in pairs.items() if set(pair) == {1, 2}}
    assert list(tie.values()) == [0]
    strict = {pair: margin for pair, margin in pairs.items() if pair not in tie}
    assert strict == {(3, 0): 1, (3, 1): 2, (3, 2): 2, (0, 1): 1, (0, 2): 1}


def test_two_labelers_share_the_vote_of_a_prompt() -> None:
    rankings = [ranking([[0], [1], [2]], "ada"), ranking([[2], [0]], "bob")]
    weights = [p.weight for p in preferences_from(rankings, {PROMPT.id: PROMPT}, BY_ID)]
    assert weights == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_a_preference_names_what_it_came_from() -> None:
    made = ranking([[1], [0]])
    (pair,) = preferences_from([made], {PROMPT.id: PROMPT}, BY_ID)
    assert (pair.chosen, pair.rejected) == ("answer 1", "answer 0")
    assert pair.group_id == content_id("group", [PROMPT.id, "ada"])
    assert (pair.ranking_id, pair.prompt_id) == (made.id, PROMPT.id)
    assert (pair.margin, pair.tie, pair.weight) == (1, False, 1.0)
    assert pair.to_json()["prompt"] == [{"role": "user", "content": "Where is my parcel?"}]


def test_none_acceptable_without_an_order_gives_no_pairs() -> None:
    rankings = [ranking([], "ada", none_acceptable=True), ranking([[0], [1]], "bob")]
    pairs = list(preferences_from(rankings, {PROMPT.id: PROMPT}, BY_ID))
    assert [pair.weight for pair in pairs] == [1.0]


def test_ties_alone_take_nothing_from_the_strict_pairs() -> None:
    rankings = [ranking([[0, 1]], "ada"), ranking([[0], [1]], "bob")]
    pairs = list(preferences_from(rankings, {PROMPT.id: PROMPT}, BY_ID))
    assert [(pair.tie, pair.weight) for pair in pairs] == [(True, 1.0), (False, 1.0)]


@st.composite
def many_rankings(draw: st.DrawFn) -> list[Ranking]:
    made = []
    for labeler in range(draw(st.integers(1, 4))):
        shown = draw(st.lists(st.integers(0, 5), min_size=2, unique=True))
        levels = defaultdict(list)
        for number in shown:
            levels[draw(st.integers(0, 3))].append(number)
        made.append(ranking([levels[level] for level in sorted(levels)], f"labeler-{labeler}"))
    return made


@given(many_rankings())
def test_weights_of_strict_pairs_sum_to_one_and_every_pair_appears(made: list[Ranking]) -> None:
    pairs = list(preferences_from(made, {PROMPT.id: PROMPT}, BY_ID))
    strict = [pair.weight for pair in pairs if not pair.tie]
    assert sum(strict) == pytest.approx(1.0 if strict else 0.0)
    assert len(pairs) == sum(len(r.shown) * (len(r.shown) - 1) // 2 for r in made)
    for one in made:
        places = one.positions()
        for better, worse, margin in comparisons(one):
            assert places[worse] - places[better] == margin >= 0


def test_an_unknown_prompt_or_response_is_named() -> None:
    with pytest.raises(ValueError, match=PROMPT.id):
        list(preferences_from([ranking([[0], [1]])], {}, BY_ID))
    with pytest.raises(ValueError, match=IDS[0]):
        list(preferences_from([ranking([[0], [1]])], {PROMPT.id: PROMPT}, {}))


def test_a_ranking_has_its_part_by_the_weight_of_its_labeler() -> None:
    rankings = [ranking([[0], [1]], "ada"), ranking([[1], [0]], "bob"), ranking([[0], [2]], "cy")]

    def weights(labelers: dict[str, float]) -> dict[str, float]:
        made = preferences_from(rankings, {PROMPT.id: PROMPT}, BY_ID, labelers)
        names = {one.id: one.labeler_id for one in rankings}
        return {names[pair.ranking_id]: pair.weight for pair in made}

    assert weights({}) == pytest.approx({"ada": 1 / 3, "bob": 1 / 3, "cy": 1 / 3})
    # Together they weigh more than one ranking: the prompt counts once.
    assert weights({"ada": 0.9, "bob": 0.1}) == pytest.approx({"ada": 0.45, "bob": 0.05, "cy": 0.5})
    # Together they weigh less than one: so does the prompt. Who weighs nothing says nothing.
    assert weights({"ada": 0.3, "bob": 0.1, "cy": 0.0}) == pytest.approx({"ada": 0.3, "bob": 0.1})
    assert weights({"ada": 0.0, "bob": 0.0, "cy": 0.0}) == {}


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -0.1])
def test_a_weight_that_makes_no_sense_is_refused_by_name(weight: float) -> None:
    with pytest.raises(ValueError, match="labeler ada has the weight"):
        list(preferences_from([ranking([[0], [1]])], {PROMPT.id: PROMPT}, BY_ID, {"ada": weight}))
