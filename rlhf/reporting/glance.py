"""The head of the page at a glance: a few figures, each leading to where it is explained."""

from collections.abc import Iterator
from dataclasses import dataclass

from rlhf.data.identity import Json
from rlhf.data.policies import policy_name
from rlhf.reporting.formatting import count, kl, number, percent, percent_span, with_span
from rlhf.reporting.length import held_out
from rlhf.reporting.liked import SuspectRow
from rlhf.reporting.reading import RunRecord


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its name; `beside` is what to hold it against, `section` an id on the page."""

    name: str
    value: str
    beside: str
    section: str


def glance(run: RunRecord, suspicious: list[SuspectRow]) -> list[Figure]:
    """What decides, in the order in which one asks; only what is known."""
    return [
        *_of_policies(run),
        *_of_reward_model(run),
        *_of_labelers(run),
        *_of_suspects(run, suspicious),
    ]


def _of_policies(run: RunRecord) -> list[Figure]:
    found = run.result("evaluate")
    if not found:
        return []
    best, rows = run.best, found["policies"]
    row, people, name = rows[best], run.people(best), policy_name(best)
    made = [*_of_people(people, name)]
    span = percent_span(row["win_rate_low"], row["win_rate_high"])
    beats = f"{name} beats SFT" + (", judged automatically" if people else "")
    made.append(Figure(beats, percent(row["win_rate"]), f"95 % interval {span}", "policies"))
    equal = (people or row).get("length_controlled")
    if equal:
        beside = f"95 % interval {percent_span(equal['low'], equal['high'])}"
        made.append(Figure("At equal length", percent(equal["rate"]), beside, "policies"))
    sft = rows.get("sft")
    if sft:
        made.append(
            Figure(
                "Tokens an answer",
                number(row["mean_tokens"], 0),
                f"SFT {number(sft['mean_tokens'], 0)}",
                "policies",
            )
        )
    if row.get("kl") is not None:
        made.append(Figure("Distance from SFT", f"{kl(row)} nats", "KL an answer", "policies"))
    return made


def _of_people(people: Json, name: str) -> Iterator[Figure]:
    """Their win rate, where they compared: the verdict is theirs."""
    if people:
        span = percent_span(people["low"], people["high"])
        beside = f"95 % interval {span}"
        yield Figure(f"People prefer {name} to SFT", percent(people["rate"]), beside, "policies")


def _of_reward_model(run: RunRecord) -> list[Figure]:
    found = held_out(run.result("reward"))
    if not found:
        return []
    row = found[1]
    verdict = run.certificate.get("verdict", "not certified")
    return [
        Figure(
            "Reward model orders rightly",
            percent(row["accuracy"]["value"]),
            f"longest is best {percent(row['length_baseline']['value'])}; {verdict}",
            "certificate" if run.certificate else "reward",
        )
    ]


def _of_labelers(run: RunRecord) -> list[Figure]:
    agreement = run.result("label").get("agreement", {})
    if agreement.get("strict") is None:
        return []
    said = with_span(agreement["strict"], None)
    beside = f"{count(run.result('label')['labelers'], 'labeler')}, ties left out"
    return [Figure("Labelers agree", said, beside, "labelers")]


def _of_suspects(run: RunRecord, suspicious: list[SuspectRow]) -> list[Figure]:
    label = policy_name(run.best)
    rows = {row.label: row for row in suspicious}
    if label not in rows:
        return []
    beside = rows.get("SFT, drawn again")
    return [
        Figure(
            "Suspicious answers",
            rows[label].total,
            f"SFT, drawn again {beside.total}" if beside else "",
            "liked",
        )
    ]
