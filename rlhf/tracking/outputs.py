"""What a stage made, as a W&B artifact: data goes up scrubbed, models are listed unless asked for.

Beside the stage's outputs stands `wandb/outputs/<name>/output.json`, which lists every file. A
later stage builds the same artifact from it again, so that W&B knows the two as one and draws the
line between the stages, also for what was logged offline (the files are hashed, not copied).
"""

import gzip
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlhf.data.identity import Json
from rlhf.data.jsonl import AtomicText, numbered_jsonl, read_json, write_json
from rlhf.data.privacy import scrub
from rlhf.tracking.run_folder import CURRENT, outputs

LISTING = "output.json"
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf"}
PLAIN_TEXT = {".txt", ".md", ".csv", ".tsv", ".yaml", ".yml", ".html", ".svg"}
MAX_TEXT_BYTES = 64 * 2**20


def scrubbed(value: Any) -> Any:
    """A JSON value with every text in it scrubbed, keys too; what JSON does not know becomes text.
    Keys that scrubbing makes alike are numbered.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        clean: Json = {}
        for key, part in value.items():
            name = unique = scrub(str(key))
            while unique in clean:
                unique = f"{name} {len(clean) + 1}"
            clean[unique] = scrubbed(part)
        return clean
    if isinstance(value, list | tuple):
        return [scrubbed(part) for part in value]
    return scrub(str(value))


def record_output(
    stage_folder: Path,
    *,
    name: str,
    kind: str,
    folder: Path,
    uses: Sequence[str],
    metadata: Json,
    upload_models: bool,
) -> Path:
    """Lists what is in `folder` and writes scrubbed copies where scrubbing changes a text; returns
    the folder of the listing.

    Where a folder holds weights, its files go up as they are or (without `upload_models`) not at
    all. Elsewhere texts go up scrubbed, and what cannot be read as text is only listed.
    """
    listed = stage_folder / "wandb" / "outputs" / plain_name(name)
    files = outputs(folder) if folder == stage_folder else _files(folder)
    models = {path.parent for path in files if path.suffix in WEIGHTS}
    rows = []
    for path in files:
        row: Json = {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size}
        if any(parent in models for parent in path.parents):
            source = path if upload_models else None
        else:
            source = _scrubbed_file(path, listed / "files" / row["path"])
        if source is not None:
            row["source"] = Path(os.path.relpath(source, listed)).as_posix()
        rows.append(row)
    write_json(
        listed / LISTING,
        {
            "name": plain_name(name),
            "kind": plain_name(kind),
            "uses": [plain_name(used) for used in uses],
            "metadata": scrubbed(metadata),
            "made_by": stage_folder.name,
            "files": rows,
        },
    )
    return listed


def upstream(round_folder: Path, name: str) -> Path | None:
    """The listing of an output that another stage recorded under this name: that in use in the
    round, else the newest of the round, else that in use in the last round that has one. None where
    no stage recorded it.
    """
    inside = f"wandb/outputs/{plain_name(name)}/{LISTING}"
    in_round = sorted(round_folder.glob(f"*/*/{inside}"), key=lambda path: path.stat().st_mtime)
    found = [
        *sorted(round_folder.parent.glob(f"round-*/*/{CURRENT}/{inside}"), key=_round_of),
        *in_round,
        *round_folder.glob(f"*/{CURRENT}/{inside}"),
    ]
    return found[-1].parent.resolve() if found else None


def _round_of(listing: Path) -> int:
    """Of `round-<r>/<stage>/current/wandb/outputs/<name>/output.json`."""
    return int(listing.parents[5].name.removeprefix("round-"))


def as_artifact(listed: Path) -> Any:
    """The `wandb.Artifact` of a listing: the same listing gives the same digest.

    Raises FileNotFoundError where a listed file is gone.
    """
    import wandb

    listing = read_json(listed / LISTING)
    artifact = wandb.Artifact(listing["name"], listing["kind"], metadata=listing["metadata"])
    _add(artifact, listed / LISTING, LISTING)
    for row in listing["files"]:
        if "source" in row:
            _add(artifact, (listed / row["source"]).resolve(), f"files/{row['path']}")
    return artifact


def plain_name(name: str) -> str:
    """The name with `-` for what W&B does not allow in names of artifacts."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:128]


def _add(artifact: Any, path: Path, name: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is listed as an output but is not there")
    # Immutable: outputs of a stage are never overwritten, so W&B need not copy them first.
    artifact.add_file(str(path.resolve()), name=name, policy="immutable", skip_cache=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _scrubbed_file(path: Path, copy: Path) -> Path | None:
    """`path` itself where scrubbing changes nothing, else a scrubbed copy; None where it is no
    text that can be scrubbed.
    """
    if path.stat().st_size > MAX_TEXT_BYTES:
        return None
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        rows = [row for _, row in numbered_jsonl(path)]
        clean = [scrubbed(row) for row in rows]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in clean)
        return path if clean == rows else _write(copy, text)
    if path.suffix == ".json":
        value = read_json(path)
        clean = scrubbed(value)
        text = json.dumps(clean, indent=2, ensure_ascii=False) + "\n"
        return path if clean == value else _write(copy, text)
    if path.suffix in PLAIN_TEXT:
        raw = path.read_text(encoding="utf-8")
        text = scrub(raw)
        return path if text == raw else _write(copy, text)
    return None


def _write(copy: Path, text: str) -> Path:
    if copy.suffix == ".gz":
        copy.parent.mkdir(parents=True, exist_ok=True)
        # No time of writing in the header: the same rows give the same bytes.
        copy.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        with AtomicText(copy) as file:
            file.write(text)
    return copy
