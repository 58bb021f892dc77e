"""A verdict in sentences, for people who decide."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rlhf.data.identity import Json
from rlhf.data.policies import TRAINED, policy_name
from rlhf.evaluation.evidence import Subject, is_independent, probed
from rlhf.evaluation.openings import evaluations, times_opened
from rlhf.evaluation.spelling import count, kl, listed, percent, span
from rlhf.evaluation.traps import one_answer_wins
from rlhf.evaluation.winrate import Verdict as Decision

if TYPE_CHECKING:
    from rlhf.evaluation.gate import Check, Rule

ENOUGH = ("prompts", "people")  # rules without which there is no verdict at all
WAIT = "Not enough evidence yet."
NOTHING_YET = (
    "The policies have not been compared: the evaluation is not complete. The same command goes on "
    "from here."
)
NOTHING_ASKED = (
    "No rule of the gate asks about anything known of this policy: give it a rule on win_rate."
)


def headline(decision: Decision, policy: str) -> str:
    """The verdict in a few words."""
    if decision == "ship":
        return f"Ship the {policy_name(policy)} policy."
    return "Do not ship." if decision == "do not ship" else WAIT


def too_few(held: int, needed: int, remedy: str) -> str:
    """Why there is no verdict at all."""
    return (
        f"{count(held, 'comparison')} {'is' if held == 1 else 'are'} too few for any verdict: it "
        f"takes {needed:,}, {needed - held:,} more; {remedy}."
    )


def rate(subject: Subject, decision: Decision) -> str:
    """How often the policy beats SFT, and who said so."""
    won = subject.win_rate
    if subject.people:
        return _peoples_rate(subject)
    said = (
        f"{percent(won.value)} of {count(subject.comparisons, 'held-out comparison')} "
        f"({span(won.low, won.high)})"
    )
    name, trained = policy_name(subject.policy), _trained(subject)
    chosen = len(trained) > 1 and subject.policy == subject.evaluated["best"]
    if decision == "ship":
        return f"It beats SFT in {said}, at {kl(subject.row)} from SFT."
    if won.high <= 0.5:
        return f"{'Even ' if chosen else ''}{name} beats SFT in only {said}."
    rank = f", the {'better' if len(trained) == 2 else 'best'} of the trained policies,"
    return f"{name}{rank if chosen else ''} beats SFT in {said}."


def _peoples_rate(subject: Subject) -> str:
    asked, row, won = subject.results["judge"], subject.people, subject.win_rate
    name = policy_name(subject.policy)
    said = (
        f"People compared answers blind, {count(asked['judgements'], 'time')}: {name} was "
        f"preferred to SFT in {percent(row['rate'])} ({span(row['low'], row['high'])}) of "
        f"{count(subject.comparisons, 'comparison')}."
    )
    if row.get("same"):
        said += f" {count(row['same'], 'answer')} said what SFT's did: nobody was asked about them."
    if subject.stopped_early:
        decided = row["sequential"]["wins"] + row["sequential"]["losses"]
        said += (
            f" They stopped early, which the verdict allows for: of the {decided:,} that were no "
            f"ties, {span(won.low, won.high)}."
        )
    automatic = subject.row
    return (
        f"{said} Automatically judged: {percent(automatic['win_rate'])} of "
        f"{count(subject.evaluated['prompts'], 'held-out comparison')} "
        f"({span(automatic['win_rate_low'], automatic['win_rate_high'])})."
    )


def reason(check: "Check") -> str:
    """What a check that is not passed says, and what to do."""
    rule, fact = check.rule, check.fact
    if rule.name == "win_rate" and rule.bound == 0.5:
        if check.outcome == "failed":
            return "The whole interval lies below 50 %: SFT answers better."
        return "The interval holds 50 %, so it may be no better than SFT."
    head = rule.title[0].upper() + rule.title[1:]
    if fact is None:
        return f"{head}: unknown, and the gate requires it; {rule.remedy}."
    said = f"{spelled(fact.value, rule)}" + (
        f" ({span(fact.low, fact.high)})" if fact.low != fact.high else ""
    )
    also = f" ({'; '.join(fact.says)})" if fact.says else ""
    if rule.unit == "yes":
        return f"{head}: {spelled(fact.value, rule)}{also}; {rule.remedy}."
    asked = {"above": "above", "at_least": "at least", "at_most": "at most"}[rule.side]
    return f"{head}: {said}{also}, {asked} {spelled(rule.bound, rule)} is asked; {rule.remedy}."


def spelled(value: float, rule: "Rule") -> str:
    """A figure of a rule with its unit."""
    if rule.unit == "yes":
        return "yes" if value else "no"
    if rule.unit == "count":
        return f"{value:,.0f}"
    return f"{100 * value:.1f} points" if rule.unit == "points" else percent(value)


def how_many_more(closest: "tuple[int, Check] | None", comparisons: int, *, is_open: bool) -> str:
    """How many comparisons would close what is open, if the rate seen is the truth."""
    if not is_open:
        return ""
    if closest is None:
        return "More comparisons, or a better policy, are needed."
    missing, check = closest
    assert check.fact is not None, "what is missing is counted from what was seen"
    at = " at equal length" if check.rule.name == "length_controlled" else ""
    half = "one half" if check.rule.bound == 0.5 else percent(check.rule.bound)
    return (
        f"If {percent(check.fact.value, 1)}{at} is the truth, about "
        f"{count(comparisons + missing, 'comparison')} tell it from {half}: "
        f"{missing:,} more than there are."
    )


def passed(checks: "Sequence[Check]") -> str:
    """How many checks are passed, and which could not be made."""
    good = sum(check.outcome == "passed" for check in checks)
    unknown = [check.rule.title for check in checks if check.outcome == "unknown"]
    known = len(checks) - len(unknown)
    said = f"All {known} checks" if good == known else f"{good} of {known} checks"
    also = f" Not known here: {'; '.join(unknown)}." if unknown else ""
    return f"{said} of the gate are passed.{also}"


def instead(policies: Sequence[str]) -> str:
    """Which other policies could be shipped."""
    if not policies:
        return ""
    names = listed([policy_name(name) for name in policies])
    return f"{names} {'passes' if len(policies) == 1 else 'pass'} the gate all the same."


def about(subject: Subject, *, openings: Sequence[Json], simulated: bool) -> Iterator[str]:
    """The other policies, what probes warn of, who judged, how often the test split was opened."""
    yield from _others(subject)
    yield from _apart(subject)
    yield from one_answer_wins(subject.evaluated)
    for row in probed(subject).values():
        if row["verdict"] == "beware":
            yield f"Beware: {str(row.get('says', '')).rstrip('.')}."
    yield judge(subject.evaluated, simulated=simulated)
    times = times_opened(openings)
    if times > 1:
        first = evaluations(openings)[0]["at"][:10]
        yield (
            f"The test split was opened for evaluation {times} times, first on {first}: settings "
            "that were chosen while looking at it make these figures better than they are."
        )


def judge(evaluated: Json, *, simulated: bool) -> str:
    """Who judged automatically, and what that is worth."""
    name = str(evaluated.get("judge", ""))
    if name == "reward":
        return (
            "The judge is the reward model itself, which the training followed: a first sign, no "
            "proof."
        )
    if not is_independent(evaluated):
        return (
            f"The judge is the {name}, a reward model from the same labelers by which checkpoints "
            "were chosen: a first sign, no proof."
        )
    if name.startswith("endpoint:"):
        told = evaluated["judge_told"]
        doubtful = told["inconsistent"] / max(1, told["comparisons"])
        lost = f", {told['unusable']:,} were unusable" if told["unusable"] else ""
        return (
            f"The judge is the language model {told['model']}, asked in both orders; it "
            f"contradicted itself in {percent(doubtful)} of comparisons, which count as ties{lost}."
        )
    known = f"the {name} preference" if name in {"built-in", "stories"} else f"the function {name}"
    who = ", which the simulated labelers follow" if simulated else ""
    return f"The judge is {known}{who}; no training stage reads it."


def _trained(subject: Subject) -> list[str]:
    return [name for name in TRAINED if name in subject.evaluated["policies"]]


def _others(subject: Subject) -> Iterator[str]:
    """What the other policies come to: the other trained ones, and the largest best-of-n."""
    policies = subject.evaluated["policies"]
    drawn = [name for name in policies if name.startswith("best_of_")]
    largest = sorted(drawn, key=lambda name: int(name.removeprefix("best_of_")))[-1:]
    said = []
    for name in [name for name in _trained(subject) if name != subject.policy] + largest:
        row = policies[name]
        label = policy_name(name) + (" SFT answers" if name in largest else "")
        rates = span(row["win_rate_low"], row["win_rate_high"])
        said.append(f"{label} in {percent(row['win_rate'])} ({rates})")
    if said:
        yield f"For comparison: {listed(said)}."


def _apart(subject: Subject) -> Iterator[str]:
    """Whether it is told apart from each other trained policy, by who has the last word."""
    judged = subject.results["judge"] if subject.people else subject.evaluated
    for row in judged.get("differences", []):
        pair = (row["first"], row["second"])
        if subject.policy not in pair:
            continue
        sign = 1 if pair[0] == subject.policy else -1
        other = policy_name(pair[1] if sign > 0 else pair[0])
        low, high = sorted((100 * sign * row["low"], 100 * sign * row["high"]))
        by = f"{100 * sign * row['value']:+.1f} points ({low:+.1f} to {high:+.1f})"
        name = policy_name(subject.policy)
        if low <= 0 <= high:
            yield f"{name} and {other} cannot be told apart: {by}."
        else:
            yield f"{name} beats SFT {'more' if low > 0 else 'less'} often than {other}: {by}."
