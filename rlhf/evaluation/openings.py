"""The ledger of the test split: whoever compares policies on it leaves a line.

What is chosen while looking at test prompts is fitted to them. Nobody can keep people from looking
often; the ledger says how often they did.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rlhf.data.identity import Json, content_id
from rlhf.data.jsonl import read_jsonl

LEDGER = "test-openings.jsonl"


@dataclass(frozen=True, slots=True)
class Opening:
    """One look at the test prompts: when (UTC), under which pseudonym, for which evaluation
    (`fingerprint`), of which `policies`, by which `judge`, on how many prompts and which
    (`prompts_digest`).
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

    def to_json(self) -> Json:
        return {**asdict(self), "policies": list(self.policies)}


def write_opening(run_folder: Path, opening: Opening) -> None:
    """Appends to the run's ledger, on the disk before the split is read."""
    with (run_folder / LEDGER).open("a", encoding="utf-8") as file:
        file.write(json.dumps(opening.to_json(), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_openings(run_folder: Path) -> tuple[Json, ...]:
    """The ledger, oldest first; empty where the test split was never opened.

    Raises ValueError naming the line where it is damaged.
    """
    path = run_folder / LEDGER
    return tuple(read_jsonl(path)) if path.exists() else ()


def times_opened(openings: Sequence[Json]) -> int:
    """How many different evaluations looked; one that was cut short and went on counts once."""
    return len({row["fingerprint"] for row in openings})


def prompts_digest(prompt_ids: Iterable[str]) -> str:
    """One name for a set of test prompts, whatever their order."""
    return content_id("test", sorted(prompt_ids))


def same_test_prompts(evaluated: Mapping[str, Json]) -> str:
    """The digest of the test prompts that all these evaluations share (run -> result of its
    evaluate stage).

    Raises ValueError naming two runs that were not judged on the same prompts, or one that does
    not say: their win rates cannot be compared.
    """
    if not evaluated:
        raise ValueError("no evaluation to compare: name runs that were evaluated")
    digests = {run: (result.get("test") or {}).get("digest") for run, result in evaluated.items()}
    for run, digest in digests.items():
        if digest is None:
            raise ValueError(
                f"{run} does not say which test prompts it was judged on: evaluate it again "
                f"(`rlhf run CONFIG --from evaluate`) before comparing it"
            )
    first, *others = digests
    for other in others:
        if digests[other] != digests[first]:
            counts = (evaluated[first]["prompts"], evaluated[other]["prompts"])
            raise ValueError(
                f"{first} and {other} were judged on different test prompts ({counts[0]} and "
                f"{counts[1]}): give both the same prompts section and evaluate.num_prompts, "
                "then compare"
            )
    return str(digests[first])
