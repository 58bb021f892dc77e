"""What can be said of labelers without accusing anybody by chance, in plain sentences."""

from collections.abc import Iterable
from dataclasses import dataclass

from rlhf.feedback.intervals import holm
from rlhf.feedback.quality import Evidence

FALSE_ALARMS = 0.05  # the chance of any false finding in a crew
PERCENT = "\N{NO-BREAK SPACE}%"
MATTERS = 0.05  # a share that differs by less is not worth a word
# Where only one direction says something: below what is expected, or above it.
_ONLY_BELOW = ("gold", "others", "consistency")
_ONLY_ABOVE = ("words_per_minute",)

# Keys: the measure, and `more` or `less` than is expected.
SENTENCES = {
    (
        "gold",
        "less",
    ): "orders {value} of {count} gold pairs as expected; the others {expected} (median).",
    ("others", "less"): "agrees with the others on {value} of {count} judgements; the others agree "
    "among themselves on {expected} (half is chance).",
    ("consistency", "less"): "orders {value} of {count} pairs as before when an item comes again; "
    "the others {expected} in the median (half is chance).",
    ("identical", "more"): "prefers what is shown first: {value} of {count} identical pairs; half "
    "is expected.",
    ("identical", "less"): "prefers what is shown last: the first of two identical answers is "
    "preferred in {value} of {count} pairs; half is expected.",
    ("place", "less"): "puts first what stands early on the page: over {count} rankings the best "
    "answer stands at {value} of the way from the first card to the last; half is expected.",
    ("place", "more"): "puts first what stands late on the page: over {count} rankings the best "
    "answer stands at {value} of the way from the first card to the last; half is expected.",
    ("length", "more"): "prefers the longer answer in {value} of {count} pairs; the others "
    "{expected} (median).",
    ("length", "less"): "prefers the longer answer in only {value} of {count} pairs; the others "
    "{expected} (median).",
    ("ties", "more"): "ties {value} of {count} pairs; the others {expected} (median).",
    ("ties", "less"): "ties only {value} of {count} pairs; the others {expected} (median).",
    ("none", "more"): "finds none acceptable in {value} of {count} answers; the others "
    "{expected} (median).",
    ("none", "less"): "finds none acceptable in only {value} of {count} answers; the others "
    "{expected} (median).",
    ("words_per_minute", "more"): "answers after {value} words a minute in the median of {count} "
    "answers; nobody reads more than {expected} with care.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that chance does not explain: `p_value` is corrected for all that was looked at."""

    labeler_id: str
    measure: str
    sentence: str
    p_value: float


def findings(evidence: Iterable[Evidence]) -> list[Finding]:
    """What is worth a talk with a labeler, the surest first.

    The interval must leave out what is expected, by more than `MATTERS`, and the p-value must hold
    after Holm's correction over all labelers and measures: in a crew in which nobody differs, there
    is any finding at all in at most one case of twenty.
    """
    weighed = {(one.labeler_id, one.measure): one for one in evidence}
    corrected = holm({key: one.p_value for key, one in weighed.items()})
    found = [
        Finding(one.labeler_id, one.measure, _sentence(one, direction), corrected[key])
        for key, one in weighed.items()
        if corrected[key] < FALSE_ALARMS and (direction := _direction(one))
    ]
    return sorted(found, key=lambda one: (one.p_value, one.labeler_id, one.measure))


def _direction(evidence: Evidence) -> str:
    """`more` or `less` than is expected; empty where that is not worth saying."""
    value, interval = evidence.share.value, evidence.share.interval
    assert value is not None
    assert interval is not None
    apart = value - evidence.expected
    if interval[0] <= evidence.expected <= interval[1] or abs(apart) < MATTERS:
        return ""
    if evidence.measure in (_ONLY_BELOW if apart > 0 else _ONLY_ABOVE):
        return ""
    return "more" if apart > 0 else "less"


def _sentence(evidence: Evidence, direction: str) -> str:
    spell = _number if evidence.measure == "words_per_minute" else _percent
    value, interval = evidence.share.value, evidence.share.interval
    assert value is not None
    assert interval is not None
    low, high = spell(interval[0]).removesuffix(PERCENT), spell(interval[1]).removesuffix(PERCENT)
    said = SENTENCES[evidence.measure, direction].format(
        value=f"{spell(value)} ({low} to {high})",
        count=_number(evidence.share.count),
        expected=spell(evidence.expected),
    )
    return f"{evidence.labeler_id} {said}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}{PERCENT}"


def _number(number: float) -> str:
    return f"{number:,.0f}"
