"""The certificate of the reward model: its verdict, what that rests on, and what was measured."""

from dataclasses import dataclass
from typing import Literal

from rlhf.data.identity import Json
from rlhf.evaluation.spelling import listed
from rlhf.reporting.formatting import (
    ABSENT,
    THIN,
    count,
    number,
    percent,
    percent_range,
    percent_span,
    signed,
    with_span,
)
from rlhf.reporting.reading import RunRecord

FIT = "fit for RL"
TONES: dict[str, Literal["ship", "stop", "wait"]] = {
    FIT: "ship",
    "fit for best-of-n only": "wait",
    "not yet": "stop",
}
HEADLINES = {
    FIT: "The reward model is fit for RL.",
    "fit for best-of-n only": "The reward model is fit for best-of-n only.",
    "not yet": "The reward model is not good enough yet.",
}
PROBES = {
    "swap": "another prompt's answer scores lower",
    "truncation": "the first half of the answer scores lower",
    "repetition": "the answer said twice scores no higher",
    "paraphrase": "slightly other words move the score by half a spread at most",
}
LEFT_OUT = {
    "rankings_without_pair": ("ranking without a strict pair", "rankings without a strict pair"),
    "responses_too_long": ("response that was too long", "responses that were too long"),
    "prompts_cut": ("prompt cut to fit", "prompts cut to fit"),
}


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check, spelled for the table. `rl` and `best_of_n`: what is asked, and whether it is
    there: "passed", "failed" or nothing.
    """

    title: str
    value: str
    rl: tuple[str, str]
    best_of_n: tuple[str, str]
    why: str


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One probe, spelled for the table."""

    asks: str
    right: str
    interval: str
    shift: str
    cases: str
    left_out: str


@dataclass(frozen=True, slots=True)
class PartRow:
    """Accuracy on the votes of one margin or one labeler, spelled for the table."""

    name: str
    accuracy: str
    interval: str
    votes: str
    prompts: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the page shows of it. `fewest`: prompts of one margin or labeler, before anything is
    said of it.
    """

    tone: Literal["ship", "stop", "wait"]
    headline: str
    sentences: tuple[str, ...]
    findings: tuple[str, ...]
    checks: tuple[CheckRow, ...]
    probes: tuple[ProbeRow, ...]
    by_margin: tuple[PartRow, ...]
    by_labeler: tuple[PartRow, ...]
    fewest: int


def certificate_of(run: RunRecord) -> Certificate | None:
    """The certificate of the run's reward model, None where it has none."""
    made = run.certificate
    if not made:
        return None
    evidence = made["evidence"]
    return Certificate(
        TONES[made["verdict"]],
        HEADLINES[made["verdict"]],
        (*(_typeset(one) for one in made["sentences"]), *_override(run)),
        tuple(_findings(evidence)),
        tuple(_check(one) for one in made["checks"]),
        tuple(_probe(one) for one in evidence["probes"]),
        tuple(_part(one) for one in evidence["by_margin"]),
        tuple(_part(one) for one in evidence["by_labeler"]),
        max((one["right"]["needed"] for one in evidence["by_margin"]), default=0),
    )


def unfit(run: RunRecord) -> str | None:
    """The verdict of the certificate, where PPO was told to start in spite of it."""
    ppo = run.result("ppo")
    return str(ppo["reward_verdict"]) if ppo.get("unfit_reward_allowed") else None


def _override(run: RunRecord) -> list[str]:
    if unfit(run) is None:
        return []
    return ["PPO was told to start all the same (ppo.allow_unfit_reward)."]


def _check(row: Json) -> CheckRow:
    threshold, passes = row["threshold"], row["passes"]
    return CheckRow(
        threshold["title"],
        "unknown" if row["value"] is None else spelled(row["value"], threshold["unit"]),
        (_asked(threshold, "rl"), _mark(passes["rl"])),
        (_asked(threshold, "best_of_n"), _mark(passes["best_of_n"])),
        threshold["why"],
    )


def _asked(threshold: Json, use: str) -> str:
    if threshold[use] is None:
        return ABSENT
    sign = "≤" if threshold["most"] else "≥"
    return f"{sign}{THIN}{spelled(threshold[use], threshold['unit'])}"


def _mark(passed: bool | None) -> str:
    return "" if passed is None else "passed" if passed else "failed"


def spelled(value: float, unit: str) -> str:
    """0.6, "share" -> "60 %"; 0.031, "points" -> "3.1 points"."""
    if unit == "share":
        return percent(value)
    if unit == "points":
        return f"{number(100 * value, 1)} points"
    return number(value, 0) if unit == "count" else f"{number(value)} {unit}"


