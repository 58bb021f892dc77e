"""The table of policies."""

from dataclasses import dataclass

from rlhf.data.identity import Json
from rlhf.data.policies import policy_name
from rlhf.reporting.formatting import ABSENT, kl, number, percent, percent_range
from rlhf.reporting.reading import RunRecord

TABLE_NOTE = (
    "Every policy answered the same held-out prompts; each answer is compared with one SFT "
    "answer, ties count one half. The SFT row is a second draw from SFT, so it shows how far "
    "chance alone goes. Small figures are 95\u202f% intervals, one policy at a time: they do not "
    "allow for having picked the best of several. At equal length: what a logistic regression on "
    "the difference in length says of answers as long as those of SFT. The null row is one answer "
    "to everything: of all SFT answers the one that the reward model liked best."
)


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """One policy, spelled for the table; `judged` is empty where the reward model is the judge,
    `people` where people did not compare.
    """

    name: str
    label: str
    win_rate: str
    interval: str
    controlled: str
    controlled_interval: str
    judged: str
    proxy: str
    kl: str
    tokens: str
    finished: str
    best: bool
    people: str = ""
    people_interval: str = ""


def ordered(policies: Json) -> list[str]:
    """Policy names by win rate, the best first, SFT last."""
    names = [name for name in policies if name != "sft"]
    names.sort(key=lambda name: (-policies[name]["win_rate"], name))
    return names + (["sft"] if "sft" in policies else [])


def policy_rows(run: RunRecord) -> list[PolicyRow]:
    """A row per policy; empty without an evaluation."""
    found = run.result("evaluate")
    policies = found.get("policies", {})
    own_judge = found.get("judge") != "reward"
    return [
        PolicyRow(
            name,
            policy_name(name),
            percent(row["win_rate"]),
            percent_range(row["win_rate_low"], row["win_rate_high"]),
            *_controlled(row),
            number(row["gold_reward"]) if own_judge else "",
            number(row["proxy_reward"]),
            kl(row),
            number(row["mean_tokens"], 0),
            percent(row["finished_share"]),
            name == run.best,
            *_by_people(run, name),
        )
        for name in ordered(policies)
        for row in (policies[name],)
    ]


def _by_people(run: RunRecord, name: str) -> tuple[str, str]:
    """How often people preferred it to SFT, and the interval; a dash for what they did not see."""
    row = run.people(name)
    if row:
        return percent(row["rate"]), percent_range(row["low"], row["high"])
    return (ABSENT, "") if run.result("judge") else ("", "")


def _controlled(row: Json) -> tuple[str, str]:
    """The win rate at equal length and its interval; nothing in runs that did not work it out."""
    found = row.get("length_controlled")
    if found is None:
        return ABSENT, ""
    return percent(found["rate"]), percent_range(found["low"], found["high"])
