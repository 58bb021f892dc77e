"""Labelers: figures worked by hand, planted faults found, careful people left in peace."""

import random
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from simulated_crew import Person, simulate

from rlhf.feedback.findings import Finding, findings
from rlhf.feedback.intervals import difference, holm, median_of, share_of, wilson
from rlhf.feedback.observations import Asked, Observations, Vote
from rlhf.feedback.quality import MINIMUM, LabelerQuality, judge

CREWS = 200


def vote(item: Asked, labeler: str, *groups: str, shown: str = "", seconds: float = 60.0) -> Vote:
    """An answer; responses of an item are named by the item and a letter."""
    letters = shown or "".join(groups)
    return Vote(
        number=0,
        item_id=item.id,
        prompt_id=item.prompt_id,
        labeler_id=labeler,
        groups=tuple(tuple(name(item, letter) for letter in group) for group in groups),
        shown=tuple(name(item, letter) for letter in letters),
        none_acceptable=False,
        at=0.0,
        seconds=seconds,
    )


def name(item: Asked, letter: str) -> str:
    copy = "~again" if letter == "A" else ""
    return f"{item.prompt_id}-{letter.lower()}{copy}"


def observed(items: Iterable[Asked], votes: Iterable[Vote]) -> Observations:
    held = {item.id: item for item in items}
    words = {item.prompt_id: 10.0 for item in held.values()}
    for item in held.values():
        for place, letter in enumerate("abc"):
            words[f"{item.prompt_id}-{letter}"] = 10.0 * (place + 1)  # c is the longest
    return Observations(held, tuple(votes), {}, {}, words)


def asked(number: int, kind: str = "work", of_item: int | None = None, expected: str = "") -> Asked:
    prompt = f"p{of_item or number}"
    letters = "bcA" if kind == "identical" else "abc"
    item = Asked(number, prompt, kind, of_item, None, (), 2)  # type: ignore[arg-type]
    groups = tuple((name(item, letter),) for letter in expected)
    return item._replace(
        response_ids=tuple(name(item, letter) for letter in letters), expected=groups or None
    )


def of(found: tuple[list[LabelerQuality], object], labeler: str) -> LabelerQuality:
    return next(one for one in found[0] if one.labeler_id == labeler)


def test_gold_counts_pairs_ordered_as_expected() -> None:
    gold = [asked(number, "gold", expected="abc") for number in range(1, 21)]
    # a>b>c is expected. "ab", "c": ac and bc right, the tie of a and b is not: 2 of 3.
    votes = [vote(item, "ada", "ab", "c") for item in gold]
    found = of(judge(observed(gold, votes)), "ada").shares["gold"]
    assert found.value == pytest.approx(2 / 3)
    assert (found.count, found.clusters) == (60, 20)


def test_agreement_with_others_leaves_ties_out() -> None:
    items = [asked(number) for number in range(1, 21)]
    # ab and ac alike, bc the other way round.
    votes = [vote(item, "ada", "a", "b", "c") for item in items]
    votes += [vote(item, "bob", "a", "c", "b") for item in items]
    found = judge(observed(items, votes))
    assert of(found, "ada").shares["others"].value == pytest.approx(2 / 3)
    assert of(found, "bob").shares["others"].count == 60
    tied = [vote(item, "ada", "a", "b", "c") for item in items]
    tied += [vote(item, "bob", "ab", "c") for item in items]
    share = of(judge(observed(items, tied)), "bob").shares["others"]
    assert (share.value, share.count) == (1.0, 40)


def test_self_consistency_compares_with_the_first_answer() -> None:
    work = [asked(number) for number in range(1, 21)]
    again = [asked(100 + number, "repeat", number) for number in range(1, 21)]
    votes = [vote(item, "ada", "a", "b", "c") for item in work]
    votes += [vote(item, "ada", "a", "c", "b") for item in again]
    found = of(judge(observed([*work, *again], votes)), "ada")
    assert found.shares["consistency"].value == pytest.approx(2 / 3)
    assert found.shares["others"].count == 0  # nobody agrees with themselves


