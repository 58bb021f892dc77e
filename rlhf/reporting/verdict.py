"""The verdict as the report shows it: that of the gate, with a page's spaces and colours."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rlhf.evaluation import gate
from rlhf.evaluation.gate import Rule
from rlhf.evaluation.openings import read_openings
from rlhf.evaluation.spelling import listed
from rlhf.evaluation.winrate import Verdict as Decision
from rlhf.reporting.formatting import MINUS, THIN, count
from rlhf.reporting.reading import RunRecord

Tone = Literal["ship", "stop", "wait"]
TONES: dict[Decision, Tone] = {
    "ship": "ship",
    "do not ship": "stop",
    "not enough evidence": "wait",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`tone` chooses the colour; `sentences` follow the headline."""

    tone: Tone
    headline: str
    sentences: tuple[str, ...]


def verdict_of(run: RunRecord, policy: str | None = None) -> Verdict:
    """What `rlhf verdict` says of a policy (by default the best of the run)."""
    made = gated(run, policy=policy)
    return Verdict(TONES[made.decision], made.headline, tuple(map(_typeset, made.sentences)))


def gated(
    run: RunRecord, rules: Sequence[Rule] | None = None, *, policy: str | None = None
) -> gate.Verdict:
    """The gate's verdict on a policy of a run, with all that the run's folder says beside it."""
    return gate.verdict_on(
        {name: run.result(name) for name in run.stages},
        rules,
        policy=policy,
        openings=read_openings(run.last.folder.parents[2]),
        simulated=run.simulated,
        since=tuple(_since(run)),
    )


def _since(run: RunRecord) -> Iterator[str]:
    """What happened to the run after its evaluation."""
    people = {
        name
        for one in run.stages.values()
        for name in (one.done.redacted or {}).get("labelers", {})
    }
    if people:
        yield (
            f"Beware: {count(len(people), 'labeler')} withdrew what they had said, and the "
            "policies learned from it: give `rlhf run` again, and ship what it makes without."
        )
    if run.newer:
        yield (
            f"Beware: after this evaluation, {listed(run.newer)} ran again; the figures are those "
            "of the earlier results: bring the run up to date."
        )


def _typeset(text: str) -> str:
    """ "70 %" keeps its unit on its line, and "-2.0" has a true minus sign."""
    return re.sub(r"(?<![\w-])-(?=\d)", MINUS, re.sub(r"(?<=\d) %", f"{THIN}%", text))
