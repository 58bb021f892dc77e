"""Answers side by side, chosen by rule: where the judge saw the largest gain, a typical one, and
the largest loss; then what is suspicious, then more in the order of their ids, for the filters.

Texts are scrubbed of personal data unless the caller cleans them otherwise.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlhf.data.identity import Json
from rlhf.data.policies import TRAINED, policy_name
from rlhf.data.privacy import scrub
from rlhf.evaluation.suspicion import Suspect
from rlhf.reporting.formatting import number, signed
from rlhf.reporting.reading import RunRecord

WANTED = 12
WITH_MORE = 80
MOST_FAMILIES = 4
MOST_CHARACTERS = 4000
MOST_IN_ALL = 1_000_000
Clean = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One policy's answer with what judge and reward model say of it.

    `outcome` is win, loss or tie against SFT's answer (empty for SFT's own, and for what was not
    judged), `reasons` what is suspicious.
    """

    name: str
    policy: str
    text: str
    facts: str
    finished: bool
    outcome: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt and the answers to it; `kind` says why it was chosen, `chosen` whether it is one
    of the dozen that the page shows before any filter.
    """

    kind: str
    family: str
    turns: tuple[tuple[str, str], ...]
    answers: tuple[ShownAnswer, ...]
    difference: str
    chosen: bool = True


def samples_of(
    run: RunRecord, suspects: Sequence[Suspect] = (), clean: Clean = scrub
) -> list[Sample]:
    """About a dozen, over at most four families; typical ones first, gains and losses alternating.
    Then more, as far as a page can hold them.

    The difference is the judged reward of the best policy's answer less that of SFT's.
    """
    best = run.best
    rows = [
        row
        for row in run.answers
        if {best, "reference"} <= row["answers"].keys() and is_judged(row, best)
    ]
    if not rows:
        return []
    reasons = {(one.row["prompt_id"], one.policy): one.reasons for one in suspects}
    others = [name for name in TRAINED if name != best]
    own_judge = run.result("evaluate")["judge"] != "reward"

    def sample(row: Json, kind: str, *, chosen: bool) -> Sample:
        names = [name for name in ("reference", best, *others) if name in row["answers"]]
        answers = tuple(
            shown_answer(row, name, own_judge, clean, reasons.get((row["prompt_id"], name), ()))
            for name in names
        )
        difference = signed(_gain(row, best))
        return Sample(kind, row["family"], turns_of(row, clean), answers, difference, chosen)

    dozen = _dozen(rows, best)
    shown = [sample(row, kind, chosen=True) for row, kind in dozen]
    seen = {row["prompt_id"] for row, _ in dozen}
    rest = [one.row for one in suspects if one.row in rows]
    rest += sorted(rows, key=lambda row: str(row["prompt_id"]))
    room = MOST_IN_ALL
    for row in rest:
        room -= sum(len(answer["text"]) for answer in row["answers"].values())
        if len(shown) >= WITH_MORE or room < 0:
            break
        if row["prompt_id"] not in seen:
            seen.add(row["prompt_id"])
            shown.append(sample(row, "one more", chosen=False))
    return shown


def _dozen(rows: Sequence[Json], best: str) -> list[tuple[Json, str]]:
    """The rows to show first, each with its kind."""
    families = [family for family, _ in Counter(row["family"] for row in rows).most_common()]
    families = sorted(families[:MOST_FAMILIES])
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
    found: list[tuple[Json, str]] = []
    seen: set[str] = set()
    for family, kind, place in order:
        picked = chosen[family][kind][place : place + 1]
        if picked and picked[0]["prompt_id"] not in seen:
            seen.add(picked[0]["prompt_id"])
            found.append((picked[0], kind))
    return found


def is_judged(row: Json, policy: str) -> bool:
    """Whether the judge said anything usable of this answer."""
    return not row["answers"][policy].get("unusable", False)


def _gain(row: Json, policy: str) -> float:
    answers = row["answers"]
    return float(answers[policy]["gold_reward"] - answers["reference"]["gold_reward"])


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


def turns_of(row: Json, clean: Clean) -> tuple[tuple[str, str], ...]:
    """The prompt, turn by turn."""
    return tuple((turn["role"], _shortened(clean(turn["content"]))) for turn in row["prompt"])


def shown_answer(
    row: Json, name: str, own_judge: bool, clean: Clean, reasons: Sequence[str] = ()
) -> ShownAnswer:
    """An answer of the evaluation, spelled for the page."""
    answer = row["answers"][name]
    facts = [f"judge {number(answer['gold_reward'])}"] if own_judge else []
    if not is_judged(row, name):
        facts = ["not judged"]
    facts += [f"reward model {number(answer['proxy_reward'])}", f"{answer['tokens']} tokens"]
    gain = _gain(row, name)
    outcome = "win" if gain > 0 else "loss" if gain < 0 else "tie"
    if name == "reference" or not is_judged(row, name):
        outcome = ""
    return ShownAnswer(
        name,
        policy_name(name),
        _shortened(clean(answer["text"])),
        " · ".join(facts),
        answer["finished"],
        outcome,
        tuple(reasons),
    )


def _shortened(text: str) -> str:
    left = len(text) - MOST_CHARACTERS
    return text if left <= 0 else f"{text[:MOST_CHARACTERS]} … ({left:,} more characters)"
