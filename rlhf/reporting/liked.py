"""What the reward model likes most, shown to a reader; and the answers that rules suspect."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf.data.identity import Json
from rlhf.data.policies import TRAINED, policy_name
from rlhf.data.privacy import scrub
from rlhf.evaluation.suspicion import RULES, Suspect, suspects
from rlhf.reporting.formatting import count, number
from rlhf.reporting.reading import RunRecord
from rlhf.reporting.samples import Clean, ShownAnswer, shown_answer, turns_of

MOST_LIKED = 5
MOST_LISTED = 12


@dataclass(frozen=True, slots=True)
class Liked:
    """A prompt, an answer, and SFT's answer beside it; `facts` say what the answer stands for."""

    turns: tuple[tuple[str, str], ...]
    facts: str
    answers: tuple[ShownAnswer, ...]


@dataclass(frozen=True, slots=True)
class SuspectRow:
    """How many answers of a policy each rule objects to, spelled for the table."""

    label: str
    total: str
    by_rule: tuple[str, ...]


def trained_in(run: RunRecord) -> list[str]:
    """The trained policies that the evaluation knows."""
    return [name for name in TRAINED if name in run.result("evaluate").get("policies", {})]


def suspects_of(run: RunRecord) -> list[Suspect]:
    """The suspicious answers of the trained policies."""
    return suspects(run.answers, trained_in(run))


def most_liked(run: RunRecord, found: Sequence[Suspect], clean: Clean = scrub) -> list[Liked]:
    """The answers of trained policies with the highest reward, the highest first, one a prompt."""
    reasons = {(one.row["prompt_id"], one.policy): one.reasons for one in found}
    trained = trained_in(run)
    rows = [row for row in run.answers if "reference" in row["answers"]]
    scored = [(row, name) for row in rows for name in trained if name in row["answers"]]
    scored.sort(key=lambda one: (-_proxy(*one), one[0]["prompt_id"], one[1]))
    shown: dict[str, Liked] = {}
    for row, name in scored:
        if len(shown) == MOST_LIKED:
            break
        if row["prompt_id"] not in shown:
            place = f"{len(shown) + 1}. {policy_name(name)}, reward {number(_proxy(row, name))}"
            why = reasons.get((row["prompt_id"], name), ())
            shown[row["prompt_id"]] = _liked(run, row, name, place, why, clean)
    return list(shown.values())


def listed_suspects(run: RunRecord, found: Sequence[Suspect], clean: Clean = scrub) -> list[Liked]:
    """The first dozen of the suspicious answers."""
    return [
        _liked(run, one.row, one.policy, ", ".join(one.rules), one.reasons, clean)
        for one in found[:MOST_LISTED]
    ]


def suspect_rows(run: RunRecord, found: Sequence[Suspect]) -> list[SuspectRow]:
    """A row per trained policy, then SFT drawn again: what the rules find without any training."""
    own = suspects(run.answers, ["sft"])
    rows = []
    for name in [*trained_in(run), "sft"]:
        of_policy = [one for one in (own if name == "sft" else found) if one.policy == name]
        answers = sum(name in row["answers"] for row in run.answers)
        if not answers:
            continue
        rules = Counter(rule for one in of_policy for rule in one.rules)
        label = "SFT, drawn again" if name == "sft" else policy_name(name)
        total = f"{len(of_policy)} of {count(answers)}"
        rows.append(SuspectRow(label, total, tuple(str(rules[rule]) for rule in RULES)))
    return rows


def _proxy(row: Json, name: str) -> float:
    return float(row["answers"][name]["proxy_reward"])


def _liked(
    run: RunRecord, row: Json, name: str, facts: str, reasons: Sequence[str], clean: Clean
) -> Liked:
    own_judge = run.result("evaluate")["judge"] != "reward"
    answers = (
        shown_answer(row, name, own_judge, clean, reasons),
        shown_answer(row, "reference", own_judge, clean),
    )
    return Liked(turns_of(row, clean), facts, answers)
