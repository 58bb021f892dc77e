"""`rlhf withdraw`: what a person said leaves the store and the run folders, and what was made from
it is named.

The run folders come first and the store last, so that a withdrawal that was stopped knows what to
look for when it is given again.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import typer

from pipelines.faults import ExitCode
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json
from rlhf.feedback import moving
from rlhf.feedback.store import Store
from rlhf.feedback.withdrawal import said_by
from rlhf.reporting.formatting import count as counted
from rlhf.tracking.belongings import Belongings, union
from rlhf.tracking.lineage import RunMade, read_made
from rlhf.tracking.published import published
from rlhf.tracking.redaction import Left, Plan, known_from, plan, redact
from rlhf.tracking.run_folder import owned
from rlhf.tracking.votes import votes_in


@dataclass(frozen=True, slots=True)
class Held:
    """One run: what to clean in it, and what was made from what they said. `strangers` are rows
    under the same pseudonym that the store does not know.
    """

    todo: Plan
    whose: Belongings
    made: tuple[Json, ...]
    strangers: int

    @property
    def concerned(self) -> bool:
        return bool(self.todo.files or self.todo.stages or self.todo.left or self.made)


def withdraw_command(
    labeler: str,
    store: str,
    *,
    runs: Sequence[Path],
    by_name: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Withdraws, or says what that would do; 1 where something of theirs is left."""
    moving.check_there(store)
    folders = run_folders(runs, store)
    with ExitStack() as locks:
        if not dry_run:
            for folder in folders:
                locks.enter_context(owned(folder))
        held = look(labeler, store, folders, by_name=by_name)
        if dry_run:
            _say(_told(labeler, store, held, held, None), as_json=as_json, done=False)
            return ExitCode.DONE
        if not yes and not typer.confirm(_question(labeler, held)):
            return ExitCode.MISTAKE
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        for one in held:
            redact(one.todo, one.whose, at=now)
        with Store(store) as opened:
            done = opened.withdraw(labeler)
            findings = opened.verify().findings
        for one in held:
            _new_page(one)
        after = [replace(one, todo=plan(one.todo.run, one.whose, [Path(store)])) for one in held]
    emptied: Json = {"answers": done.answers, "drafts": done.drafts, "wiped": done.wiped}
    emptied["findings"] = list(findings)
    _say(_told(labeler, store, held, after, emptied), as_json=as_json, done=True)
    unclean = any(one.todo.left or one.todo.files for one in after)
    return ExitCode.UNEXPECTED if unclean or findings or not done.wiped else ExitCode.DONE


def run_folders(given: Sequence[Path], store: str) -> list[Path]:
    """Run folders, from run folders and folders of such; without any, those under `runs/` and
    beside the store. ValueError where one that was given is none.
    """
    around = [Path("runs"), *Path(store).absolute().parents[:2]]
    found: dict[Path, Path] = {}
    for place in given or around:
        inside = [place] if any(place.glob("round-*")) else []
        inside += sorted({one.parent for one in place.glob("*/round-*")}) if not inside else []
        if given and not inside:
            raise ValueError(f"no run at {place}: give a run's folder, or a folder of runs")
        found |= {one.resolve(): one for one in inside}
    return list(found.values())


def look(labeler: str, store: str, folders: Sequence[Path], *, by_name: bool) -> list[Held]:
    """What the person said, as store and run folders know it, and where it lies. A row of a run is
    theirs where the store knows its id, or where the run read this store; with `by_name`, wherever
    it has their pseudonym.

    Raises ValueError where neither the store nor a run of it knows the labeler.
    """
    with Store(store) as opened, opened.database.reading() as db:
        said = said_by(db, labeler)
    if said is None:
        raise ValueError(f"no labeler {labeler!r} in {store}: give the pseudonym, as in the report")
    found = {run: list(known_from(run, labeler)) for run in folders}
    rows = [
        (run, vote_id, texts)
        for run, known in found.items()
        for path, vote_id, texts in known
        if by_name or vote_id in said.ids or _read(run, path, store)
    ]
    theirs = [([vote_id], texts) for _, vote_id, texts in rows]
    whose = union(labeler, [(said.ids, said.texts), *theirs])
    held = []
    for run, known in found.items():
        ids = {vote_id for _, vote_id, _ in known}
        of_store = any(_read(run, one, store) for one in run.glob("round-*/*/*/config.json"))
        here = replace(whose, known_by_name=by_name or of_store or not ids.isdisjoint(whose.ids))
        made = tuple(_made_from(read_made(run), here))
        held.append(Held(plan(run, here, [Path(store)]), here, made, len(ids - whose.ids)))
    return [one for one in held if one.concerned or one.strangers]


