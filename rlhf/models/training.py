"""What every trainer of ours shares: no console noise, our own log, resuming from a whole
checkpoint.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from rlhf.data.identity import Json
from rlhf.models.checkpoint_folders import (
    WHOLE,
    check_checkpoint,
    deleting_none,
    finish_checkpoint,
    newest_checkpoint,
)
from rlhf.models.compiling import compile_layers

CHECKPOINTS = "checkpoints"
# transformers 5.23 gave recomputation another name; the old one warns.
CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in {field.name for field in dataclasses.fields(TrainingArguments)}
)


class QuietTrainer(Trainer):
    """`transformers.Trainer` that prints nothing and uses one device; `fit` gives it a log."""

    def __init__(self, **arguments: Any) -> None:
        # With several GPUs in sight the Trainer would wrap the model in nn.DataParallel, which has
        # none of the methods that our losses call.
        arguments["args"]._n_gpu = min(arguments["args"].n_gpu, 1)
        if arguments["args"].torch_compile:
            compile_layers(arguments["model"], arguments["args"])
        super().__init__(**arguments)
        silence(self)

    def train(self, resume_from_checkpoint: Any = None, *arguments: Any, **named: Any) -> Any:
        """Trains to the end. `resume_from_checkpoint=True` goes on from the newest checkpoint that
        was written to its end. Raises ValueError where there is none, and for one that is damaged
        or of another seed.
        """
        if resume_from_checkpoint is True:
            found = newest_checkpoint(Path(self.args.output_dir or "."))
            if found is None:
                raise ValueError(
                    f"no checkpoint in {self.args.output_dir} was written to its end: leave out "
                    "resume_from_checkpoint to start anew, or name a checkpoint"
                )
            resume_from_checkpoint = str(found)
        if resume_from_checkpoint:
            check_checkpoint(Path(resume_from_checkpoint), self.args.seed)
        return super().train(resume_from_checkpoint, *arguments, **named)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir or ".") / f"checkpoint-{self.state.global_step}"
        (folder / WHOLE).unlink(missing_ok=True)  # while it is written again, it is not
        with deleting_none(self.args) as limit:
            super()._save_checkpoint(model, trial)
        finish_checkpoint(self.args, self.state, limit)

    def compute_loss_context_manager(self) -> Any:
        """The Trainer wraps a model's `forward` for `bf16`; our losses call parts of the model."""
        return self.accelerator.autocast()


def silence(trainer: Trainer) -> None:
    """Takes the progress bar and the printing callbacks off a trainer."""
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)


def trainer_settings(
    trainer: Json, *, folder: Path, seed: int, dtype: str = "float32", defaults: Json | None = None
) -> Json:
    """Arguments for a trainer's config class: ours, then the stage's defaults, then the config's
    `trainer:` block.

    Nothing reports to a tracker; checkpoints go to `folder/checkpoints`, at most two are kept.
    """
    settings: Json = {
        "output_dir": str(folder / CHECKPOINTS),
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 100,
        "save_total_limit": 2,
        "seed": seed,
        "data_seed": seed,
        "bf16": dtype == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": False,
        CHECKPOINTING: False,
        **(defaults or {}),
        **trainer,
    }
    return settings


class _Reporter(TrainerCallback):
    """Hands numbers to the log and steps to the progress bar, and marks each checkpoint when it is
    whole.
    """

    def __init__(
        self, log: Callable[[Json], None], progress: Callable[[int, int], None], *, main: bool
    ) -> None:
        self.log = log if main else lambda _: None  # of several processes one reports
        self.progress = progress if main else lambda *_: None
        self.rows: list[Json] = []
        self.limit: int | None = None  # checkpoints to keep

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        # A resumed training reports what was logged up to its checkpoint, so that its log is whole.
        for row in state.log_history:
            self._report(int(row["step"]), {k: v for k, v in row.items() if k != "step"})

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        self._report(state.global_step, logs or {})

    def _report(self, step: int, logs: dict[str, float]) -> None:
        numbers = {key: value for key, value in logs.items() if isinstance(value, int | float)}
        for name in ("loss", "grad_norm", "train_loss"):
            if not math.isfinite(numbers.get(name, 0.0)):
                raise FloatingPointError(
                    f"the training diverged: {name} is {numbers[name]} at step {step}; lower "
                    "trainer.learning_rate or trainer.max_grad_norm"
                )
        self.rows.append(numbers)
        self.log({"step": step, **numbers})

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        self.progress(state.global_step, state.max_steps)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        finish_checkpoint(args, state, self.limit)


def fit(
    trainer: Trainer, *, log: Callable[[Json], None], progress: Callable[[int, int], None]
) -> Json:
    """Trains to the end, from the newest whole checkpoint where there is one.

    Returns each logged number, meaned over the last tenth of the log: the same for a training that
    was resumed. Raises FloatingPointError where the loss or its gradient is no longer finite.
    """
    # transformers would log a NaN loss as the mean of the losses before it.
    trainer.args.logging_nan_inf_filter = False
    reporter = _Reporter(log, progress, main=trainer.is_world_process_zero())
    trainer.add_callback(reporter)
    checkpoint = newest_checkpoint(Path(trainer.args.output_dir or "."))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if checkpoint is not None:
        check_checkpoint(checkpoint, trainer.args.seed)
    with deleting_none(trainer.args) as reporter.limit:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return _tail_means(reporter.rows)


def _tail_means(rows: Sequence[Json]) -> Json:
    """Means over the last tenth of the rows, of what is logged at every step."""
    steps = [row for row in rows if "loss" in row]
    tail = steps[-max(1, len(steps) // 10) :]
    names = sorted({name for row in tail for name in row})
    return {name: fmean(row[name] for row in tail if name in row) for name in names}