def _probe(row: Json) -> ProbeRow:
    right = row["right"]
    interval = right["interval"]
    shift = row["shift"]
    said = ABSENT if shift is None else signed(shift)
    return ProbeRow(
        PROBES[row["probe"]],
        percent(right["value"]),
        percent_range(*interval) if interval else "",
        said.lstrip("+") if row["probe"] == "paraphrase" else said,
        count(right["count"]),
        count(row["left_out"]),
    )


def _part(row: Json) -> PartRow:
    right = row["right"]
    interval = right["interval"]
    return PartRow(
        row["name"],
        percent(right["value"]) if right["value"] is not None else "too few",
        percent_range(*interval) if interval else "",
        count(right["count"]),
        count(right["clusters"]),
    )


def _findings(evidence: Json) -> list[str]:
    """Baselines, ceiling, temperature, the splits, strangers, members and what was left out."""
    if evidence["accuracy"] is None:
        return ["No held-out prompt has a strict ranking, so next to nothing can be measured."]
    prompts = count(evidence["accuracy"]["prompts"], "prompt")
    said = [
        f"On {prompts} of the {evidence['split']} split it orders {_share(evidence['accuracy'])} "
        f"of votes as the labelers did; longest is best orders {_share(evidence['longest'])}"
        f"{_words(evidence)}."
    ]
    for part in (_ceiling, _splits, _temperature, _strangers, _members, _left_out):
        said += part(evidence)
    return said


def _words(evidence: Json) -> str:
    if evidence["words"] is None:
        return ""
    return f", a bag of words that learned from the same rankings {_share(evidence['words'])}"


def _ceiling(evidence: Json) -> list[str]:
    found = evidence["ceiling"]
    if found is None:
        return ["No two labelers ranked the same pair, so what their agreement allows is unknown."]
    span = "" if found["low"] is None else f" ({percent_span(found['low'], found['high'])})"
    return [
        f"Labelers who agree in {percent(found['agreement'])} of strict judgements, as these do, "
        f"allow at most about {percent(found['value'])}{span}, if they err alike and independently "
        "on every pair; pairs that differ in difficulty allow less."
    ]


def _splits(evidence: Json) -> list[str]:
    rows = [
        f"{percent(evidence[name]['value'])} on {words}"
        for name, words in (("train", "training prompts"), ("validation", "validation prompts"))
        if evidence[name] is not None
    ]
    return [f"For comparison, {listed(rows)}."] if rows else []


def _temperature(evidence: Json) -> list[str]:
    plain, after = evidence["calibration"], evidence["calibrated"]
    brier = f"Brier score {number(plain['brier'], 3)}, where tossing a coin gets 0.250"
    if after is None:
        return [f"{brier}; too few votes on validation to fit a temperature."]
    heat = evidence["temperature"]
    sure = "too sure" if heat > 1 else "not sure enough"
    return [
        f"{brier}. By {count(evidence['temperature_votes'], 'vote')} on validation it is {sure} "
        f"(temperature {number(heat)}); with that, the calibration error on held-out prompts is "
        f"{number(after['error'])} instead of {number(plain['error'])}."
    ]


def _strangers(evidence: Json) -> list[str]:
    found = evidence["held_out_labelers"]
    if found is None:
        return []
    right = found["right"]
    if right["value"] is None:
        return [f"The votes of {found['name']} whom it never saw are too few to judge it by."]
    return [
        f"On {count(right['count'], 'vote')} of {found['name']} whom it never saw: "
        f"{with_span(right['value'], right['interval'])}."
    ]


def _members(evidence: Json) -> list[str]:
    found = evidence["disagreement"]
    if found is None:
        return []
    return [
        f"Its {found['members']} members differ by {number(found['inside'])} spreads on held-out "
        f"answers, by {number(found['swapped'])} on answers to other prompts and by "
        f"{number(found['shuffled'])} on shuffled words."
    ]


def _left_out(evidence: Json) -> list[str]:
    dropped = evidence["dropped"] or {}
    said = [count(dropped[name], *nouns) for name, nouns in LEFT_OUT.items() if dropped.get(name)]
    return [f"Left out, over all splits: {listed(said)}."] if said else []


def _share(accuracy: Json) -> str:
    return with_span(accuracy["value"], (accuracy["low"], accuracy["high"]))


def _typeset(sentence: str) -> str:
    """Numbers and their units as on the rest of the page."""
    return sentence.replace(" %", f"{THIN}%")
