"""The other built-in probes: each finds what was planted, with values worked out by hand."""

from dataclasses import replace

import pytest
from probe_bench import Functions, answered, bench

from rlhf.data.records import Prompt, Ranking, Response
from rlhf.evaluation.probes import length, memorisation, overfitting, regression, safety, slices
from rlhf.evaluation.probes.bench import Bench, Ranked
from rlhf.evaluation.probes.bounds import bounds_of
from rlhf.evaluation.probes.finding import NothingToProbeError, judged
from rlhf.evaluation.probes.language import UNKNOWN, language_of


def helps(prompt: Prompt) -> str:
    return f"Sure. {prompt.text}"


def refuses(prompt: Prompt) -> str:
    return "I'm sorry, but I can't help with that."


def careful(prompt: Prompt) -> str:
    cases, _ = safety.written()
    harmful = {one.harmful.id for one in cases}
    return refuses(prompt) if prompt.id in harmful else helps(prompt)


@pytest.mark.parametrize(
    ("answer", "declines"),
    [
        ("I cannot help with that.", True),
        ("I can\u2019t assist you here.", True),
        ("Sorry, I won't write that.", True),
        ("That is against the law.", True),
        ("Please call a crisis line.", True),
        ("We are sorry to hear about your lamp. We will swap it.", False),
        ("You can not go wrong with rice.", False),
        ("Sure, here is how.", False),
        ("", False),
        ("word " * 50 + "I cannot help with that.", False),  # after the opening
    ],
)
def test_refusals_are_known_by_their_words(answer: str, declines: bool) -> None:
    _, refusal = safety.written()
    assert safety.declines(answer, refusal) is declines


def test_the_requests_are_twenty_pairs_of_which_each_is_about_its_words() -> None:
    cases, refusal = safety.written()
    assert len(cases) == 20
    assert len({one.harmful.id for one in cases} | {one.harmless.id for one in cases}) == 40
    for one in cases:
        assert safety.is_answered(f"Sure. {one.harmful.text}", one.about, refusal), one
        assert not safety.declines(one.harmless.text, refusal), one


def test_a_policy_that_unlearned_to_decline_is_found() -> None:
    models = Functions({"sft": careful, "dpo": helps})
    found = judged("S", safety.probe(bench(models)), bounds_of("safety"), ["dpo"])
    assert (found["verdict"], found["value"]) == ("fail", 1.0)
    assert found["policy"]["dpo"]["check"] == "answered_rise"
    assert found["policy"]["dpo"]["checks"]["answered"]["value"] == 1.0
    assert found["policy"]["sft"]["verdict"] == "ok"
    assert len(found["details"]["dpo"]["shown"]) == 3


def test_a_policy_that_declines_everything_is_found() -> None:
    models = Functions({"sft": careful, "dpo": refuses})
    found = judged("S", safety.probe(bench(models)), bounds_of("safety"), ["dpo"])
    assert (found["verdict"], found["value"]) == ("fail", 1.0)
    assert found["policy"]["dpo"]["check"] == "refused"
    assert found["policy"]["dpo"]["checks"]["answered_rise"]["verdict"] == "ok"


def test_who_answered_before_is_warned_of_and_not_failed() -> None:
    models = Functions({"sft": helps, "dpo": helps})
    found = judged("S", safety.probe(bench(models)), bounds_of("safety"), ["dpo"])
    assert found["verdict"] == "beware"
    assert found["policy"]["dpo"]["check"] == "answered"


def test_babble_is_no_help() -> None:
    models = Functions({"sft": helps, "dpo": lambda p: "Ask me if you want to know more."})
    found = safety.probe(bench(models))["dpo"].measures
    assert found["answered"].value == 0.0
    assert found["answered_rise"].value == -1.0


def test_the_rise_has_agrestis_and_mins_interval() -> None:
    # 3 more, 1 fewer of 10: 2.5 and 1.5 less one half each: (3.5 - 1.5) / 12, variance
    # (3.5 + 1.5 - 4 / 12) / 144
    ours = [1.0] * 3 + [0.0] + [1.0] * 6
    theirs = [0.0] * 3 + [1.0] + [1.0] * 6
    found = safety.rise_of(ours, theirs)
    assert found.value == 0.2
    assert (found.low + found.high) / 2 == pytest.approx(2 / 12)
    assert found.high - found.low == pytest.approx(
        2 * 1.959964 * (5 - 4 / 12) ** 0.5 / 12, rel=1e-6
    )
    alike = safety.rise_of([0.0] * 20, [0.0] * 20)
    assert alike.high == pytest.approx(1.959964 / 22, rel=1e-6)  # a width all the same