def _read(run: Path, snapshot: Path, store: str) -> bool:
    """Whether the stage of this snapshot read this store."""
    try:
        config = read_json(snapshot.with_name("config.json"))["run"]
        named = (config.get("label") or {}).get("store")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    places = [run / "rankings.db"] if named is None else [Path(named), run.parent.parent / named]
    return named == store or Path(store).resolve() in {place.resolve() for place in places}


def _made_from(run: RunMade, whose: Belongings) -> list[Json]:
    """What was made from what they said, now or before it was redacted."""
    holding = {vote.place for vote in votes_in(run.made, []) if vote.id in whose.ids}
    holding |= {
        place
        for place, made in run.made.items()
        if whose.labeler_id in (made.done.redacted or {}).get("labelers", {})
    }
    return [
        {
            "place": made.place,
            "stage": made.stage,
            "kind": made.kind,
            "in_use": made.in_use,
            "wandb": [one.to_json() for one in published(made)],
        }
        for made in run.after(holding).values()
    ]


def _new_page(held: Held) -> None:
    """The run's report anew, from what is left, where the old one was cleared away."""
    from rlhf.reporting.report import write_report

    page = held.todo.run / "report.html"
    if page in held.todo.files:
        write_report(held.todo.run, page)


def _told(
    labeler: str, store: str, before: Sequence[Held], after: Sequence[Held], emptied: Json | None
) -> Json:
    return {
        "labeler": labeler,
        "store": store,
        "emptied": emptied,
        "runs": [
            {
                "run": str(one.todo.run),
                "redacted": [_in(one.todo.run, path) for path in one.todo.files],
                "marked": [_in(one.todo.run, stage) for stage in one.todo.stages],
                "left": [_left(one.todo.run, left) for left in now.todo.left]
                + [_left(one.todo.run, Left(path, "not cleaned")) for path in now.todo.files]
                * (emptied is not None),
                "made_from_it": list(one.made),
                "rows_of_another_store": one.strangers,
            }
            for one, now in zip(before, after, strict=True)
        ],
    }


def _in(run: Path, path: Path) -> str:
    return path.relative_to(run).as_posix()


def _left(run: Path, left: Left) -> Json:
    return {"path": _in(run, left.path), "why": left.reason}


def _question(labeler: str, held: Sequence[Held]) -> str:
    files = sum(len(one.todo.files) for one in held)
    return (
        f"Delete all that {labeler} said, for good, from the store and from "
        f"{counted(files, 'file')} of {counted(len(held), 'run')}? (--dry-run shows which)"
    )


def _say(found: Json, *, as_json: bool, done: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if done:
        one = found["emptied"]
        typer.echo(f"{found['store']}: {one['answers']:,} answers emptied, {one['drafts']} drafts")
        if not one["wiped"]:
            typer.secho("the database was in use: give the same command again", fg="red")
        for finding in one["findings"]:
            typer.secho(finding, fg="red")
    else:
        typer.echo(f"Nothing is changed. {found['store']} would be emptied of {found['labeler']}.")
    if not found["runs"]:
        typer.echo("No run folder that was looked at holds anything of it.")
    for run in found["runs"]:
        _say_run(run, done=done)
    typer.echo("Look after backups and exports of the store, and copies of run folders, yourself.")


def _say_run(run: Json, *, done: bool) -> None:
    typer.secho(run["run"], bold=True)
    _lines("redacted" if done else "would be redacted", run["redacted"])
    _lines("still holds some", [f"{one['path']}: {one['why']}" for one in run["left"]])
    made = run["made_from_it"]
    for kind, title in (("dataset", "data"), ("model", "models"), ("report", "reports")):
        places = [row["place"] for row in made if row["kind"] == kind]
        _lines(f"{title} made from it", places)
    wandb = [one for row in made for one in row["wandb"]]
    up = [one["artifact"] for one in wandb if one["uploaded"]]
    _lines("in W&B, to be deleted there", up)
    if len(up) < len(wandb):
        typer.echo(f"  {len(wandb) - len(up)} W&B artifacts wait here and did not go up")
    stages = list(dict.fromkeys(row["stage"] for row in made if row["in_use"]))
    if stages:
        typer.echo(f"  to run again: `rlhf run` with this run's config does {', '.join(stages)}")
    if run["rows_of_another_store"]:
        typer.echo(
            f"  not touched: {run['rows_of_another_store']} rows under this pseudonym that this "
            "store does not know; they may be somebody else's (--by-name takes them too)"
        )


def _lines(title: str, lines: Sequence[str]) -> None:
    if lines:
        typer.echo(f"  {title}:")
        for line in lines:
            typer.echo(f"    {line}")
