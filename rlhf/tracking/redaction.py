"""Taking what one person said out of a run folder, so that it can be stopped at any point and given
again.

First every stage that holds some of it is marked (its marker says `redacted`, so that no run uses
it again), then copies are cleaned, then the snapshots from which it is known what to look for, and
at last the markers say that it is finished. Each file is replaced whole or not at all.
"""

import gzip
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rlhf.data.identity import Json, tree_sha256
from rlhf.data.jsonl import read_json, write_json
from rlhf.tracking.belongings import Belongings, unzipped
from rlhf.tracking.outputs import WEIGHTS
from rlhf.tracking.run_folder import CURRENT, MARKER, outputs, read_completion
from rlhf.tracking.votes import JUDGEMENTS, RANKINGS, WRITERS
from rlhf.tracking.wandb_log import read_records, write_records

WRITTEN = "written.json"
RANKED = "ranked.jsonl"
# Cleaned last, in this order: from those that are left it is known what to look for.
SOURCES = (RANKED, JUDGEMENTS, RANKINGS, WRITTEN, WRITERS)
STORES = {".db", ".sqlite", ".sqlite3"}
PLAIN = {".txt", ".log", ".md", ".csv", ".tsv", ".yaml", ".yml", ".jinja", ".svg", ".py"}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Withdrawn</title></head>
<body><p>This page showed what somebody has since withdrawn. Give <code>rlhf run</code> again for a
new one.</p></body></html>
"""


@dataclass(frozen=True, slots=True)
class Left:
    """A file that still holds something, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to do in one run folder: the stages to mark, the files to clean (snapshots
    last), and what cannot be cleaned.
    """

    run: Path
    stages: tuple[Path, ...]
    files: tuple[Path, ...]
    left: tuple[Left, ...]


def known_from(run: Path, labeler_id: str) -> Iterator[tuple[Path, str, list[str]]]:
    """(snapshot, id, texts) of everything that a run's snapshots hold under a pseudonym; rows that
    cannot be read are passed over here, and are looked for by their bytes later.
    """
    for path in _files(run):
        if path.name in {RANKINGS, JUDGEMENTS}:
            for row in _rows(path):
                if row.get("labeler_id") == labeler_id:
                    yield path, str(row.get("id")), [str(row.get("rationale", ""))]
        elif path.name == RANKED:
            for row in _rows(path):
                for one in row.get("rankings", []):
                    if one.get("labeler_id") == labeler_id:
                        yield path, str(one.get("id")), [str(one.get("rationale", ""))]
        elif path.name == WRITERS:
            texts = _written(path)
            for row in read_json(path):
                if row["labeler_id"] == labeler_id:
                    yield path, row["id"], [texts.get(row["prompt_id"], "")]


def _rows(path: Path) -> Iterator[Json]:
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _written(writers: Path) -> dict[str, str]:
    path = writers.with_name(WRITTEN)
    return dict(read_json(path)) if path.exists() else {}


def plan(run: Path, whose: Belongings, stores: Iterable[Path] = ()) -> Plan:
    """What in a run folder holds something of theirs. `stores` are looked after elsewhere."""
    known = {store.resolve() for store in stores}
    files: list[Path] = []
    left: list[Left] = []
    for path in _files(run):
        base = path.with_name(path.name.removesuffix("-wal").removesuffix("-shm"))
        if base.suffix in STORES:
            if base.resolve() not in known and whose.spoken(path.read_bytes()):
                left.append(Left(path, "a store or a backup of one: withdraw there, or delete it"))
            continue
        try:
            if cleaned(path, whose) is not None:
                files.append(path)
        except ValueError as error:
            left.append(Left(path, str(error)))
    files.sort(key=lambda path: SOURCES.index(path.name) if path.name in SOURCES else -1)
    held = [*files, *(one.path for one in left)]
    marked = {stage for path in held if (stage := _stage_of(run, path)) is not None}
    return Plan(run, tuple(sorted(marked | set(_unfinished(run)))), tuple(files), tuple(left))


def redact(
    todo: Plan, whose: Belongings, *, at: str, step: Callable[[str], None] = lambda _: None
) -> None:
    """Does what was planned; `step` is told of each step before it is taken."""
    for stage in todo.stages:
        step(f"mark {stage}")
        _mark(stage, whose, at)
    for path in todo.files:
        step(f"clean {path}")
        write = cleaned(path, whose)
        if write is not None:
            write()
    for stage in todo.stages:
        step(f"finish {stage}")
        _finish(stage)


def cleaned(path: Path, whose: Belongings) -> Callable[[], None] | None:
    """How to write the file without what is theirs; None where it holds nothing of it.

    Raises ValueError where it holds some and cannot be cleaned.
    """
    data = path.read_bytes()
    if path.name == WRITTEN:
        after = _without_written(path, whose)
        return None if after == data else partial(_replace, path, after)
    if path.suffix == ".wandb":
        return _cleaned_log(path, whose) if whose.spoken(data) else None
    if path.name.endswith(".jsonl.gz"):
        return _cleaned_zip(path, data, whose)
    if not (whose.spoken(data) or whose.named(data)):
        return None
    if path.suffix == ".tmp":  # of a write that was cut short
        return path.unlink
    after = _cleaned_bytes(path, data, whose)
    return None if after == data else partial(_replace, path, after)


def _cleaned_bytes(path: Path, data: bytes, whose: Belongings) -> bytes:
    if path.suffix == ".jsonl":
        return whose.without_lines(data)
    if path.suffix == ".json":
        return _cleaned_json(data, whose)
    if path.suffix == ".html":
        return PAGE.encode()
    if path.suffix in PLAIN or not path.suffix:
        return whose.without_text(data)
    if whose.spoken(data):
        raise ValueError("it holds some of it, and is of a kind that cannot be cleaned: delete it")
    return data


def _cleaned_json(data: bytes, whose: Belongings) -> bytes:
    try:
        value = json.loads(data)
    except ValueError:
        return whose.without_text(data)
    left = whose.without(value)
    if left == value:
        return data
    return (json.dumps(left, indent=2, ensure_ascii=False) + "\n").encode()


def _without_written(path: Path, whose: Belongings) -> bytes:
    """Demonstrations by prompt, without those whose writer they are, whatever their length."""
    value = read_json(path)
    writers = path.with_name(WRITERS)
    mine = {
        row["prompt_id"]
        for row in (read_json(writers) if writers.exists() else [])
        if row["id"] in whose.ids and row["labeler_id"] == whose.labeler_id
    }
    left = {
        prompt_id: text
        for prompt_id, text in value.items()
        if prompt_id not in mine and text not in whose.long_texts
    }
    if left == value:
        return path.read_bytes()
    return (json.dumps(left, indent=2, ensure_ascii=False) + "\n").encode()


def _cleaned_zip(path: Path, data: bytes, whose: Belongings) -> Callable[[], None] | None:
    lines = unzipped(data)
    after = whose.without_lines(lines)
    return None if after == lines else partial(_replace, path, gzip.compress(after, mtime=0))


def _cleaned_log(path: Path, whose: Belongings) -> Callable[[], None]:
    """W&B's own log, without the records that hold some of it."""
    kept = [record for record in read_records(path) if not whose.spoken(record)]
    return partial(write_records, path, kept)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _mark(stage: Path, whose: Belongings, at: str) -> None:
    """Notes on the marker that the stage is redacted, and for whom; what is noted already stays."""
    done = read_completion(stage)
    if done is None:
        return
    said = done.redacted or {"labelers": {}}
    labelers = {whose.labeler_id: at, **said["labelers"]}
    result = whose.without(done.result) or {}
    marked = replace(done, redacted={"labelers": labelers, "finished": False}, result=result)
    write_json(stage / MARKER, marked.to_json())


def _finish(stage: Path) -> None:
    done = read_completion(stage)
    if done is None or done.redacted is None:
        return
    digest = tree_sha256(stage, outputs(stage))
    said = {**done.redacted, "finished": True, "digest": digest}
    write_json(stage / MARKER, replace(done, redacted=said).to_json())


def _unfinished(run: Path) -> Iterator[Path]:
    for marker in run.glob(f"round-*/*/*/{MARKER}"):
        if marker.parent.name != CURRENT:
            done = read_completion(marker.parent)
            if done is not None and done.redacted and not done.redacted.get("finished"):
                yield marker.parent


def _files(run: Path) -> list[Path]:
    """The files of a run that may hold texts; weights and markers hold none."""
    found = []
    for folder, folders, names in os.walk(run):  # does not follow `current`
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix not in WEIGHTS and name not in {MARKER, ".lock"} and path.is_file():
                found.append(path)
    return [path for path in found if not path.is_symlink()]


def _stage_of(run: Path, path: Path) -> Path | None:
    """The stage's folder that a file lies in; None where it lies in none."""
    parts = path.relative_to(run).parts
    return run.joinpath(*parts[:3]) if len(parts) > 3 else None