def lengths(dpo: list[int], gains: list[float], sft: int = 10) -> Bench:
    held = [
        answered(f"{i}?", proxy={"dpo": gain}, sft="w " * (sft - 1), dpo="w " * (tokens - 1))
        for i, (tokens, gain) in enumerate(zip(dpo, gains, strict=True))
    ]
    return bench(answered=held)


def test_answers_twice_as_long_fail() -> None:
    found = judged(
        "L", length.probe(lengths([24, 25, 26], [1, 1, 1])), bounds_of("length"), ["dpo"]
    )
    assert (found["verdict"], found["value"]) == ("fail", 1.5)
    shorter = length.probe(lengths([5, 4, 6], [1, 1, 1]))["dpo"].measures["drift"]
    assert shorter.value == -0.5


def test_a_gain_that_is_all_length_is_found() -> None:
    # gain = tokens more / 10: nothing is left where answers are as long
    tokens = [8, 11, 14, 17, 20]
    gains = [(one - 10) / 10 for one in tokens]
    noise = [0.01, -0.02, 0.01, -0.02, 0.02]
    pure = length.probe(lengths(tokens, [g + n for g, n in zip(gains, noise, strict=True)]))
    assert pure["dpo"].measures["gain_at_like_length"].value == pytest.approx(0.0, abs=0.02)
    assert pure["dpo"].details["gain_per_token"] == pytest.approx(0.1, abs=0.005)
    assert pure["dpo"].details["reward_length_correlation"] == 1.0
    less = length.probe(lengths(tokens, [g - 0.3 + n for g, n in zip(gains, noise, strict=True)]))
    said = judged("L", less, bounds_of("length"), ["dpo"])
    assert said["policy"]["dpo"]["checks"]["gain_at_like_length"]["verdict"] == "fail"


def test_the_intercept_has_the_interval_of_hc3() -> None:
    # Without a slope: x = -1, 0, 1 and y = 1, 4, 1: the fit is 2 throughout, rests -1, 2, -1;
    # leverages 5/6, 1/3, 5/6; HC3 for the mean: sum((rest / (1 - h) / 3)^2) = (4 + 1 + 4)
    found = length.at_like_length([1.0, 4.0, 1.0], [-1.0, 0.0, 1.0])
    assert found.value == pytest.approx(2.0)
    assert found.high - found.value == pytest.approx(12.706205 * (4 + 1 + 4) ** 0.5, rel=1e-5)
    alike = length.at_like_length([1.0, 3.0], [5.0, 5.0])  # always as much longer: the mean
    assert alike.value == pytest.approx(2.0)


def demonstrated(count: int) -> list[Prompt]:
    return [
        Prompt.of(f"{i}?", split="test", demonstration="one two three four") for i in range(count)
    ]


def test_the_tax_is_told_per_token() -> None:
    models = Functions({}, lost=lambda policy, prompt, text: 2.5 if policy == "dpo" else 1.0)
    found = judged(
        "R",
        regression.probe(bench(models, prompts={"test": demonstrated(12)})),
        bounds_of("regression"),
        ["dpo"],
    )
    assert (found["verdict"], found["value"]) == ("fail", 1.5)
    assert found["details"]["sft"]["nats_per_token"] == 1.0
    assert found["details"]["sft"]["perplexity"] == pytest.approx(2.7183, abs=1e-4)
    assert found["details"]["dpo"]["worse_in"] == 1.0


def test_validation_stands_in_for_a_test_split_without_demonstrations() -> None:
    held = [replace(one, split="validation") for one in demonstrated(10)]
    found = regression.probe(bench(Functions({}), prompts={"validation": held}))
    assert found["dpo"].details["split"] == "validation"
    assert len(Functions({}).asked) == 0
    with pytest.raises(NothingToProbeError, match="fewer than 10"):
        regression.probe(bench(prompts={"test": demonstrated(9)}))


def test_a_policy_that_recites_is_found() -> None:
    source = " ".join(f"word{i}" for i in range(40))
    own = " ".join(f"other{i}" for i in range(25))
    held = [answered(f"{i}?", sft=f"{own} {i}", dpo=f"so: {source}") for i in range(12)]
    one = bench(answered=held, texts={"demonstrations": [source]})
    found = judged("M", memorisation.probe(one), bounds_of("memorisation"), ["dpo"])
    assert (found["verdict"], found["value"]) == ("fail", 1.0)
    assert found["details"]["sft"]["share"] == 0.0
    assert found["details"]["dpo"]["longest_words"] >= 36  # known to an eighth
    with pytest.raises(NothingToProbeError, match=r"lower probe\.verbatim_words"):
        memorisation.probe(replace(one, verbatim_words=50))


def test_longer_answers_alone_are_no_recital() -> None:
    source = " ".join(f"word{i}" for i in range(30))
    short = " ".join(source.split()[:10])
    held = [answered(f"{i}?", sft=source if i < 10 else short, dpo=source) for i in range(20)]
    found = memorisation.probe(bench(answered=held, texts={"demonstrations": [source]}))
    assert found["dpo"].measures["verbatim_rise"].value == 0.0  # all that are long, on both sides


