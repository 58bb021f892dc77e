"""`rlhf reward`: asking a saved reward model."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipelines.artifacts import model_of
from pipelines.commands.status import run_folder
from rlhf.data.identity import Json
from rlhf.data.jsonl import numbered_jsonl, read_json, write_jsonl
from rlhf.tracking.run_folder import StageFolder

if TYPE_CHECKING:
    from rlhf.reward.asked import Asked
    from rlhf.reward.scorer import Scorer

ROWS_AT_ONCE = 1000
# What a row gets here; what an earlier scoring left under these names would be taken for it.
OURS = frozenset({"reward", "rewards", "members", "error"})

Rows = Sequence["tuple[Json, Asked | None]"]


@dataclass(frozen=True, slots=True)
class Model:
    """A saved reward model: its folder, and how it was trained where a run says so."""

    folder: Path
    dtype: str = "float32"
    max_tokens: int | None = None


def find_model(place: Path) -> Model:
    """The reward model of a run, or in the folder of a model or an adapter. Raises ValueError where
    there is none.
    """
    from rlhf.models.loading import ADAPTER_CONFIG

    if (place / "config.json").exists():
        if "stage" not in read_json(place / "config.json"):
            return Model(place)
        return _of_stage(place)
    if (place / ADAPTER_CONFIG).exists():
        return Model(place)
    found = run_folder(place)
    newest = max(found.glob("round-*"), key=lambda path: int(path.name.split("-")[1]))
    folder = StageFolder(newest / "reward").current()
    if folder is None:
        raise ValueError(f"{found} has no reward model: `rlhf run CONFIG --until reward` makes it")
    return _of_stage(folder)


def _of_stage(folder: Path) -> Model:
    model = read_json(folder / "config.json")["run"]["model"]
    return Model(model_of(folder), model["dtype"], model["max_tokens"])


def score_command(
    file: Path, model: Path, *, to: Path | None, members: bool, max_bad: float
) -> None:
    """Writes each row of `file` with its reward (`rewards` where it has `responses`); one that
    cannot be scored with `error` instead. What could not be, and why, is said at the end.
    """
    from rlhf.models.silence import silence_libraries
    from rlhf.reward.scorer import Scorer

    silence_libraries()
    found = find_model(model)
    scorer = Scorer.load(found.folder, dtype=found.dtype)
    limit = scorer.max_tokens if found.max_tokens is None else found.max_tokens
    rows, faults = _read(file, scorer, limit)
    bad = sum(faults.values())
    said = "; ".join(f"{count:,} x {why}" for why, count in faults.most_common())
    if bad > max_bad * len(rows):
        raise ValueError(f"{bad:,} of {len(rows):,} rows of {file} cannot be scored: {said}")
    scored = _scored(rows, scorer, members=members)
    if to is None:
        for row in scored:
            typer.echo(json.dumps(row, ensure_ascii=False))
    else:
        write_jsonl(to, scored)
    cut = sum(one.cut for _, one in rows if one is not None)
    if cut:
        typer.echo(f"{cut:,} prompts were cut on their left to {limit} tokens in all", err=True)
    if bad:
        typer.echo(f"{bad:,} of {len(rows):,} rows were not scored: {said}", err=True)


def _read(file: Path, scorer: "Scorer", limit: int) -> tuple[Rows, Counter[str]]:
    """All rows with their ids, none where a row cannot be scored; and how many of each fault."""
    from rlhf.reward.asked import asked_of

    rows: list[tuple[Json, Asked | None]] = []
    faults: Counter[str] = Counter()
    vocab_size = scorer.model.config.get_text_config().vocab_size
    for _, given in numbered_jsonl(file):
        row = {name: value for name, value in given.items() if name not in OURS}
        try:
            asked = asked_of(row, scorer.tokenizer, max_tokens=limit, vocab_size=vocab_size)
            rows.append((row, asked))
        except ValueError as error:
            faults[str(error)] += 1
            rows.append(({**row, "error": str(error)}, None))
    if not rows:
        raise ValueError(f"{file} holds no row to score")
    return rows, faults


def _scored(rows: Rows, scorer: "Scorer", *, members: bool) -> Iterator[Json]:
    """The rows with their rewards, in their order; says how far it is."""
    done = 0
    for some in _chunks(rows):
        pairs = [pair for _, asked in some if asked is not None for pair in asked.pairs]
        prompts, responses = [p for p, _ in pairs], [r for _, r in pairs]
        numbers = scorer.score(prompts, responses)
        strange = sum(not math.isfinite(one) for one in numbers)
        if strange:
            raise ValueError(
                f"the reward model gives NaN or infinity to {strange:,} of {len(numbers):,} "
                "responses: its weights are out of bounds"
            )
        rewards = iter(numbers)
        each = iter(scorer.score_members(prompts, responses) if members else [])
        for row, asked in some:
            if asked is None:
                yield row
                continue
            found = list(islice(rewards, len(asked.pairs)))
            out = {**row, **({"rewards": found} if asked.several else {"reward": found[0]})}
            if members:
                said = list(islice(each, len(asked.pairs)))
                out["members"] = said if asked.several else said[0]
            yield out
        done += len(some)
        if len(rows) > ROWS_AT_ONCE:
            typer.echo(f"{done:,} of {len(rows):,} rows scored", err=True)


def _chunks(rows: Rows) -> Iterable[Rows]:
    return (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))
