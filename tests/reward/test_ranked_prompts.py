"""Rankings as training data: who counts how much, what is left out, what a batch looks like."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from tiny_models import EOS, PAD, tokenizer

from rlhf.data.records import Message, Prompt, Ranking, Response
from rlhf.models.conversation import prompt_ids, prompt_within, response_ids
from rlhf.reward.rankings import Dropped, Order, RankedPrompt, collate, ranked_prompts

PROMPTS = [Prompt.of("How do I boil an egg?"), Prompt.of("Name three fruits that are red.")]
TEXTS = ["In water.", "I do not know.", "Put it in boiling water for eight minutes.", "No."]
RESPONSES = {
    (prompt.id, n): Response.of(prompt.id, text)
    for prompt in PROMPTS
    for n, text in enumerate(TEXTS)
}
BY_ID = {response.id: response for response in RESPONSES.values()}


def ranking(
    prompt: Prompt, labeler: str, *groups: Sequence[int], none_acceptable: bool = False
) -> Ranking:
    named = tuple(tuple(RESPONSES[prompt.id, n].id for n in group) for group in groups)
    shown = tuple(i for group in named for i in group) or tuple(
        RESPONSES[prompt.id, n].id for n in range(2)
    )
    return Ranking.of(
        prompt_id=prompt.id,
        labeler_id=labeler,
        groups=named,
        shown=shown,
        none_acceptable=none_acceptable,
    )


def grouped(
    *rankings: Ranking,
    max_tokens: int = 200,
    responses: dict[str, Response] | None = None,
    labelers: dict[str, float] | None = None,
) -> tuple[list[RankedPrompt], Dropped]:
    return ranked_prompts(
        rankings,
        {prompt.id: prompt for prompt in PROMPTS},
        responses or BY_ID,
        tokenizer(),
        max_tokens=max_tokens,
        labelers=labelers,
    )


def votes(one: RankedPrompt) -> dict[tuple[int, int], float]:
    """The summed weight of each pair, by the numbers of its texts."""
    texts = [tuple(response_ids(tokenizer(), text)) for text in TEXTS]
    number = [texts.index(ids) for ids in one.responses]
    found: dict[tuple[int, int], float] = {}
    for better, worse, weight in zip(one.better, one.worse, one.weight, strict=True):
        pair = number[better], number[worse]
        found[pair] = found.get(pair, 0) + weight
    return found


def test_a_ranking_with_a_tie_by_hand() -> None:
    (one,), dropped = grouped(ranking(PROMPTS[0], "ann", [2], [0, 1], [3]))
    # five strict pairs; the tied two give none
    expected = {(2, 0): 0.2, (2, 1): 0.2, (2, 3): 0.2, (0, 3): 0.2, (1, 3): 0.2}
    assert votes(one) == pytest.approx(expected)
    assert dropped == Dropped()
    assert list(one.prompt) == prompt_ids(tokenizer(), PROMPTS[0].messages)
    assert sorted(one.response_words) == [1, 2, 4, 8]


def test_a_prompt_counts_once_and_its_rankings_share_it() -> None:
    (one,), _ = grouped(
        ranking(PROMPTS[0], "ann", [2], [0], [1]), ranking(PROMPTS[0], "bob", [1], [2])
    )
    # ann: three pairs of 1/6; bob: one of 1/2
    expected = {(2, 0): 1 / 6, (2, 1): 1 / 6, (0, 1): 1 / 6, (1, 2): 1 / 2}
    assert votes(one) == pytest.approx(expected)
    assert sum(one.weight) == pytest.approx(1)


def test_a_label_given_twice_weighs_twice_within_its_prompt() -> None:
    (one,), _ = grouped(
        ranking(PROMPTS[0], "ann", [0], [1]),
        ranking(PROMPTS[0], "bob", [0], [1]),
        ranking(PROMPTS[0], "cy", [1], [0]),
    )
    assert votes(one) == pytest.approx({(0, 1): 2 / 3, (1, 0): 1 / 3})


def test_each_response_stands_once_however_often_it_was_ranked() -> None:
    (one,), _ = grouped(
        *(ranking(PROMPTS[0], name, [2], [0], [1], [3]) for name in ("ann", "bob", "cy"))
    )
    assert len(one.responses) == len(set(one.responses)) == 4
    assert len(one.better) == 18


def test_names_of_labelers_and_the_order_of_rankings_change_nothing() -> None:
    made = [("ann", [[2], [0], [1]]), ("bob", [[1], [2, 0]]), ("cy", [[0], [2]])]
    first, _ = grouped(*(ranking(PROMPTS[0], name, *groups) for name, groups in made))
    other, _ = grouped(
        *(ranking(PROMPTS[0], name[::-1] + "x", *groups) for name, groups in made[::-1])
    )
    assert first[0].responses == other[0].responses
    assert votes(first[0]) == pytest.approx(votes(other[0]))


def test_rankings_without_a_pair_are_counted_and_take_no_share() -> None:
    made, dropped = grouped(
        ranking(PROMPTS[0], "ann", [0, 1, 2]),
        ranking(PROMPTS[0], "bob", none_acceptable=True),
        ranking(PROMPTS[0], "cy", [0], [1]),
        ranking(PROMPTS[1], "ann", [0, 1]),
    )
    assert [one.prompt_id for one in made] == [PROMPTS[0].id]
    assert votes(made[0]) == pytest.approx({(0, 1): 1.0})
    assert dropped == Dropped(rankings_without_pair=3)


def test_prompts_are_cut_on_the_left_and_counted() -> None:
    (one,), dropped = grouped(ranking(PROMPTS[0], "ann", [0], [1]), max_tokens=20)
    longest = max(len(response) for response in one.responses)
    assert len(one.prompt) == 20 - longest
    whole = prompt_ids(tokenizer(), PROMPTS[0].messages)
    assert list(one.prompt) == whole[-len(one.prompt) :]
    assert dropped == Dropped(prompts_cut=1, prompts_cut_in_message=1)


def test_responses_that_leave_no_room_are_left_out_with_their_pairs() -> None:
    room = len(response_ids(tokenizer(), TEXTS[2]))
    (one,), dropped = grouped(ranking(PROMPTS[0], "ann", [2], [0], [1]), max_tokens=room)
    assert votes(one) == pytest.approx({(0, 1): 1.0})
    assert dropped.responses_too_long == 1
    made, dropped = grouped(ranking(PROMPTS[0], "ann", [2], [0]), max_tokens=room)
    assert made == []
    assert dropped == Dropped(rankings_without_pair=1, responses_too_long=1)


def test_a_response_that_was_cut_off_has_no_eos() -> None:
    cut = Response.of(PROMPTS[0].id, TEXTS[0], finished=False)
    ended = RESPONSES[PROMPTS[0].id, 0]
    asked = Ranking.of(
        prompt_id=PROMPTS[0].id,
        labeler_id="ann",
        groups=((ended.id,), (cut.id,)),
        shown=(ended.id, cut.id),
    )
    (one,), _ = grouped(asked, responses={ended.id: ended, cut.id: cut})
    better, worse = one.responses[one.better[0]], one.responses[one.worse[0]]
    assert better == (*worse, EOS)


def test_nothing_to_learn_from_gives_nothing() -> None:
    assert grouped() == ([], Dropped())


def test_a_batch_by_hand() -> None:
    first = RankedPrompt("a", (5,), ((6, 1), (7, 1)), (1, 1), (1,), (0,), (1.0,))
    second = RankedPrompt(
        "b", (8, 9), ((6,), (7,), (4, 1)), (1, 1, 1), (0, 0), (1, 2), (0.25, 0.75)
    )
    batch = collate([first, second], [10, 11, 3, 4, 5], PAD)
    (part,) = batch.packs[0].parts
    assert part.rows.input_ids.tolist() == [
        [0, 5, 6, 1],
        [0, 5, 7, 1],
        [0, 8, 9, 6],
        [0, 8, 9, 7],
        [8, 9, 4, 1],
    ]
    assert part.places.tolist() == [0, 1, 2, 3, 4]
    strict = batch.rankings.strict
    assert strict.better.tolist() == [1, 2, 2]
    assert strict.worse.tolist() == [0, 3, 4]
    assert strict.weight.tolist() == [1.0, 0.25, 0.75]
    assert strict.margin.tolist() == [1, 1, 1]
    assert batch.positions.tolist() == [10, 11, 3, 4, 5]
    assert part.rows.response_mask.sum(1).tolist() == [2, 2, 1, 1, 2]
    assert torch.equal(part.rows.attention_mask.sum(1), torch.tensor([3, 3, 3, 3, 4]))


def test_rankings_are_kept_whole_for_losses_that_know_ties() -> None:
    rankings = (
        ranking(PROMPTS[0], "ann", [2], [0, 1], [3]),
        ranking(PROMPTS[0], "bob", [1, 2]),
        ranking(PROMPTS[1], "ann", [0, 1]),
    )
    strict, dropped = grouped(*rankings)
    assert [len(one.orders) for one in strict] == [1]
    assert dropped.rankings_without_pair == 2
    made, dropped = ranked_prompts(
        rankings, {p.id: p for p in PROMPTS}, BY_ID, tokenizer(), max_tokens=200, ties=True
    )
    assert dropped == Dropped()
    kept = {one.prompt_id: one for one in made}
    both = kept[PROMPTS[0].id]
    assert [order.weight for order in both.orders] == [0.5, 0.5]
    assert [[len(group) for group in order.groups] for order in both.orders] == [[1, 2, 1], [2]]
    assert votes(both) == votes(strict[0])
    assert kept[PROMPTS[1].id].better == ()
    (level,) = kept[PROMPTS[1].id].orders[0].groups
    assert sorted(level) == [0, 1]


def test_margins_are_groups_apart() -> None:
    (one,), _ = grouped(ranking(PROMPTS[0], "ann", [2], [0, 1], [3]))
    texts = [tuple(response_ids(tokenizer(), text)) for text in TEXTS]
    number = [texts.index(ids) for ids in one.responses]
    apart = {
        (number[b], number[w]): margin
        for b, w, margin in zip(one.better, one.worse, one.margin, strict=True)
    }
    assert apart == {(2, 0): 1, (2, 1): 1, (2, 3): 2, (0, 3): 1, (1, 3): 1}
    assert collate([one], range(4), PAD).rankings.strict.margin.tolist() == list(one.margin)


def test_pairs_and_choices_of_a_ranking_with_a_tie_by_hand() -> None:
    one = RankedPrompt(
        "a", (5,), ((6,), (7,), (8,)), (1,) * 3, (), (), (), (), (Order(((2,), (0, 1)), 1.0),)
    )
    found = collate([one], range(3), PAD).rankings
    assert found.strict.better.tolist() == []
    pairs = found.pairs
    assert list(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True)) == [
        (2, 0),
        (2, 1),
        (0, 1),
    ]
    assert pairs.margin.tolist() == [1, 1, 0]
    assert pairs.weight.tolist() == pytest.approx([1 / 3] * 3)
    assert found.choices.alternatives.tolist() == [[2, 0, 1], [0, 1, -1]]
    assert found.choices.chosen.tolist() == [[True, False, False], [True, True, False]]
    assert found.choices.weight.tolist() == [0.5, 0.5]


def test_a_long_conversation_loses_its_oldest_messages_first() -> None:
    prompt = Prompt.of(
        (
            Message("system", "Be brief."),
            Message("user", "Name three fruits that are red."),
            Message("assistant", "Apples, cherries and strawberries are red."),
            Message("user", "How do I boil an egg?"),
        )
    )
    whole = prompt_ids(tokenizer(), prompt.messages)
    last = prompt_ids(tokenizer(), [prompt.messages[0], prompt.messages[3]])
    assert prompt_within(tokenizer(), prompt.messages, len(whole)) == (whole, None)
    assert prompt_within(tokenizer(), prompt.messages, len(whole) - 1)[1] == "messages"
    assert prompt_within(tokenizer(), prompt.messages, len(last)) == (last, "messages")
    bare = prompt_ids(tokenizer(), prompt.messages[3:])
    assert prompt_within(tokenizer(), prompt.messages, len(last) - 1) == (bare, "messages")
    assert prompt_within(tokenizer(), prompt.messages, 5) == (whole[-5:], "tokens")
    responses = [Response.of(prompt.id, text) for text in ("No.", "In water.")]
    ranked = Ranking.of(
        prompt_id=prompt.id,
        labeler_id="ann",
        groups=tuple((one.id,) for one in responses),
        shown=tuple(one.id for one in responses),
    )
    longest = max(len(response_ids(tokenizer(), one.text)) for one in responses)
    (one,), dropped = ranked_prompts(
        [ranked],
        {prompt.id: prompt},
        {one.id: one for one in responses},
        tokenizer(),
        max_tokens=len(last) + longest,
    )
    assert list(one.prompt) == last
    assert dropped == Dropped(prompts_cut=1)


def test_a_ranking_has_its_part_by_the_weight_of_its_labeler() -> None:
    rankings = [
        ranking(PROMPTS[0], "ann", [2], [0], [1]),
        ranking(PROMPTS[0], "bob", [1], [2]),
        ranking(PROMPTS[0], "cy", [1], [3]),
        ranking(PROMPTS[1], "bob", [0], [1]),
        ranking(PROMPTS[1], "cy", [0, 1]),
    ]
    made, dropped = grouped(*rankings, labelers={"ann": 0.9, "bob": 0.3, "cy": 0.0})
    first, second = sorted(made, key=lambda one: len(one.better), reverse=True)
    # ann: three pairs share 0.9 of 1.2; bob: one pair of 0.3 of 1.2
    assert votes(first) == pytest.approx({(2, 0): 0.25, (2, 1): 0.25, (0, 1): 0.25, (1, 2): 0.25})
    assert [order.weight for order in first.orders] == pytest.approx([0.75, 0.25])
    assert (first.share, second.share) == (1.0, 0.3)
    assert len(first.responses) == 3, "what only cy ranked is not read"
    assert dropped == Dropped(rankings_without_weight=2)
    batch = collate([first, second], range(5), PAD)
    for pairs in (batch.rankings.strict, batch.rankings.pairs, batch.rankings.choices):
        assert float(pairs.weight.sum()) == pytest.approx(1.3)
    nobody, dropped = grouped(*rankings[3:], labelers={"bob": 0.0, "cy": 0.0})
    assert nobody == []
    assert dropped == Dropped(rankings_without_weight=2, prompts_without_weight=1)
    with pytest.raises(ValueError, match="labeler bob has the weight nan"):
        grouped(*rankings, labelers={"bob": float("nan")})


def test_responses_are_named() -> None:
    (one,), _ = grouped(ranking(PROMPTS[0], "ann", [2], [0]))
    for name, ids in zip(one.response_ids, one.responses, strict=True):
        assert ids == tuple(response_ids(tokenizer(), BY_ID[name].text))


def test_responses_without_a_token_and_pairs_of_the_same_tokens_are_counted() -> None:
    prompt = PROMPTS[0]
    cut = Response.of(prompt.id, "", finished=False)
    ended = Response.of(prompt.id, "")
    yes, again = (
        Response.of(prompt.id, "Yes."),
        replace(Response.of(prompt.id, "Yes. "), text="Yes."),
    )
    by_id = {one.id: one for one in (cut, ended, yes, again)}

    def ranked(labeler: str, *order: Response) -> Ranking:
        return Ranking.of(
            prompt_id=prompt.id,
            labeler_id=labeler,
            groups=tuple((one.id,) for one in order),
            shown=tuple(one.id for one in order),
        )

    (one,), dropped = grouped(ranked("ann", yes, again, ended, cut), responses=by_id)
    # Left of six pairs: both before the empty one that was finished, whose only token is EOS.
    assert sorted(zip(one.better, one.worse, one.weight, strict=True)) == [
        (one.response_ids.index(better.id), one.response_ids.index(ended.id), 0.5)
        for better in sorted((yes, again), key=lambda o: one.response_ids.index(o.id))
    ]
    assert one.responses[one.response_ids.index(ended.id)] == (EOS,)
    assert dropped == Dropped(responses_empty=1, pairs_alike=1)
    made, dropped = grouped(ranked("ann", yes, again), responses=by_id)
    assert made == []
    assert dropped == Dropped(rankings_without_pair=1, pairs_alike=1)


def test_one_response_alone_gives_no_pair_and_a_response_cannot_be_ranked_twice() -> None:
    yes = RESPONSES[PROMPTS[0].id, 0]
    rated = Ranking.of(
        prompt_id=PROMPTS[0].id,
        labeler_id="ann",
        groups=((yes.id,),),
        shown=(yes.id,),
        mode="rate",
        details={"ratings": {yes.id: 3}},
    )
    assert grouped(rated) == ([], Dropped(rankings_without_pair=1))
    with pytest.raises(ValueError, match="names a response twice"):
        ranking(PROMPTS[0], "ann", [0], [0])
    with pytest.raises(ValueError, match="at least two different responses"):
        ranking(PROMPTS[0], "ann", [0])
