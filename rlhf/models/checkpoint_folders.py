"""Which checkpoints a training can go on from: those that were written to their end, and are as
they were then.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerState, TrainingArguments

from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, write_json

WHOLE = "whole"
OF_OTHERS = "rng_state_"  # every process writes its own, the others after the first is done

log = logging.getLogger(__name__)


@contextmanager
def deleting_none(args: TrainingArguments) -> Iterator[int | None]:
    """Gives `save_total_limit`, and takes it off the Trainer, which deletes older checkpoints
    before the new one is marked, and by the time of their files: where a clock was put back, the
    new one itself.
    """
    limit, args.save_total_limit = args.save_total_limit, None
    try:
        yield limit
    finally:
        args.save_total_limit = limit


def finish_checkpoint(args: TrainingArguments, state: TrainerState, limit: int | None) -> None:
    """Says of the checkpoint of this step that it was written to its end, with its seed and the
    sizes of its files; then deletes the older ones beyond `limit`, but the best.
    """
    if not state.is_world_process_zero or args.output_dir is None:
        return
    newest = Path(args.output_dir) / f"checkpoint-{state.global_step}"
    if not args.save_only_model:  # nothing goes on without its optimizer
        sizes = {
            path.name: path.stat().st_size
            for path in newest.iterdir()
            if path.is_file() and path.name != WHOLE and not path.name.startswith(OF_OTHERS)
        }
        write_json(newest / WHOLE, {"seed": args.seed, "bytes": sizes})
    if limit is not None and limit > 0:
        best = None if state.best_model_checkpoint is None else Path(state.best_model_checkpoint)
        for old in _beyond(limit, newest, best):
            shutil.rmtree(old)


def _beyond(limit: int, newest: Path, best: Path | None) -> list[Path]:
    """The checkpoints to delete, of those up to the newest."""
    made = [one for one in newest.parent.glob("checkpoint-*") if one.name.split("-")[1].isdigit()]
    made = [one for one in made if _step(one) <= _step(newest)]
    made.sort(key=lambda one: (one == newest, one == best, _step(one)))
    return made[: -max(limit, len({newest, best} - {None}))]


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in a trainer's output folder that was written to its end and is as it
    was then; a warning names one that is not.
    """
    marked = [marker.parent for marker in folder.glob(f"checkpoint-*/{WHOLE}")]
    for checkpoint in sorted(marked, key=_step, reverse=True):
        wrong = _damage(checkpoint)
        if wrong is None:
            return checkpoint
        log.warning("%s is damaged, %s: looking for one before it.", checkpoint, wrong)
    return None


def check_checkpoint(checkpoint: Path, seed: int) -> None:
    """Raises ValueError for a checkpoint that is not as it was written, and for one of another
    seed: what was drawn so far would be drawn again, or never.
    """
    wrong = _damage(checkpoint)
    if wrong is not None:
        raise ValueError(f"{checkpoint} is damaged, {wrong}: go on from one before it")
    held = _marked(checkpoint).get("seed", seed)
    if held != seed:
        raise ValueError(
            f"{checkpoint} is of a training with seed {held}, and this one has {seed}: give the "
            "seed it had, or another output_dir"
        )


def _damage(checkpoint: Path) -> str | None:
    """What is no longer as it was when the checkpoint was marked; None where nothing is known."""
    for name, size in _marked(checkpoint).get("bytes", {}).items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes of {size}"
    return None


def _marked(checkpoint: Path) -> Json:
    """What was said of a checkpoint when it was whole; of an older version's, nothing."""
    marker = checkpoint / WHOLE
    said: Any = read_json(marker) if marker.is_file() and marker.stat().st_size else {}
    return dict(said)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])
