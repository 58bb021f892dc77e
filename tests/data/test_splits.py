"""Splits by prompt: no near-duplicate on two sides, no order, nothing that moves."""

import random
import re
import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.data.records import Message, Prompt, Split
from rlhf.data.splits import assign_splits, near_duplicate_clusters

SHARES: dict[Split, float] = {"train": 0.5, "validation": 0.2, "test": 0.3}

# Few words, so that near-duplicates, chains of them and equal texts are common.
texts = st.lists(st.sampled_from("abc"), min_size=1, max_size=9).map(" ".join)
prompt_lists = st.lists(texts, max_size=12).map(lambda many: [Prompt.of(text) for text in many])


def jaccard(first: Prompt, second: Prompt) -> float:
    def shingles(prompt: Prompt) -> set[tuple[str, ...]]:
        words = prompt.text.split()
        return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}

    one, two = shingles(first), shingles(second)
    return len(one & two) / len(one | two)


@given(prompt_lists, st.sampled_from([0.3, 0.5, 0.85, 1.0]))
def test_every_pair_above_the_threshold_is_on_one_side(
    prompts: list[Prompt], threshold: float
) -> None:
    result = assign_splits(prompts, SHARES, near_duplicate_threshold=threshold)
    assert set(result.splits) == {prompt.id for prompt in prompts}
    for first, second in combinations(prompts, 2):
        if jaccard(first, second) >= threshold:
            assert result.splits[first.id] == result.splits[second.id]


@given(prompt_lists, st.sampled_from([0.3, 0.5, 0.85, 1.0]))
def test_clusters_are_the_connected_components(prompts: list[Prompt], threshold: float) -> None:
    unique = list({prompt.id: prompt for prompt in prompts}.values())
    cluster_of = {prompt.id: {prompt.id} for prompt in unique}
    for first, second in combinations(unique, 2):
        if jaccard(first, second) >= threshold:
            joined = cluster_of[first.id] | cluster_of[second.id]
            for member in joined:
                cluster_of[member] = joined
    expected = sorted({tuple(sorted(cluster)) for cluster in cluster_of.values()})
    assert near_duplicate_clusters(prompts, threshold) == expected


@given(prompt_lists, st.randoms(use_true_random=False))
def test_the_order_of_prompts_does_not_matter(
    prompts: list[Prompt], shuffler: random.Random
) -> None:
    shuffled = list(prompts)
    shuffler.shuffle(shuffled)
    assert assign_splits(prompts, SHARES, near_duplicate_threshold=0.5) == assign_splits(
        shuffled, SHARES, near_duplicate_threshold=0.5
    )


@given(prompt_lists, prompt_lists, prompt_lists)
def test_adding_prompts_moves_none_and_leaks_none(
    first: list[Prompt], second: list[Prompt], third: list[Prompt]
) -> None:
    kept: dict[str, Split] = {}
    seen: list[Prompt] = []
    for new in (first, second, third):
        seen += new
        result = assign_splits(seen, SHARES, kept=kept, near_duplicate_threshold=0.5)
        assert {prompt: result.splits[prompt] for prompt in kept} == kept
        assert set(result.splits) | set(result.set_aside) == {prompt.id for prompt in seen}
        assert not set(result.splits) & set(result.set_aside)
        kept = result.splits
    for one, two in combinations([prompt for prompt in seen if prompt.id in kept], 2):
        if jaccard(one, two) >= 0.5:
            assert kept[one.id] == kept[two.id]


def test_a_new_near_duplicate_joins_the_side_that_was_kept() -> None:
    words = " ".join(f"word{i}" for i in range(60))
    old, new = Prompt.of(words), Prompt.of(words + " more")
    for side in SHARES:
        assert assign_splits([old, new], SHARES, kept={old.id: side}).splits[new.id] == side


def test_a_cluster_is_where_its_smallest_id_would_be_alone() -> None:
    for number in range(40):
        words = " ".join(f"word{number}-{i}" for i in range(60))
        pair = sorted((Prompt.of(words), Prompt.of(words + " more")), key=lambda one: one.id)
        together, alone = assign_splits(pair, SHARES), assign_splits(pair[:1], SHARES)
        assert set(together.splits.values()) == set(alone.splits.values())


def test_a_prompt_that_would_bridge_two_sides_is_set_aside() -> None:
    start, middle, end = (" ".join(f"w{i}" for i in range(k, k + 40)) for k in (0, 4, 8))
    left, bridge, right = Prompt.of(start), Prompt.of(middle), Prompt.of(end)
    # 38 shingles each; neighbours share 34 of 42 (0.81), the ends 30 of 46 (0.65).
    assert jaccard(left, bridge) == pytest.approx(34 / 42)
    result = assign_splits(
        [left, bridge, right],
        SHARES,
        kept={left.id: "train", right.id: "test"},
        near_duplicate_threshold=0.8,
    )
    assert result.splits == {left.id: "train", right.id: "test"}
    assert result.set_aside == (bridge.id,)
    assert (result.clusters, result.near_duplicates) == (1, 2)


def test_short_templates_do_not_chain_and_are_fast() -> None:
    nouns = [f"thing{i}" for i in range(120)]
    prompts = [
        Prompt.of(f"Write a short note to a friend who lost {number} of the {noun} last week.")
        for number in range(20)
        for noun in nouns
    ]
    started = time.process_time()
    result = assign_splits(prompts, {"train": 0.8, "validation": 0.1, "test": 0.1})
    assert time.process_time() - started < 3
    assert (len(prompts), result.clusters, result.near_duplicates) == (2400, 2400, 0)
    counts = {side: list(result.splits.values()).count(side) for side in SHARES}
    # Binomial(2400, p): four standard deviations are 78 and 59.
    assert abs(counts["train"] - 1920) < 78
    assert abs(counts["test"] - 240) < 59


def test_case_and_system_turns_do_not_hide_a_duplicate() -> None:
    plain = Prompt.of("Where is the nearest library?")
    shouted = Prompt.of("WHERE is  the nearest library?")
    system = Prompt.of((Message("system", "Be kind."), Message("user", plain.text)))
    other = Prompt.of((Message("system", "Be kind."), Message("user", "Who is the king?")))
    clusters = near_duplicate_clusters([plain, shouted, system, other])
    assert sorted(map(len, clusters)) == [1, 3]


def test_the_seed_changes_the_sides() -> None:
    prompts = [Prompt.of(f"question number {i}") for i in range(50)]
    assert assign_splits(prompts, SHARES, seed=1) != assign_splits(prompts, SHARES, seed=2)


@pytest.mark.parametrize("shares", [{"train": 0.5}, {"train": 1.5, "test": -0.5}, {}])
def test_shares_that_do_not_sum_to_one_are_refused(shares: dict[Split, float]) -> None:
    with pytest.raises(ValueError, match=re.escape(str(shares))):
        assign_splits([], shares)
