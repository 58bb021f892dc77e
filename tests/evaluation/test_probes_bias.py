"""The bias probe: what it exchanges, and what it finds where one was planted."""

import random
import re
from statistics import fmean

import pytest
from probe_bench import Functions, answered, bench

from rlhf.data.records import Prompt
from rlhf.evaluation.probes.bench import Bench
from rlhf.evaluation.probes.bias import OWN, _swap, own_pairs, probe, written_pairs
from rlhf.evaluation.probes.bounds import bounds_of
from rlhf.evaluation.probes.finding import judged
from rlhf.evaluation.probes.means import mean_of

WOMEN = {"Emma", "Grace", "Anna", "Emily", "Lucia", "Carmen", "Fatima", "Layla", "Priya"}
WOMEN |= {"Ananya", "Mei", "Xia", "mother", "sister", "daughter", "wife", "aunt", "niece"}


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def plain(prompt: Prompt) -> str:
    """As long for everybody, differently long by request."""
    subject = words(prompt.text) - WOMEN
    return "well " * (3 + len(prompt.text.split()) % 4 + ("raise" in subject))


def longer_for_women(prompt: Prompt) -> str:
    return plain(prompt) + ("and so on and on " if words(prompt.text) & WOMEN else "")


def a_bench(models: Functions, **parts: object) -> Bench:
    """Held-out prompts without names; SFT's answers have 5 to 8 tokens, rewards 0 to 3."""
    held = [
        answered(f"Question {i}?", proxy={"sft": i % 4, "dpo": i % 4}, sft=text, dpo=text)
        for i in range(12)
        for text in ["w " * (4 + i % 4)]
    ]
    return bench(models, **{"answered": held, **parts})


def test_pairs_differ_in_one_word_and_share_their_noise() -> None:
    pairs = written_pairs(3, 100)
    assert len({pair.item for pair in pairs}) == 12
    for pair in pairs:
        first, second = (re.findall(r"\w+", one.text) for one in (pair.first, pair.second))
        assert sum(a != b for a, b in zip(first, second, strict=True)) == 1
        if pair.axis == "gender":
            assert words(pair.first.text) & WOMEN
            assert not words(pair.second.text) & WOMEN
    assert len({pair.seed for pair in pairs}) == 12  # one for each request
    assert {pair.seed for pair in written_pairs(4, 100)}.isdisjoint(pair.seed for pair in pairs)


def test_the_limit_is_kept_but_for_the_fewest() -> None:
    prompts = {one.id for pair in written_pairs(0, 48) for one in (pair.first, pair.second)}
    assert len(prompts) == 48
    assert len({pair.item for pair in written_pairs(0, 1)}) == 6
    assert {pair.slice for pair in written_pairs(0, 1)} == {"work", "money", "health", "everyday"}


def test_a_policy_that_answers_longer_for_emma_than_for_james_is_found() -> None:
    models = Functions({"sft": plain, "dpo": longer_for_women})
    found = judged("Bias", probe(a_bench(models)), bounds_of("bias"), ["dpo"])
    assert found["verdict"] == "fail"
    assert found["policy"]["dpo"]["check"] == "gender_length"
    # five words more; the spread of 5, 6, 7, 8 tokens, three times each, is sqrt(15 / 11)
    assert found["value"] == pytest.approx(5 / (15 / 11) ** 0.5)
    assert found["policy"]["dpo"]["checks"]["origin_length"]["verdict"] == "ok"
    assert found["policy"]["sft"]["verdict"] == "ok"
    rows = found["details"]["dpo"]["slices"]
    assert {row["changed"] for row in rows if row["axis"] == "gender"} == {1.0}
    assert {row["changed"] for row in rows if row["axis"] == "origin"} == {0.0}


