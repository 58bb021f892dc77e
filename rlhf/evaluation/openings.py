"""The ledger of the test split: whoever measures something on it leaves a line.

What is chosen while looking at test prompts is fitted to them. Nobody can keep people from looking
often; the ledger says how often they did.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rlhf.data.identity import Json, content_id
from rlhf.data.jsonl import append_jsonl, read_jsonl

LEDGER = "test-openings.jsonl"
Kind = Literal["evaluation", "reward model", "certificate"]


@dataclass(frozen=True, slots=True)
class Opening:
    """One look at the test prompts: when (UTC), under which pseudonym, by which stage
    (`fingerprint`) for what (`kind`), on how many prompts and which (`prompts_digest`). An
    evaluation also says which `policies` it compares, by which `judge`.
    """

    at: str
    who: str
    run: str
    round: str
    fingerprint: str
    prompts: int
    prompts_digest: str
    policies: tuple[str, ...]
    judge: str
    kind: Kind = "evaluation"

    def to_json(self) -> Json:
        return {**asdict(self), "policies": list(self.policies)}


def write_opening(run_folder: Path, opening: Opening) -> None:
    """Appends to the run's ledger, on the disk before the split is read."""
    append_jsonl(run_folder / LEDGER, opening.to_json())


def read_openings(run_folder: Path) -> tuple[Json, ...]:
    """The ledger, oldest first; empty where the test split was never opened.

    Raises ValueError naming the line where it is damaged.
    """
    path = run_folder / LEDGER
    return tuple(read_jsonl(path)) if path.exists() else ()


def evaluations(openings: Sequence[Json]) -> list[Json]:
    """The lines of those that compared policies; a line without a kind is older than kinds."""
    return [row for row in openings if row.get("kind", "evaluation") == "evaluation"]


def times_opened(openings: Sequence[Json]) -> int:
    """How many different evaluations looked; one that was cut short and went on counts once."""
    return len({row["fingerprint"] for row in evaluations(openings)})


def prompts_digest(prompt_ids: Iterable[str]) -> str:
    """One name for a set of test prompts, whatever their order."""
    return content_id("test", sorted(prompt_ids))
