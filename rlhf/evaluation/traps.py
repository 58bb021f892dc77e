"""Length or one answer passing for quality: what gives it away."""

from collections.abc import Iterator

from rlhf.data.identity import Json
from rlhf.data.policies import policy_name
from rlhf.evaluation.evidence import Subject, is_independent, longest_of
from rlhf.evaluation.spelling import percent, span

COLLAPSE = 0.5  # of what a policy wins by, the share that must be left at equal length


def length_traps(subject: Subject) -> Iterator[str]:
    """A sentence for each trap that is sprung, the policy's own first."""
    yield from _wins_by_length(subject)
    yield from _longest_wins(subject.evaluated)


def _wins_by_length(subject: Subject) -> Iterator[str]:
    """It beats SFT, and of what it wins by less than half is left where answers are as long."""
    won = subject.win_rate
    equal = (subject.people or subject.row).get("length_controlled")
    if equal is None or won.low <= 0.5 or equal["low"] > 0.5:
        return
    if equal["rate"] - 0.5 < COLLAPSE * (won.value - 0.5):
        yield (
            f"Length trap: {policy_name(subject.policy)} wins by length. It beats SFT in "
            f"{percent(won.value)} of comparisons, but where answers are equally long in "
            f"{percent(equal['rate'])} ({span(equal['low'], equal['high'])})."
        )


def _longest_wins(evaluated: Json) -> Iterator[str]:
    """The reward model prefers the longest of many SFT answers, and nobody else is known to."""
    name = longest_of(evaluated)
    row = evaluated["policies"].get(name)
    if row is not None and _fools_the_proxy(evaluated, row):
        yield (
            f"Length trap: the reward model has learned length. It prefers the {policy_name(name)} "
            f"SFT answers to SFT's in {percent(row['proxy_win_rate'])} of comparisons"
            f"{_judge_says(evaluated, row)}."
        )


def one_answer_wins(evaluated: Json) -> Iterator[str]:
    """One answer to everything has a reward that SFT's answers do not have."""
    row = evaluated["policies"].get("null")
    if row is not None and _fools_the_proxy(evaluated, row):
        yield (
            "Beware: under the reward model one and the same answer to everything beats SFT in "
            f"{percent(row['proxy_win_rate'])} of comparisons{_judge_says(evaluated, row)}. A "
            "policy that is let far enough away finds such an answer."
        )


def _fools_the_proxy(evaluated: Json, row: Json) -> bool:
    if row.get("proxy_win_rate_low", 0.0) <= 0.5:
        return False
    return not is_independent(evaluated) or row["win_rate_low"] <= 0.5


def _judge_says(evaluated: Json, row: Json) -> str:
    if not is_independent(evaluated):
        return ", and no other judge was asked"
    return f"; the judge does in {percent(row['win_rate'])}"