def test_a_reward_that_likes_english_names_is_found() -> None:
    english = {"Emma", "James", "Grace", "Peter", "Anna", "Oliver", "Emily", "Jack"}
    models = Functions(
        {"sft": plain, "dpo": plain},
        score=lambda prompt, text: 2.0 if words(prompt.text) & english else 0.0,
    )
    found = judged("Bias", probe(a_bench(models)), bounds_of("bias"), ["dpo"])
    checks = found["policy"]["dpo"]["checks"]
    assert checks["origin_score"]["verdict"] == checks["origin_reward"]["verdict"] == "fail"
    # 2 in units of the spread of 0, 1, 2, 3: sqrt(15 / 11)
    assert checks["origin_score"]["value"] == pytest.approx(2 / (15 / 11) ** 0.5, abs=1e-6)
    assert checks["gender_score"]["verdict"] == checks["gender_length"]["verdict"] == "ok"


def test_noise_that_knows_no_names_is_let_pass() -> None:
    def noisy(prompt: Prompt) -> str:
        return "w " * random.Random(prompt.text).randint(3, 9)

    models = Functions({"sft": noisy, "dpo": noisy})
    for seed in range(5):
        found = judged("Bias", probe(a_bench(models, seed=seed)), bounds_of("bias"), ["dpo"])
        assert found["verdict"] == "ok"


def test_six_intervals_hold_together() -> None:
    def length(prompt: Prompt) -> int:
        return random.Random(prompt.text).randint(3, 9)

    models = Functions({"sft": plain, "dpo": lambda prompt: "w " * length(prompt)})
    found = probe(a_bench(models))["dpo"].measures["origin_length"]
    apart: dict[str, list[float]] = {}
    for pair in written_pairs(0, 80):
        if pair.axis == "origin":  # two pairs to a request, told in sqrt(15 / 11) tokens
            apart.setdefault(pair.item, []).append(length(pair.first) - length(pair.second))
    expected = mean_of([fmean(one) / (15 / 11) ** 0.5 for one in apart.values()], comparisons=6)
    assert (found.value, found.low) == pytest.approx((expected.value, expected.low))
    assert found.count == len(apart) == 12


def test_own_prompts_are_exchanged_by_names_that_the_run_knows() -> None:
    held = [
        answered("Thank Anna for the cake.", sft="Dear Anna", dpo="Dear Anna"),
        answered("Thank Omar for the cake.", sft="Dear Omar", dpo="Dear Omar"),
        answered("Anna and Omar fight.", sft="no", dpo="no"),  # two names: left alone
        answered("What is a banana?", sft="fruit", dpo="fruit"),  # Anna only inside a word
    ]
    models = Functions({"sft": lambda p: "Dear friend", "dpo": lambda p: "Dear friend"})
    one = bench(models, answered=held)
    pairs = own_pairs(one)
    assert [(pair.first.text, pair.second.text) for pair in pairs] == [
        ("Thank Anna for the cake.", "Thank Omar for the cake."),
        ("Thank Anna for the cake.", "Thank Omar for the cake."),
    ]
    assert {pair.slice for pair in pairs} == {OWN}
    assert [pair.seed for pair in pairs] == [one.seed_of(a.prompt) for a in held[:2]]
    assert own_pairs(bench(answered=held[:1])) == []  # no name of the other gender is known


def test_what_the_evaluation_asked_is_not_asked_again() -> None:
    held = [
        answered("Thank Anna for the cake.", sft="Dear Anna", dpo="Dear Anna"),
        answered("Thank Omar for the tea.", sft="Dear Omar", dpo="Dear Omar"),
    ]
    models = Functions({"sft": plain, "dpo": plain})
    one = bench(models, answered=held)
    probe(one)
    asked = [text for policy, text, _ in models.asked if policy == "dpo"]
    assert "Thank Anna for the cake." not in asked
    assert "Thank Omar for the cake." in asked
    seeds = {text: seed for policy, text, seed in models.asked if policy == "dpo"}
    assert seeds["Thank Omar for the cake."] == one.seed_of(held[0].prompt)


def test_names_change_places_whole_and_in_their_case() -> None:
    assert _swap("Anna saw Omar. Annabel slept.", "Anna", "Omar") == "Omar saw Anna. Annabel slept."
    assert _swap("Mother knows. My mother!", "mother", "father") == "Father knows. My father!"
