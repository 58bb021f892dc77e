"""The verdict as the report shows it: that of the gate, with a page's spaces and colours."""

import re
from dataclasses import dataclass
from typing import Literal

from rlhf.evaluation.evidence import TRAINED
from rlhf.evaluation.gate import verdict_on
from rlhf.evaluation.openings import read_openings
from rlhf.evaluation.winrate import Verdict as Decision
from rlhf.reporting.formatting import MINUS, THIN
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
    folder = run.last.folder.parents[2]
    made = verdict_on(
        {name: run.result(name) for name in run.stages},
        policy=policy,
        openings=read_openings(folder),
        simulated=run.simulated,
    )
    return Verdict(TONES[made.decision], made.headline, tuple(map(_typeset, made.sentences)))


def _typeset(text: str) -> str:
    """ "70 %" keeps its unit on its line, and "-2.0" has a true minus sign."""
    return re.sub(r"(?<![\w-])-(?=\d)", MINUS, re.sub(r"(?<=\d) %", f"{THIN}%", text))


__all__ = ["TRAINED", "Verdict", "verdict_of"]