def test_identical_pairs_tell_first_from_last_and_leave_ties_out() -> None:
    work = [asked(number) for number in range(1, 41)]
    checks = [asked(100 + number, "identical", number) for number in range(1, 41)]
    votes = [vote(item, "ada", "a", "b", "A", shown="aAb") for item in checks[:15]]
    votes += [vote(item, "ada", "a", "b", "A", shown="Aab") for item in checks[15:20]]
    votes += [vote(item, "ada", "b", "aA", shown="Aab") for item in checks[20:]]
    found = of(judge(observed([*work, *checks], votes)), "ada").shares["identical"]
    assert (found.value, found.count) == (0.75, 20)
    assert found.interval is not None
    low, high = stats.binomtest(15, 20).proportion_ci(method="wilson")
    assert found.interval == pytest.approx((low, high), abs=0.03)  # Student's t is a little wider


def test_place_of_the_best_is_half_by_chance() -> None:
    items = [asked(number) for number in range(1, 31)]
    # The best stands first (0), in the middle (1/2), or shares first and last place (1/2).
    votes = [vote(item, "ada", "a", "b", "c", shown="abc") for item in items[:10]]
    votes += [vote(item, "ada", "a", "b", "c", shown="bac") for item in items[10:20]]
    votes += [vote(item, "ada", "ac", "b", shown="abc") for item in items[20:]]
    found = of(judge(observed(items, votes)), "ada").shares["place"]
    assert found.value == pytest.approx(1 / 3)


def test_the_spread_of_the_place_by_chance_is_that_of_drawing() -> None:
    draw = random.Random(1)
    items = [asked(number) for number in range(1, 101)]
    p_values = []
    for _ in range(300):
        votes = []
        for item in items:
            shown = "".join(draw.sample("abc", 3))
            groups = ("a", "b", "c") if draw.random() < 0.5 else ("ab", "c")
            votes.append(vote(item, "ada", *groups, shown=shown))
        _, evidence = judge(observed(items, votes))
        p_values.append(next(one.p_value for one in evidence if one.measure == "place"))
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09
    assert 0.43 < np.mean(np.array(p_values) < 0.5) < 0.57


def test_length_ties_time_and_reading_speed() -> None:
    items = [asked(number) for number in range(1, 21)]
    votes = [vote(item, "ada", "c", "ab", seconds=30.0) for item in items]
    found = of(judge(observed(items, votes)), "ada")
    assert found.shares["length"].value == 1.0  # c is longer than a and b, which tie
    assert found.shares["ties"].value == pytest.approx(1 / 3)
    assert found.seconds.value == 30.0
    assert found.words_per_minute.value == pytest.approx((10 + 10 + 20 + 30) * 2)


def test_too_few_says_nothing() -> None:
    items = [asked(number) for number in range(1, MINIMUM)]
    votes = [vote(item, who, "a", "b", "c") for item in items for who in ("ada", "bob", "cyd")]
    found = judge(observed(items, votes))
    for labeler in found[0]:
        assert labeler.answers == MINIMUM - 1
        for share in (*labeler.shares.values(), labeler.seconds, labeler.words_per_minute):
            assert (share.value, share.interval) == (None, None)
    assert found[1] == []


def test_an_empty_campaign_has_nobody() -> None:
    assert judge(Observations({}, (), {}, {}, {})) == ([], [])


def test_wilson_equals_the_published_interval() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", 81 of 263.
    low, high = wilson(81 / 263, 263, 1.959964)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_pairs_of_one_item_are_not_many_facts() -> None:
    alike, total = np.array([6.0] * 15 + [0.0] * 5), np.full(20, 6.0)
    together = share_of(alike, total, 20)
    single = share_of(alike / 6, total / 6, 20)
    assert together.value == single.value == 0.75
    assert together.interval == pytest.approx(single.interval)
    assert share_of(np.full(20, 6.0), total, 20).interval != (1.0, 1.0)


