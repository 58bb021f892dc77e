"""Answers side by side, chosen by rule: where the judge saw the largest gain, a typical one, and
the largest loss.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf.data.identity import Json
from rlhf.reporting.formatting import number, policy_name, signed
from rlhf.reporting.reading import RunRecord
from rlhf.reporting.verdict import TRAINED

WANTED = 12
MOST_FAMILIES = 4
MOST_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One policy's answer with what judge and reward model say of it."""

    policy: str
    text: str
    facts: str
    finished: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt and the answers to it; `kind` says why it was chosen."""

    kind: str
    family: str
    turns: tuple[tuple[str, str], ...]
    answers: tuple[ShownAnswer, ...]
    difference: str


def samples_of(run: RunRecord) -> list[Sample]:
    """About a dozen, over at most four families; typical ones first, gains and losses alternating.

    The difference is the judged reward of the best policy's answer less that of SFT's.
    """
    best = run.result("evaluate").get("best", "")
    rows = [row for row in run.answers if {best, "reference"} <= row["answers"].keys()]
    families = [family for family, _ in Counter(row["family"] for row in rows).most_common()]
    families = sorted(families[:MOST_FAMILIES])
    if not families:
        return []
    each = WANTED // (3 * len(families))
    chosen = [_three_kinds(rows, family, best, each) for family in families]
    kinds = ("typical", "largest gain", "largest loss")
    # Families in turn, each starting with another kind: the first few show all three kinds.
    order = [
        (family, kinds[(kind + family) % 3], place)
        for place in range(each)
        for kind in range(3)
        for family in range(len(families))
    ]
    own_judge = run.result("evaluate")["judge"] != "reward"
    shown: list[Sample] = []
    seen: set[str] = set()
    for family, kind, place in order:
        picked = chosen[family][kind][place : place + 1]
        if picked and picked[0]["prompt_id"] not in seen:
            seen.add(picked[0]["prompt_id"])
            shown.append(_sample(picked[0], kind, best, own_judge=own_judge))
    return shown


def _gain(row: Json, best: str) -> float:
    answers = row["answers"]
    return float(answers[best]["gold_reward"] - answers["reference"]["gold_reward"])


def _three_kinds(rows: Sequence[Json], family: str, best: str, each: int) -> dict[str, list[Json]]:
    members = [row for row in rows if row["family"] == family]
    by_gain = sorted(members, key=lambda row: (_gain(row, best), row["prompt_id"]))
    middle = _gain(by_gain[len(by_gain) // 2], best)
    typical = sorted(members, key=lambda row: (abs(_gain(row, best) - middle), row["prompt_id"]))
    return {
        "typical": typical[:each],
        "largest gain": by_gain[::-1][:each],
        "largest loss": by_gain[:each],
    }


def _sample(row: Json, kind: str, best: str, *, own_judge: bool) -> Sample:
    others = [name for name in TRAINED if name in row["answers"] and name != best]
    return Sample(
        kind,
        row["family"],
        tuple((turn["role"], _shortened(turn["content"])) for turn in row["prompt"]),
        tuple(
            _answer(name, row["answers"][name], own_judge=own_judge)
            for name in ("reference", best, *others)
        ),
        signed(_gain(row, best)),
    )


def _answer(name: str, answer: Json, *, own_judge: bool) -> ShownAnswer:
    facts = [f"judge {number(answer['gold_reward'])}"] if own_judge else []
    facts += [f"reward model {number(answer['proxy_reward'])}", f"{answer['tokens']} tokens"]
    return ShownAnswer(
        policy_name(name), _shortened(answer["text"]), " · ".join(facts), answer["finished"]
    )


def _shortened(text: str) -> str:
    left = len(text) - MOST_CHARACTERS
    return text if left <= 0 else f"{text[:MOST_CHARACTERS]} … ({left:,} more characters)"
