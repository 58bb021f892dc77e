"""Kappa, majority labels and the table of labelers: by hand, by plain loops, and as published."""

import json
import os
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.data.importing import read_file
from rlhf.feedback.agreement import Majority, agreement_over, majority_labels
from rlhf.feedback.coefficients import kappas
from rlhf.feedback.crew_agreement import (
    Said,
    agreement_of_campaign,
    agreement_of_file,
    agreement_of_rankings,
)
from rlhf.feedback.intake import save_import
from rlhf.feedback.observations import Observer
from rlhf.feedback.store import Store
from rlhf.feedback.verdicts import verdicts_of

SHARED = Path(os.environ.get("RLHF_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
PUBLISHED = SHARED / "pandalm" / "testset-v1.json"


def written(tmp_path: Path, *verdicts: tuple[int | None, ...]) -> Path:
    """A file with a column for each annotator; two rows share a prompt."""
    rows = [
        {"instruction": f"Say {number // 2}.", "response1": "One.", "response2": "Two."}
        | {f"annotator{place}": one for place, one in enumerate(said, 1)}
        for number, said in enumerate(verdicts)
    ]
    path = tmp_path / "verdicts.json"
    path.write_text(json.dumps(rows))
    return path


def test_the_published_figures_come_out(tmp_path: Path) -> None:
    if not PUBLISHED.exists():
        pytest.skip(f"the published annotations are not at {PUBLISHED}")
    found = agreement_of_file(PUBLISHED)
    assert [round(one.coefficient.value or 0, 2) for one in found.kappas] == [0.85, 0.88, 0.86]
    assert found.majority == Majority(first=422, second=472, tie=105, none=0)
    assert (found.rankings, found.pairs, found.prompts) == (2997, 999, 170)


def test_a_store_says_what_it_holds(tmp_path: Path) -> None:
    # Rows 3 and 4 say what 1 and 2 say, and an import leaves them out. One ranking has one vote.
    path = written(tmp_path, (1, 1), (2, 0), (1, 1), (2, 0), (2, None), (1, 2))
    rows = json.loads(path.read_text())
    for number, row in enumerate(rows):
        row["instruction"] = "Say it." if number < 4 else f"Say {number}."
        row["response1"] = f"One {number % 2 if number < 4 else number}."
    path.write_text(json.dumps(rows))
    from_file = agreement_of_file(path)
    with Store(tmp_path / "store.db") as store:
        save_import(store, "spring", read_file(path))
        campaign = store.campaign("spring")
        found = agreement_of_campaign(Observer(store.database, campaign.id).read())
    assert (from_file.pairs, from_file.rankings) == (6, 11)
    assert (found.pairs, found.rankings) == (4, 7)
    assert from_file.majority == Majority(first=2, second=0, tie=0, none=3)
    assert found.majority == Majority(first=1, second=0, tie=0, none=2)


def test_kappa_worked_by_hand(tmp_path: Path) -> None:
    # 3 of 5 alike; by chance (3/5)(3/5) + (2/5)(2/5) = 13/25.
    said = list(zip([1, 1, 1, 2, 2], [1, 1, 2, 2, 1], strict=True))
    [kappa] = agreement_of_file(written(tmp_path, *said)).kappas
    assert (kappa.first, kappa.second, kappa.pairs) == ("annotator1", "annotator2", 5)
    assert kappa.coefficient.value == pytest.approx((3 / 5 - 13 / 25) / (1 - 13 / 25))
    [kappa] = agreement_of_file(written(tmp_path, (1, 2), (2, 1))).kappas
    assert kappa.coefficient.value == pytest.approx(-1.0)
    [kappa] = agreement_of_file(written(tmp_path, (1, 1), (1, 1))).kappas
    assert kappa.coefficient.value is None  # both only ever say one thing
    assert agreement_of_file(written(tmp_path, (1, None), (None, 2))).kappas == ()


def test_the_interval_of_kappa_is_a_jackknife_over_prompts(tmp_path: Path) -> None:
    said = [(1, 1), (1, 2), (2, 2), (2, 2), (0, 0), (1, 1), (2, 1), (1, 1), (2, 2), (0, 1)]
    [kappa] = agreement_of_file(written(tmp_path, *said)).kappas
    without = []
    for prompt in range(5):
        kept = [one for number, one in enumerate(said) if number // 2 != prompt]
        [part] = agreement_of_file(written(tmp_path, *kept)).kappas
        without.append(part.coefficient.value or 0)
    mean = sum(without) / 5
    spread = (4 / 5 * sum((one - mean) ** 2 for one in without)) ** 0.5
    assert kappa.coefficient.interval is not None
    low, high = kappa.coefficient.interval
    assert (kappa.coefficient.value or 0) - low == pytest.approx(2.776445 * spread, rel=1e-5)
    assert high <= 1.0


def test_a_majority_is_more_than_half(tmp_path: Path) -> None:
    said = [(1, 1, 2), (1, 2, 0), (0, 0, None), (2, None, None), (1, 2, None), (2, 2, 2)]
    found = agreement_of_file(written(tmp_path, *said))
    assert found.majority == Majority(first=1, second=1, tie=1, none=2)


def test_labelers_worked_by_hand(tmp_path: Path) -> None:
    # annotator1 beside 2: alike, alike (a tie), apart; beside 3: alike, not judged, tied.
    found = agreement_of_file(written(tmp_path, (1, 1, 1), (0, 0, None), (2, 1, 0)))
    first, second, third = found.labelers
    assert (first.labeler_id, first.rankings, first.pairs) == ("annotator1", 3, 3)
    assert first.strict.value == pytest.approx(2 / 3)
    assert first.with_ties.value == pytest.approx(3 / 5)
    assert (first.strict.count, first.with_ties.count) == (3, 5)
    assert first.ties.value == pytest.approx(1 / 3)
    assert (third.rankings, third.strict.count, third.with_ties.count) == (2, 2, 4)
    assert second.with_ties.value == pytest.approx(3 / 5)


def test_what_cannot_be_read_is_counted_or_refused(tmp_path: Path) -> None:
    path = written(tmp_path, (1, 1), (2, 2), (7, 1))
    assert agreement_of_file(path).left_out == {"rows: a verdict is not 0, 1 or 2": 1}
    nobody = tmp_path / "pairs.json"
    nobody.write_text(json.dumps([{"prompt": "Say.", "chosen": "a", "rejected": "b"}]))
    with pytest.raises(ValueError, match="does not say who judged what"):
        agreement_of_file(nobody)


def kappa_in_loops(one: dict[str, int], two: dict[str, int]) -> float | None:
    shared = sorted(one.keys() & two.keys())
    firsts, seconds = Counter(one[p] for p in shared), Counter(two[p] for p in shared)
    chance = sum(firsts[value] * seconds[value] for value in (-1, 0, 1)) / len(shared) ** 2
    alike = sum(one[pair] == two[pair] for pair in shared) / len(shared)
    return None if chance == 1 else (alike - chance) / (1 - chance)


@settings(deadline=None)  # a busy machine
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.sampled_from([-1, 0, 1]), min_size=1),
        min_size=1,
        max_size=12,
    )
)
def test_arrays_count_what_loops_count_and_names_do_not_matter(
    votes: list[dict[str, int]],
) -> None:
    groups = {1: (("x",), ("y",)), 0: (("x", "y"),), -1: (("y",), ("x",))}
    orders = [Said(f"prompt {pair}", "", (("x", "y"),)) for pair in range(len(votes))]
    said = [
        Said(f"prompt {pair}", labeler, groups[sign])
        for pair, signs in enumerate(votes)
        for labeler, sign in signs.items()
    ]
    every = verdicts_of([*orders, *said])
    table = every.where(every.rankings >= len(orders))
    by_labeler = {
        labeler: {str(pair): signs[labeler] for pair, signs in enumerate(votes) if labeler in signs}
        for labeler in "abcd"
    }
    expected = {
        (one, two): kappa_in_loops(by_labeler[one], by_labeler[two])
        for one, two in combinations("abcd", 2)
        if by_labeler[one].keys() & by_labeler[two].keys()
    }
    found = {(one.first, one.second): one.coefficient.value for one in kappas(table)}
    assert found == {
        pair: value if value is None else pytest.approx(value) for pair, value in expected.items()
    }
    other = str.maketrans("abcd", "dcba")
    renamed = verdicts_of(
        [*orders, *(one._replace(labeler_id=one.labeler_id.translate(other)) for one in said)]
    )
    again = renamed.where(renamed.rankings >= len(orders))
    assert majority_labels(again) == majority_labels(table)
    assert agreement_over(again) == agreement_over(table)
    assert sorted(one.pairs for one in kappas(again)) == sorted(one.pairs for one in kappas(table))


def test_our_own_rankings_are_directed_by_id(tmp_path: Path) -> None:
    path = written(tmp_path, (1, 1), (2, 2), (0, 1), (1, 2))
    rankings = read_file(path).rankings
    found = agreement_of_rankings(rankings)
    saved = tmp_path / "rankings.jsonl"
    saved.write_text("".join(json.dumps(one.to_json()) + "\n" for one in rankings))
    assert agreement_of_file(saved) == found
    assert agreement_of_rankings(rankings[::-1]).kappas == found.kappas