def test_holm_worked_by_hand() -> None:
    # 0.01 * 3, 0.02 * 2, 0.03 * 1 and never below the one before.
    assert holm({"a": 0.02, "b": 0.01, "c": 0.03}) == pytest.approx(
        {"b": 0.03, "a": 0.04, "c": 0.04}
    )


def test_one_case_an_item_is_fishers_exact_test() -> None:
    own = (np.array([1.0, 1, 1, 0]), np.ones(4))
    rest = (np.array([0.0, 0, 0, 1]), np.ones(4))
    assert difference(own, rest) == pytest.approx(stats.fisher_exact([[3, 1], [1, 3]]).pvalue)


def test_the_medians_interval_covers() -> None:
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        found = median_of(draw.exponential(1.0, 41), 20)
        assert found.interval is not None
        covered += found.interval[0] <= np.log(2) <= found.interval[1]
    assert covered / 400 >= 0.93


PLANTED = {
    "first": (Person(first_love=0.8), {"place", "identical"}),
    "random": (Person(noise=30.0), {"others", "gold", "consistency", "ties"}),
    "longest": (Person(length_love=1.0), {"length"}),
    "inconsistent": (Person(noise=2.5), {"others", "consistency", "gold", "ties"}),
    "hurried": (Person(words_per_minute=900.0), {"words_per_minute"}),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_and_nobody_else_accused(fault: str) -> None:
    person, measures = PLANTED[fault]
    found_in, others_in = 0, 0
    for seed in range(20):
        said = findings(judge(simulate([Person()] * 5 + [person], seed=seed))[1])
        found_in += any(_is(one, "labeler-06") and one.measure in measures for one in said)
        others_in += any(not _is(one, "labeler-06") for one in said)
    assert found_in >= 17
    assert others_in <= 2


def _is(finding: Finding, labeler: str) -> bool:
    return finding.labeler_id == labeler


@pytest.mark.slow
def test_crews_in_which_nobody_differs_are_left_in_peace() -> None:
    accused = 0
    for seed in range(CREWS):
        accused += bool(findings(judge(simulate([Person()] * 6, seed=seed))[1]))
    assert accused <= 0.05 * CREWS


def test_names_and_the_order_of_votes_change_no_figure() -> None:
    crew = simulate([Person()] * 4 + [Person(noise=5.0)], seed=4)
    names = {f"labeler-{n:02d}": f"x{9 - n}" for n in range(1, 6)}
    renamed = crew._replace(
        votes=tuple(one._replace(labeler_id=names[one.labeler_id]) for one in crew.votes)
    )
    before, after = judge(crew), judge(renamed)
    for old, new in names.items():
        assert of(before, old) == replace(of(after, new), labeler_id=old)


def test_sentences_say_value_interval_count_and_what_is_expected() -> None:
    crew = simulate([Person()] * 5 + [Person(first_love=3.0)], seed=1)
    said = {one.measure: one.sentence for one in findings(judge(crew)[1])}
    assert said["identical"] == (
        "labeler-06 prefers what is shown first: 100\N{NO-BREAK SPACE}% (85 to 100) of 25 "
        "identical pairs; half is expected."
    )


def test_skips_late_answers_and_corrections_are_told_and_never_held_against_anybody() -> None:
    crew = simulate([Person()] * 5, seed=2)
    late = crew._replace(
        votes=tuple(one._replace(late=one.labeler_id == "labeler-01") for one in crew.votes),
        corrections={"labeler-01": 60},
        given={("labeler-01", "skipped"): 300, ("labeler-01", "done"): 100},
    )
    found = judge(late)
    shares = of(found, "labeler-01").shares
    assert (shares["late"].value, shares["skips"].value) == (1.0, 0.75)
    assert shares["corrections"].value == pytest.approx(60 / of(found, "labeler-01").answers)
    assert {one.measure for one in found[1]}.isdisjoint({"late", "skips", "corrections"})
