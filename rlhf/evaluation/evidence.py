"""What a run's stages found about one policy, as the facts that a gate asks for."""

from collections.abc import Mapping
from dataclasses import dataclass

from rlhf.data.identity import Json
from rlhf.data.policies import TRAINED

# What rules can be about. A fact that does not apply (people's, where nobody was asked) is left
# out; one that is not known is None.
FACTS = (
    "prompts",
    "people",
    "independent_judge",
    "unusable",
    "win_rate",
    "several",
    "length_controlled",
    "one_answer",
    "longest",
    "finished",
    "alarms",
    "probes",
    "contamination",
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure with its 95 % interval, which is the figure itself where it has none; and what is to
    be said of it beside the number.
    """

    value: float
    low: float
    high: float
    says: tuple[str, ...] = ()

    @classmethod
    def of(cls, value: float, *says: str) -> "Fact":
        return cls(value, value, value, says)


@dataclass(frozen=True, slots=True)
class Subject:
    """The policy that a verdict is on: the results of its run, its row in the evaluation, and what
    people said of it ({} where nobody was asked).
    """

    policy: str
    results: Mapping[str, Json]
    row: Json
    people: Json

    @property
    def evaluated(self) -> Json:
        return self.results["evaluate"]

    @property
    def comparisons(self) -> int:
        """Prompts on which it was compared with SFT by who has the last word: with people, those
        that somebody judged.
        """
        if self.people:
            return int(self.people["wins"] + self.people["ties"] + self.people["losses"])
        return int(self.evaluated["prompts"] - self.row.get("unusable", 0))

    @property
    def stopped_early(self) -> bool:
        """Whether people stopped because of what they had said so far."""
        return bool(self.people and self.results["judge"].get("stopped_early"))

    @property
    def win_rate(self) -> Fact:
        """The win rate that counts: people's where they were asked. Where they stopped early, the
        interval that allows for it: of the comparisons that were no ties.
        """
        if not self.people:
            return Fact(*(self.row[f"win_rate{end}"] for end in ("", "_low", "_high")))
        row = self.people["sequential"] if self.stopped_early else self.people
        return Fact(self.people["rate"], row["low"], row["high"])


def subject_of(results: Mapping[str, Json], policy: str | None = None) -> Subject:
    """The policy to judge, by default the best (people's best, where they were asked).

    Raises ValueError for one that was not evaluated.
    """
    evaluated, asked = results["evaluate"], results.get("judge") or {}
    chosen = policy or asked.get("best") or evaluated["best"]
    if chosen not in evaluated["policies"] or chosen not in TRAINED:
        known = [name for name in TRAINED if name in evaluated["policies"]]
        raise ValueError(f"no trained policy {chosen!r} was evaluated: choose {', '.join(known)}")
    row, people = evaluated["policies"][chosen], asked.get("policies", {}).get(chosen, {})
    return Subject(chosen, results, row, people)


def facts_of(subject: Subject) -> dict[str, Fact | None]:
    """The facts that apply, by name; None where one is not known."""
    row, found = subject.row, subject.evaluated
    dependent = not is_independent(found)
    facts: dict[str, Fact | None] = {}
    if not subject.stopped_early:  # that interval knows how few they are
        facts["people" if subject.people else "prompts"] = Fact.of(subject.comparisons)
    facts["independent_judge"] = Fact.of(float(bool(subject.people) or not dependent))
    if not subject.people:
        facts["unusable"] = Fact.of(row.get("unusable", 0) / found["prompts"])
    if not subject.stopped_early:  # that interval allows for several already
        p_holm = (subject.people or row).get("p_holm")
        facts["several"] = None if p_holm is None else Fact.of(p_holm)
    facts["win_rate"] = subject.win_rate
    facts["length_controlled"] = _interval((subject.people or row).get("length_controlled"))
    if not subject.people and (dependent or str(found["judge"]).startswith("endpoint")):
        # A known preference is not fooled: what it prefers is what is wanted.
        facts["one_answer"] = _edge(found, "null")
        facts["longest"] = _edge(found, longest_of(found))
    sft = found["policies"].get("sft")
    facts["finished"] = sft and Fact.of(row["finished_share"] - sft["finished_share"])
    trained = subject.results.get(subject.policy) or {}
    if "alarms" in trained:
        facts["alarms"] = Fact.of(len(trained["alarms"]), *trained["alarms"])
    facts["probes"] = _probes(subject)
    facts["contamination"] = _contamination(subject)
    return facts


def is_independent(evaluated: Json) -> bool:
    """Whether the automatic judge is one that no policy was trained or chosen by."""
    return bool(evaluated.get("judge_independent", evaluated["judge"] != "reward"))


def longest_of(evaluated: Json) -> str:
    """The name of the row of the longest SFT answers; "" where there is none."""
    return next((name for name in evaluated["policies"] if name.startswith("longest_of_")), "")


def _interval(row: Json | None) -> Fact | None:
    return None if row is None else Fact(row["rate"], row["low"], row["high"])


def _edge(evaluated: Json, name: str) -> Fact | None:
    row = evaluated["policies"].get(name)
    return None if row is None else Fact.of(row["win_rate_low"])


def probed(subject: Subject) -> dict[str, Json]:
    """What each probe says of the policy (of the run, where it does not tell policies apart); a
    probe that was not asked about this policy says nothing.
    """
    found = (subject.results.get("probe") or {}).get("probes") or {}
    rows = {
        name: row["policy"].get(subject.policy, {}) if row.get("policy") else row
        for name, row in found.items()
    }
    return {name: row for name, row in rows.items() if row.get("verdict")}


def _probes(subject: Subject) -> Fact | None:
    rows = probed(subject)
    failed = [str(row.get("says", name)) for name, row in rows.items() if row["verdict"] == "fail"]
    return Fact.of(len(failed), *failed) if rows else None


def _contamination(subject: Subject) -> Fact | None:
    found = (subject.results.get("probe") or {}).get("contamination") or {}
    if "verdict" not in found:
        return None
    failed = found["verdict"] == "fail"
    return Fact.of(float(failed), *([str(found["says"])] if failed and "says" in found else []))
