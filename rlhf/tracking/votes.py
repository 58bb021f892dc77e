"""Who said what, as the run folders hold it: rankings, blind judgements, written demonstrations.

A vote is known by its id and its labeler's pseudonym. `use` says what became of it: it `trained`,
`selected` (validation split), `measured` (test split), `judged` the policies, or is `held out`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, read_jsonl
from rlhf.tracking.lineage import Made

RANKINGS = "rankings.jsonl"
JUDGEMENTS = "judgements.jsonl"
WRITERS = "writers.json"
LABELERS = "labelers.json"
SNAPSHOTS = {RANKINGS: "ranking", JUDGEMENTS: "judgement", WRITERS: "demonstration"}
OF_SPLIT = {"train": "trained", "validation": "selected", "test": "measured"}


@dataclass(frozen=True, slots=True)
class Vote:
    """One answer of one labeler to one prompt, in the snapshot at `place`."""

    id: str
    kind: str
    labeler_id: str
    prompt_id: str
    place: str
    use: str = ""

    def to_json(self) -> Json:
        return asdict(self)


def votes_in(lineage: Mapping[str, Made], faults: list[str]) -> list[Vote]:
    """All votes that these stages read from people, in order, with what became of each; what cannot
    be read is named in `faults`.
    """
    splits = _splits(lineage, faults)
    silent = _without_weight(lineage, faults)
    found = []
    for made in lineage.values():
        for vote in snapshot_votes(made, faults):
            use = (
                "judged"
                if vote.kind == "judgement"
                else OF_SPLIT.get(splits.get(vote.prompt_id, ""), "")
            )
            if use == "trained" and vote.kind == "ranking" and vote.labeler_id in silent:
                use = "held out"
            found.append(Vote(vote.id, vote.kind, vote.labeler_id, vote.prompt_id, made.place, use))
    return found


def snapshot_votes(made: Made, faults: list[str]) -> Iterator[Vote]:
    """The votes in the snapshots that one stage wrote; up to the first row that cannot be read,
    which is named in `faults`.
    """
    for name, kind in SNAPSHOTS.items():
        path = made.folder / name
        if not path.exists():
            continue
        try:
            if name == WRITERS:
                rows: Iterator[Json] = iter(read_json(path))
            else:
                rows = read_jsonl(path)
            for row in rows:
                yield Vote(row["id"], kind, row["labeler_id"], row["prompt_id"], made.place)
        except (ValueError, KeyError, TypeError) as error:
            reason = str(error).replace(str(path), name)
            faults.append(f"{made.place}/{name} cannot be read to its end ({reason})")


def _splits(lineage: Mapping[str, Made], faults: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for made in lineage.values():
        path = made.folder / "prompts.jsonl"
        if made.stage == "prompts" and path.exists():
            try:
                found |= {row["id"]: row.get("split") or "" for row in read_jsonl(path)}
            except (ValueError, KeyError) as error:
                faults.append(f"{made.place}/prompts.jsonl cannot be read ({error})")
    return found


def _without_weight(lineage: Mapping[str, Made], faults: list[str]) -> set[str]:
    """Labelers whose rankings train nothing, by every `labelers.json` of the lineage."""
    silent: list[set[str]] = []
    for made in lineage.values():
        path = made.folder / LABELERS
        if path.exists():
            try:
                weights = read_json(path)["weights"]
                silent.append({name for name, weight in weights.items() if weight == 0})
            except (ValueError, KeyError, AttributeError) as error:
                faults.append(f"{made.place}/{LABELERS} cannot be read ({error})")
    return set.intersection(*silent) if silent else set()


def by_labeler(votes: Sequence[Vote]) -> dict[str, dict[str, int]]:
    """Labeler -> how many votes of each use, most first."""
    counts: dict[str, Counter[str]] = {}
    for vote in votes:
        counts.setdefault(vote.labeler_id, Counter())[vote.use or "unknown"] += 1
    return {name: dict(uses.most_common()) for name, uses in sorted(counts.items())}
