"""Agreement: hand-worked shares, what loops count, intervals that cover."""

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.agreement import agreement_ceiling, agreement_over, pair_agreement
from rlhf.feedback.verdicts import verdicts_of


def ranking(labeler: str, *groups: str, question: str = "Which colour?") -> Ranking:
    """One ranking: every letter of a group is a response."""
    prompt = Prompt.of(question)
    ids = {letter: Response.of(prompt.id, letter).id for group in groups for letter in group}
    return Ranking.of(
        prompt_id=prompt.id,
        labeler_id=labeler,
        groups=tuple(tuple(ids[letter] for letter in group) for group in groups),
        shown=tuple(sorted(ids.values())),
    )


def test_shares_worked_by_hand() -> None:
    # Pairs ab, ac, bc. ada: > > =; bob: > > >; cyd: < > >.
    # ada-bob: strict 2 of 2, three-way 2 of 3. ada-cyd: 1 of 2, 1 of 3. bob-cyd: 2 of 3, 2 of 3.
    made = [ranking("ada", "a", "bc"), ranking("bob", "a", "b", "c"), ranking("cyd", "b", "a", "c")]
    found = pair_agreement(made)
    assert (found.pairs_strict, found.pairs, found.prompts) == (7, 9, 1)
    assert found.strict == pytest.approx(5 / 7)
    assert found.with_ties == pytest.approx(5 / 9)
    assert found.strict_interval is None


def test_nothing_shared_gives_none() -> None:
    alone = [ranking("ada", "a", "b"), ranking("bob", "c", "d")]
    found = pair_agreement(alone)
    assert (found.strict, found.with_ties, found.pairs, found.prompts) == (None, None, 0, 0)
    ties = pair_agreement([ranking("ada", "ab"), ranking("bob", "ab")])
    assert (ties.strict, ties.with_ties, ties.pairs_strict, ties.pairs) == (None, 1.0, 0, 1)


def test_the_last_judgement_of_a_labeler_counts() -> None:
    made = [ranking("ada", "a", "b"), ranking("bob", "a", "b"), ranking("ada", "b", "a")]
    assert pair_agreement(made).strict == 0.0


def test_intervals_are_clustered_on_prompts() -> None:
    # Nine responses whose 36 pairs agree or disagree together: 10 prompts are 10 facts, not 360.
    letters = "abcdefghi"
    made = []
    for number in range(10):
        question = f"question {number}"
        second = letters if number < 7 else letters[::-1]
        made += [
            ranking("ada", *letters, question=question),
            ranking("bob", *second, question=question),
        ]
    found = pair_agreement(made)
    assert found.strict == pytest.approx(0.7)
    assert found.strict_interval is not None
    # Exact percentiles of Binomial(10, 0.7) / 10.
    assert list(found.strict_interval) == pytest.approx([0.4, 1.0])
    assert found == pair_agreement(made)


def test_the_ceiling_is_the_rate_of_equally_careful_labelers() -> None:
    for rate in (0.5, 0.7, 0.9, 1.0):
        assert agreement_ceiling(rate**2 + (1 - rate) ** 2) == pytest.approx(rate)
    assert agreement_ceiling(0.3) == 0.5


def test_what_differs_moves_the_true_ceiling() -> None:
    sure, unsure = 1.0, 0.5  # chances of the likelier vote on half of the pairs each
    agreement = ((sure**2) + (unsure**2 + (1 - unsure) ** 2)) / 2
    assert agreement_ceiling(agreement) == pytest.approx(0.854, abs=1e-3)
    assert (sure + unsure) / 2 < agreement_ceiling(agreement)
    careful, hurried = 1.0, 0.5  # chances of two labelers, on every pair
    agreement = careful * hurried + (1 - careful) * (1 - hurried)
    assert (careful + hurried) / 2 > agreement_ceiling(agreement)


def test_simulated_votes_reach_the_ceiling() -> None:
    generator = random.Random(0)
    made, right = [], 0
    for number in range(400):
        for labeler in ("ada", "bob"):
            correct = generator.random() < 0.8
            right += correct
            order = "ab" if correct else "ba"
            made.append(ranking(labeler, *order, question=f"question {number}"))
    found = pair_agreement(made)
    assert found.strict is not None
    assert agreement_ceiling(found.strict) == pytest.approx(right / 800, abs=0.03)


def orders(draw: random.Random, letters: str) -> list[str]:
    """A random order of `letters` with ties."""
    shuffled = draw.sample(letters, len(letters))
    groups = [shuffled[0]]
    for letter in shuffled[1:]:
        if draw.random() < 0.3:
            groups[-1] += letter
        else:
            groups.append(letter)
    return groups


def random_crew(seed: int, *, names: str = "vwxyz") -> list[Ranking]:
    draw = random.Random(seed)
    return [
        ranking(labeler, *orders(draw, "abcd"[: 2 + number % 3]), question=f"question {number}")
        for number in range(6)
        for labeler in draw.sample(names, draw.randint(1, len(names)))
    ]


def counted_one_by_one(made: list[Ranking]) -> tuple[int, int, int, int]:
    """Strict alike, strict, alike, all: over every two labelers and every pair, in plain loops."""
    counts = [0, 0, 0, 0]
    for one, two in combinations(made, 2):
        if one.prompt_id != two.prompt_id or one.labeler_id == two.labeler_id:
            continue
        first, second = one.positions(), two.positions()
        for a, b in combinations(sorted(set(first) & set(second)), 2):
            verdicts = [(level[a] > level[b]) - (level[a] < level[b]) for level in (first, second)]
            counts[0] += verdicts[0] == verdicts[1] != 0
            counts[1] += 0 not in verdicts
            counts[2] += verdicts[0] == verdicts[1]
            counts[3] += 1
    return counts[0], counts[1], counts[2], counts[3]


@settings(deadline=None)  # a busy machine
@given(st.integers(0, 10_000))
def test_arrays_count_what_loops_count(seed: int) -> None:
    made = random_crew(seed)
    strict_alike, strict, alike, pairs = counted_one_by_one(made)
    found = pair_agreement(made)
    assert (found.pairs_strict, found.pairs) == (strict, pairs)
    assert found.strict == (pytest.approx(strict_alike / strict) if strict else None)
    assert found.with_ties == (pytest.approx(alike / pairs) if pairs else None)


@settings(deadline=None)  # a busy machine
@given(st.integers(0, 10_000))
def test_who_is_who_changes_nothing(seed: int) -> None:
    assert pair_agreement(random_crew(seed)) == pair_agreement(random_crew(seed, names="edcba"))


def test_a_part_of_a_table_is_counted_as_if_it_were_all() -> None:
    made = random_crew(3)
    table = verdicts_of(made)
    for prompt_id in {one.prompt_id for one in made}:
        places = [place for place, one in enumerate(made) if one.prompt_id == prompt_id]
        part = agreement_over(table.where(np.isin(table.rankings, places)).latest())
        assert part == pair_agreement([made[place] for place in places])
