"""Where prompts come from: the built-in world, built-in story openings, a file, or a data set on
the hub.
"""

import os
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines import imported
from pipelines.config import RunConfig
from rlhf.data.identity import Json, seed_from
from rlhf.data.jsonl import read_json, read_jsonl
from rlhf.data.records import Message, Prompt
from rlhf.simulation import stories, world

PROMPT_KEYS = ("prompt", "messages", "instruction", "question", "text")
ANSWER_KEYS = ("demonstration", "completion", "chosen", "response", "output", "answer")
BUILT_IN_COUNT = 2000


def read_prompts(config: RunConfig) -> tuple[list[Prompt], dict[str, int]]:
    """The prompts of a run's source, at most `prompts.count` of them, and how many rows were
    dropped by reason.

    Raises ValueError where the source cannot be read, or more than half of its rows hold no prompt.
    """
    source, count, seed = config.prompts.source, config.prompts.count, config.seed
    if config.labelers == "imported":
        return _at_most(count, imported.prompts(config), seed), {}
    if source == "built-in":
        return world.requests(count or BUILT_IN_COUNT, seed=seed), {}
    if source == "stories":
        return stories.openings(count or stories.NUM_OPENINGS, seed=seed), {}
    path = Path(source)
    if path.suffix in {".json", ".jsonl", ".gz"} or path.exists():
        if not path.is_file():
            raise ValueError(f"prompts.source: no file at {path}")
        rows: Iterable[Any] = _rows_of(path) if path.suffix == ".json" else read_jsonl(path)
    else:
        rows = _from_hub(source, config.prompts.hub_split)
    prompts, dropped = _parse(rows, source)
    return _at_most(count, prompts, seed), dropped


def _rows_of(path: Path) -> list[Any]:
    """The rows of a JSON file: a list, or an object that holds nothing but one.

    Raises ValueError for anything else.
    """
    value = read_json(path)
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    if not isinstance(value, list):
        raise ValueError(
            f"prompts.source: {path} must hold a list of prompts, or an object with one list in it"
        )
    return value


def _at_most(count: int | None, prompts: list[Prompt], seed: int) -> list[Prompt]:
    if count is None or count >= len(prompts):
        return prompts
    return random.Random(seed_from("prompts", seed)).sample(prompts, count)


def _parse(rows: Iterable[Any], source: str) -> tuple[list[Prompt], dict[str, int]]:
    found: list[Prompt] = []
    dropped: Counter[str] = Counter()
    for row in rows:
        try:
            found.append(parse_row({"prompt": row} if isinstance(row, str) else row))
        except ValueError as error:
            dropped[str(error)] += 1
    if sum(dropped.values()) >= max(1, len(found)):
        reasons = "; ".join(f"{count} x {reason}" for reason, count in dropped.most_common(3))
        raise ValueError(f"{source}: most rows hold no prompt ({reasons or 'it has no rows'})")
    return found, dict(dropped)


def parse_row(row: Json) -> Prompt:
    """A prompt, with a demonstration where the row has one; ValueError with the reason where it
    has no prompt.
    """
    if not isinstance(row, dict):
        raise ValueError("neither a text nor an object")
    key = next((key for key in PROMPT_KEYS if row.get(key)), None)
    if key is None and isinstance(row.get("chosen"), list):
        key = "chosen"  # a whole conversation: the prompt is what comes before its last turn
    if key is None:
        raise ValueError(f"no {', '.join(PROMPT_KEYS[:-1])} or {PROMPT_KEYS[-1]}")
    value = row[key]
    answer = next((row[key] for key in ANSWER_KEYS if row.get(key)), None)
    if isinstance(answer, list):
        answer = answer[-1].get("content") if answer and isinstance(answer[-1], dict) else None
    if isinstance(value, str):
        extra = row.get("input")
        text = f"{value}\n{extra}" if isinstance(extra, str) and extra.strip() else value
        turns: tuple[Message, ...] = (Message("user", text),)
    elif isinstance(value, list) and all(isinstance(turn, dict) for turn in value):
        turns = tuple(Message.from_json(turn) for turn in value)
        if turns and turns[-1].role == "assistant":
            answer = answer or turns[-1].content
            turns = turns[:-1]
    else:
        raise ValueError(f"{key} is neither a text nor a list of messages")
    if not turns or turns[-1].role != "user" or not turns[-1].content.strip():
        raise ValueError("the prompt does not end in a user turn with a text")
    return Prompt.of(turns, demonstration=answer if isinstance(answer, str) and answer else None)


def _from_hub(name: str, split: str) -> Iterable[Json]:
    from datasets import load_dataset

    try:
        rows: Iterable[Json] = load_dataset(name, split=split)
    except Exception as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
        why = (
            "HF_HUB_OFFLINE is set" if offline else "it could not be reached, or has no such split"
        )
        raise ValueError(
            f"the data set {name!r} ({split}) is needed from the Hugging Face hub, but {why}: "
            "download it where there is a network, or give a local file as prompts.source"
        ) from error
    return rows
