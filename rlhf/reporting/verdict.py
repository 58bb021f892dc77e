"""The verdict in plain words: ship, do not, or not enough evidence, and who judged."""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal

from rlhf.data.identity import Json
from rlhf.evaluation.winrate import Z95
from rlhf.reporting.formatting import count, kl, listed, percent, percent_span, policy_name
from rlhf.reporting.reading import RunRecord

TRAINED = ("dpo", "ppo", "rloo", "rejection")
Z80 = 0.8416212335729143  # the power of 80 %
MOST_JUDGEMENTS = 100_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """`tone` chooses the colour; `sentences` follow the headline."""

    tone: Literal["ship", "stop", "wait"]
    headline: str
    sentences: tuple[str, ...]


def verdict_of(run: RunRecord) -> Verdict:
    """What the evaluation says of the best trained policy."""
    found = run.result("evaluate")
    if not found:
        return Verdict(
            "wait",
            "No verdict yet.",
            (
                "The policies have not been compared: the evaluation is not complete. The same "
                "command goes on from here.",
            ),
        )
    if run.result("judge"):
        return _verdict_of_people(run)
    best, row = found["best"], found["policies"][found["best"]]
    said, others = found["verdict"], (*_others(found), judge(run))
    if said == "ship":
        return Verdict("ship", f"Ship the {policy_name(best)} policy.", (_won(found), *others))
    if said == "do not ship":
        worse = f"The whole interval lies below {percent(0.5)}: SFT answers better."
        return Verdict("stop", "Do not ship.", (_lost(found), worse, *others))
    return Verdict(
        "wait", "Not enough evidence yet.", (_undecided(found), _missing(found, row), *others)
    )


def _verdict_of_people(run: RunRecord) -> Verdict:
    """What people said when they compared the answers blind; they have the last word."""
    found = run.result("judge")
    name, row = policy_name(found["best"]), found["policies"][found["best"]]
    rate = f"{percent(row['rate'])} ({percent_span(row['low'], row['high'])})"
    held = row["wins"] + row["ties"] + row["losses"]
    judged = (
        f"People compared answers blind, {count(found['judgements'], 'time')}: {name} was "
        f"preferred to SFT in {rate} of {count(held, 'comparison')}."
    )
    automatic = run.result("evaluate")
    also = (f"Automatically judged: {_rate(automatic, automatic['policies'][found['best']])}.",)
    if found["verdict"] == "ship":
        return Verdict("ship", f"Ship the {name} policy.", (judged, *also, judge(run)))
    if found["verdict"] == "do not ship":
        return Verdict("stop", "Do not ship.", (judged, *also, judge(run)))
    return Verdict("wait", "Not enough evidence yet.", (judged, *also, judge(run)))


def judgements_needed(rate: float) -> int:
    """Comparisons that tell a win rate from one half, two-sided at 5 % with a power of 80 %.

    The normal approximation for one share, without continuity correction: 783 for 55 %.
    """
    spread = Z95 * 0.5 + Z80 * sqrt(rate * (1 - rate))
    return ceil((spread / (rate - 0.5)) ** 2)


def judge(run: RunRecord) -> str:
    """Who judged, and what that is worth."""
    name = run.result("evaluate").get("judge", "")
    if name == "reward":
        return (
            "The judge is the reward model itself, which the training followed: a first sign, no "
            "proof."
        )
    known = f"the {name} preference" if name in {"built-in", "stories"} else f"the function {name}"
    who = ", which the simulated labelers follow" if run.simulated else ""
    return f"The judge is {known}{who}; no training stage reads it."


def _won(found: Json) -> str:
    row = found["policies"][found["best"]]
    return f"It beats SFT in {_rate(found, row)}, {_distance(row)}."


def _lost(found: Json) -> str:
    row = found["policies"][found["best"]]
    even = "Even " if len(_trained(found)) > 1 else ""
    return f"{even}{policy_name(found['best'])} beats SFT in only {_rate(found, row)}."


def _undecided(found: Json) -> str:
    row = found["policies"][found["best"]]
    rank = "better" if len(_trained(found)) == 2 else "best"
    better = f", the {rank} of the trained policies," if len(_trained(found)) > 1 else ""
    return (
        f"{policy_name(found['best'])}{better} beats SFT in {_rate(found, row)}. The interval "
        f"holds {percent(0.5)}, so it may be no better than SFT."
    )


def _missing(found: Json, row: Json) -> str:
    """How many more comparisons would do, where the rate seen is above one half."""
    rate = row["win_rate"]
    needed = judgements_needed(rate) if rate > 0.5 else MOST_JUDGEMENTS
    if needed >= MOST_JUDGEMENTS or needed <= found["prompts"]:
        return "More comparisons, or a better policy, are needed."
    more = needed - found["prompts"]
    return (
        f"If {percent(rate, 1)} is the truth, about {count(needed)} comparisons tell it from one "
        f"half: {count(more)} more than there are."
    )


def _rate(found: Json, row: Json) -> str:
    span = percent_span(row["win_rate_low"], row["win_rate_high"])
    return (
        f"{percent(row['win_rate'])} of {count(found['prompts'], 'held-out comparison')} ({span})"
    )


def _distance(row: Json) -> str:
    return f"at {kl(row)} nats from SFT" if "kl" in row else "at an unknown distance from SFT"


def _trained(found: Json) -> list[str]:
    return [name for name in TRAINED if name in found["policies"]]


def _others(found: Json) -> list[str]:
    """What the other policies come to: the other trained one, and the largest best-of-n."""
    drawn = [name for name in found["policies"] if name.startswith("best_of_")]
    largest = sorted(drawn, key=lambda name: int(name.removeprefix("best_of_")))[-1:]
    names = [name for name in _trained(found) if name != found["best"]] + largest
    said = []
    for name in names:
        row = found["policies"][name]
        span = percent_span(row["win_rate_low"], row["win_rate_high"])
        label = policy_name(name) + (" SFT answers" if name in largest else "")
        said.append(f"{label} in {percent(row['win_rate'])} ({span})")
    return [f"For comparison: {listed(said)}."] if said else []