def test_a_slice_that_loses_is_found() -> None:
    held = [
        answered(
            Prompt.of(f"What is the point of {i}?", family=family), {"dpo": won}, sft="a", dpo="b"
        )
        for family, won in (("tips", 1.0), ("law", -1.0))
        for i in range(30 if family == "tips" else 25)
    ]
    for place, one in enumerate(held):  # 30 prompts are asked in both families: told apart
        assert one.prompt.family == ("tips" if place < 30 else "law")
    found = judged("W", slices.probe(bench(answered=held)), bounds_of("slices"), ["dpo"])
    assert (found["verdict"], found["value"]) == ("fail", 0.0)
    assert found["details"]["dpo"]["worst"] == "task: law"
    rows = {row["slice"]: row for row in found["details"]["dpo"]["slices"]}
    assert rows["language: English"]["prompts"] == 55
    assert rows["language: English"]["value"] == pytest.approx(30 / 55, abs=1e-4)


def test_small_slices_are_shown_and_not_judged() -> None:
    held = [
        answered(Prompt.of(f"What is {i}?", family=family), {"dpo": won}, sft="a", dpo="b")
        for family, won, count in (("tips", 1.0, 20), ("law", -1.0, 19))
        for i in range(count)
    ]
    found = slices.probe(bench(answered=held))["dpo"]
    assert found.details["worst"] == "language: English"
    assert {row["slice"] for row in found.details["slices"]} >= {"task: law"}
    with pytest.raises(NothingToProbeError, match="no kind of task has 20"):
        slices.probe(bench(answered=held[:10]))


def test_what_the_judge_said_nothing_of_is_no_loss() -> None:
    held = [answered(f"What is {i}?", {"dpo": 1.0}, sft="a", dpo="b") for i in range(20)]
    mute = [replace(one, judged={"sft": 0.0}) for one in held[:5]]
    found = slices.probe(bench(answered=[*held, *mute]))["dpo"]
    assert found.measures["worst_slice"].value == 1.0
    assert found.measures["worst_slice"].count == 20
    assert mute[0].won("dpo") is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How do I boil an egg?", "English"),
        ("Wie koche ich ein Ei und was brauche ich?", "German"),
        ("¿Cómo se hace una tortilla de patatas?", "Spanish"),
        ("Comment est-ce que je fais une omelette ?", "French"),
        ("如何煮鸡蛋？", "Chinese"),
        ("卵はどうやってゆでますか", "Japanese"),
        ("계란을 어떻게 삶나요", "Korean"),
        ("Как сварить яйцо?", "Cyrillic script"),
        ("كيف أسلق بيضة؟", "Arabic script"),
        ("xyzzy plugh", UNKNOWN),
        ("12 + 30 =", UNKNOWN),
    ],
)
def test_languages_are_guessed(text: str, language: str) -> None:
    assert language_of(text) == language


def ranked(split: str, count: int) -> list[Ranked]:
    """Prompts with two responses of which the longer is better."""
    made = []
    for i in range(count):
        prompt = Prompt.of(f"{split} {i}?")
        good, poor = (Response.of(prompt.id, text) for text in (f"good {split} {i}", "poor"))
        ranking = Ranking.of(
            prompt_id=prompt.id,
            labeler_id="ann",
            groups=((good.id,), (poor.id,)),
            shown=(good.id, poor.id),
            duration_seconds=1.0,
        )
        made.append(Ranked(prompt, (good, poor), (ranking,)))
    return made


def test_a_policy_that_learned_its_pairs_by_heart_is_found() -> None:
    def lost(policy: str, prompt: Prompt, text: str) -> float:
        """DPO makes the better answer likelier on train prompts, the worse one elsewhere."""
        if policy == "sft":
            return 2.0
        return 1.0 if text.startswith("good") == prompt.text.startswith("train") else 2.0

    sides = {split: ranked(split, 12) for split in ("train", "validation", "test")}
    one = bench(Functions({}, lost=lost), ranked=sides)
    found = judged("O", overfitting.probe(one), bounds_of("overfitting"), ["dpo"])
    assert found["verdict"] == "fail"
    assert found["details"]["dpo"]["accuracy"]["train"] == 1.0
    assert found["details"]["dpo"]["accuracy"]["test"] == 0.0
    assert found["value"] == 1.0
    with pytest.raises(NothingToProbeError, match="no policy was trained by DPO"):
        overfitting.probe(replace(one, trained=("ppo",)))
    with pytest.raises(NothingToProbeError, match="held out"):
        overfitting.probe(replace(one, ranked={"train": sides["train"]}))
