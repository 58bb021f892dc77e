"""`rlhf lineage`: from a weight file back to every ranking and labeler, and forward to every
report; or from a ranking or a labeler to all that holds it.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import typer

from pipelines.commands.status import run_folder
from pipelines.faults import ExitCode
from rlhf.data.identity import Json, file_sha256
from rlhf.reporting.formatting import count as counted
from rlhf.tracking.lineage import Made, RunMade, altered, copies_of, places_of, read_made, run_of
from rlhf.tracking.published import published
from rlhf.tracking.votes import Vote, by_labeler, votes_in


def lineage_command(
    path: Path,
    *,
    ranking: str | None,
    labeler: str | None,
    runs: Sequence[Path],
    as_json: bool,
) -> int:
    """Prints where something came from and what became of it. What lies in no run is looked for
    among `runs`, by its bytes.
    """
    if path.exists() and run_of(path) is None:
        path = _same(path, runs or [Path("runs")])
    run = _run(path, among_names=ranking is not None or labeler is not None)
    if ranking is not None or labeler is not None:
        found = from_votes(run, ranking=ranking, labeler=labeler)
    else:
        found = from_path(run, path)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _show(found)
    return ExitCode.DONE


def _run(path: Path, *, among_names: bool) -> RunMade:
    if among_names and not path.exists():
        return read_made(run_folder(path))
    if not path.exists():
        raise ValueError(f"{path} is not there: name a file that a run made, or its stage's folder")
    root = run_of(path)
    assert root is not None, path
    return read_made(root)


def _same(path: Path, runs: Sequence[Path]) -> Path:
    """The same file in a run folder; ValueError where there is none."""
    found = copies_of(path, runs)
    if not found:
        raise ValueError(
            f"{path} lies in no run folder, and no run in {', '.join(map(str, runs))} holds the "
            "same bytes: name the file in its run, or its run with --runs"
        )
    return found[0]


def from_path(run: RunMade, path: Path) -> Json:
    """The lineage of what a stage made. Raises ValueError where no stage did."""
    places = places_of(run, path)
    faults = list(run.faults)
    back = run.before(places)
    votes = votes_in(back, faults)
    row: Json = {"path": str(path), "made_by": places}
    if path.is_file():
        row["sha256"] = file_sha256(path)
    return _told(run, row, places, back, votes, faults)


def from_votes(run: RunMade, *, ranking: str | None, labeler: str | None) -> Json:
    """What a ranking, or all that a labeler said, went into. Raises ValueError where the run holds
    no such vote.
    """
    faults = list(run.faults)
    everything = votes_in(run.made, faults)
    votes = [
        vote
        for vote in everything
        if ranking in (None, vote.id) and labeler in (None, vote.labeler_id)
    ]
    if not votes:
        asked = ranking or f"labeler {labeler!r}"
        raise ValueError(
            f"no snapshot in {run.folder} holds {asked}: {len(everything):,} votes of "
            f"{len(by_labeler(everything)):,} labelers are there"
        )
    places = sorted({vote.place for vote in votes})
    row: Json = {"path": str(run.folder), "made_by": places}
    row |= {name: one for name, one in (("ranking", ranking), ("labeler", labeler)) if one}
    return _told(run, row, places, run.before(places), votes, faults)


def _told(
    run: RunMade,
    row: Json,
    places: Sequence[str],
    back: dict[str, Made],
    votes: Sequence[Vote],
    faults: list[str],
) -> Json:
    forward = run.after(places)
    touched = {**back, **forward}
    not_as_marked = [said for made in touched.values() for said in altered(run, made)]
    return {
        **row,
        "run": str(run.folder),
        "made_from": [_row(made) for place, made in back.items() if place not in places],
        "itself": [_row(run.made[place]) for place in places],
        "went_into": [_row(made) for place, made in forward.items() if place not in places],
        "labelers": by_labeler(votes),
        "votes": [vote.to_json() for vote in votes],
        "outside": _outside(back),
        "as_marked": not not_as_marked,
        "not_as_marked": not_as_marked,
        "faults": faults,
    }


def _row(made: Made) -> Json:
    row: Json = {
        "place": made.place,
        "stage": made.stage,
        "kind": made.kind,
        "finished_at": made.done.finished_at,
        "sha256": made.done.digest,
        "in_use": made.in_use,
        "wandb": [one.to_json() for one in published(made)],
    }
    if made.done.redacted is not None:
        row["redacted"] = made.done.redacted
    return row


def _outside(back: dict[str, Made]) -> list[Json]:
    """What came from beyond the run: a base model, a store, a file of prompts."""
    found: dict[str, Json] = {}
    for made in back.values():
        config = made.run_config
        if made.stage in {"pretrain", "sft"} and (config.get("model") or {}).get("path"):
            found["model"] = {"what": "base model", "name": config["model"]["path"]}
        if made.stage == "prompts" and (config.get("prompts") or {}).get("source"):
            found["prompts"] = {"what": "prompts", "name": config["prompts"]["source"]}
        if made.stage in {"label", "judge"} and config:
            label = config.get("label") or {}
            name = label.get("store") or "rankings.db of the run"
            found["store"] = {"what": f"store ({config.get('labelers')} labelers)", "name": name}
        for name, digest in made.outside.items():
            parts = digest.items() if isinstance(digest, dict) else [("", digest)]
            said = ", ".join(f"{part} {str(one)[:40]}".strip() for part, one in parts)
            found[f"{made.stage} {name}"] = {"what": f"{made.stage}: {name}", "name": said}
    return list(found.values())


def _show(found: Json) -> None:
    for row in found["itself"]:
        typer.secho(_line(row), bold=True)
    if "sha256" in found:
        typer.echo(f"  {found['path']}\n  SHA-256 {found['sha256']}")
    _section("Made from", [_line(row) for row in found["made_from"]])
    _section("And from outside", [f"{one['what']}: {one['name']}" for one in found["outside"]])
    _show_votes(found)
    _section("Went into", [_line(row) for row in found["went_into"]])
    uploaded = [
        one["artifact"] + ("" if one["uploaded"] else " (not uploaded)")
        for row in (*found["itself"], *found["went_into"])
        for one in row["wandb"]
    ]
    _section("In W&B", uploaded)
    _section("Not as the markers say", found["not_as_marked"])
    _section("Could not be read", found["faults"])
    if found["as_marked"]:
        count = len(found["made_from"]) + len(found["itself"]) + len(found["went_into"])
        typer.echo(f"All {count} stages above hash to what their markers say.")


def _show_votes(found: Json) -> None:
    votes = found["votes"]
    if not votes:
        typer.echo("No ranking, judgement or demonstration of a person is behind it.")
        return
    kinds = Counter(vote["kind"] for vote in votes)
    said = ", ".join(counted(count, kind) for kind, count in kinds.items())
    typer.echo(f"{said} by {len(found['labelers']):,} labelers (every id with --json):")
    for name, uses in found["labelers"].items():
        parts = ", ".join(f"{count:,} {use}" for use, count in uses.items())
        typer.echo(f"  {name:24} {sum(uses.values()):6,}  {parts}")


def _section(title: str, lines: Sequence[str]) -> None:
    if lines:
        typer.echo(f"{title}:")
        for line in lines:
            typer.echo(f"  {line}")


def _line(row: Json) -> str:
    when = row["finished_at"][:16].replace("T", " ")
    notes = [row["kind"], when, *(["in use"] if row["in_use"] else [])]
    if "redacted" in row:
        notes.append("redacted")
    return f"{row['place']}  ({', '.join(notes)})"
