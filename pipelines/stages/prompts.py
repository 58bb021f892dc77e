"""Prompts: read or made, cleaned of repeats, and divided into train, validation and test by
content.
"""

from dataclasses import replace
from pathlib import Path

from pipelines import imported
from pipelines.config import RunConfig
from pipelines.sources import read_prompts
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json, file_sha256
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import SPLITS
from rlhf.data.splits import assign_splits


def settings(config: RunConfig) -> Json:
    asked = {"prompts": config.prompts.model_dump(), "seed": config.seed}
    if config.labelers == "imported":
        asked["campaign"] = [config.label.store, config.label.campaign]
    return asked


def outside(config: RunConfig, inputs: dict[str, Path]) -> Json:  # noqa: ARG001
    if config.labelers == "imported":
        return imported.state(config)
    path = Path(config.prompts.source)
    return {"prompts": file_sha256(path)} if path.is_file() else {}


def run(work: Work) -> Json:
    """Writes `prompts.jsonl`: every prompt with its split, in a stable order."""
    settings = work.config.prompts
    found, dropped = read_prompts(work.config)
    different = {prompt.id: prompt for prompt in found}
    if len(different) < 3:
        raise ValueError(f"{settings.source} gives {len(different)} prompts: at least 3 are needed")
    shares = settings.shares
    divided = assign_splits(
        list(different.values()),
        {"train": shares.train, "validation": shares.validation, "test": shares.test},
        seed=work.config.seed,
        near_duplicate_threshold=settings.near_duplicate_threshold,
    )
    rows = [
        replace(prompt, split=divided.splits[prompt.id]).to_json()
        for prompt in different.values()
        if prompt.id in divided.splits
    ]
    write_jsonl(work.folder / "prompts.jsonl", rows)
    counts: Json = {split: sum(row["split"] == split for row in rows) for split in SPLITS}
    return {
        "prompts": len(rows),
        **counts,
        "repeated": len(found) - len(different),
        "near_duplicates": divided.near_duplicates,
        "set_aside": len(divided.set_aside),
        "dropped": dropped,
        "demonstrations": sum("demonstration" in row for row in rows),
    }


STAGE = Stage("prompts", "Gather prompts", (), 1, settings, run, outside=outside)
