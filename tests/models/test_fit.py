"""`fit`: what it logs, how it resumes, and that it says so when a training diverges.

That resuming gives the same weights is tested beside each trainer, with `interrupt_after`.
"""

import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import (
    gradients,
    interrupt_after,
    parameters,
    policy,
    quiet_arguments,
    tokenizer,
)
from transformers import TrainerCallback, TrainerState, TrainingArguments

from rlhf.data.identity import Json
from rlhf.models.checkpoint_folders import finish_checkpoint, newest_checkpoint
from rlhf.models.decoder import DocumentCollator, Documents
from rlhf.models.training import QuietTrainer, fit, trainer_settings

TEXTS = [f"Sentence number {number} of the test." for number in range(12)]


def trainer_in(folder: Path, kind: type[QuietTrainer] = QuietTrainer, **changes: Any) -> Any:
    settings = {"max_steps": 6, "per_device_train_batch_size": 2, "learning_rate": 1e-3, **changes}
    return kind(
        model=policy(300, dtype=torch.float32),
        args=TrainingArguments(**quiet_arguments(folder, **settings)),
        train_dataset=Documents(tokenizer(), TEXTS, 32),
        data_collator=DocumentCollator(0),
    )


def run(trainer: Any) -> tuple[list[Json], list[tuple[int, int]], Json]:
    logged: list[Json] = []
    steps: list[tuple[int, int]] = []
    last = fit(trainer, log=logged.append, progress=lambda *at: steps.append(at))
    return logged, steps, last


def without_timings(rows: Sequence[Json]) -> list[Json]:
    """What is left of a log when clocks, and sums that start anew on resuming, are taken off."""
    left = {"train_runtime", "train_samples_per_second", "train_steps_per_second"}
    left |= {"total_flos", "train_loss"}
    return [{name: value for name, value in row.items() if name not in left} for row in rows]


def test_logs_steps_and_the_last_numbers(tmp_path: Path) -> None:
    logged, steps, last = run(trainer_in(tmp_path))
    assert [row["step"] for row in logged] == [1, 2, 3, 4, 5, 6, 6]
    assert steps == [(n, 6) for n in range(1, 7)]
    losses = [row["loss"] for row in logged[:6]]
    assert last["loss"] == losses[-1]
    assert losses[-1] < losses[0]


def test_figures_are_means_over_the_last_tenth_of_the_log(tmp_path: Path) -> None:
    logged, _, last = run(trainer_in(tmp_path, max_steps=20))
    steps = [row for row in logged if "loss" in row]
    assert len(steps) == 20
    for name in ("loss", "grad_norm", "learning_rate"):
        assert last[name] == pytest.approx((steps[-2][name] + steps[-1][name]) / 2, rel=1e-12)


class TurnsNaN(QuietTrainer):
    """A training whose loss is no number from the third step on."""

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        loss: Any = super().compute_loss(*arguments, **named)
        return loss * math.nan if self.state.global_step >= 2 else loss


@pytest.mark.parametrize(("logging_steps", "step"), [(1, 3), (2, 4), (4, 4), (50, 6)])
def test_a_loss_that_is_no_number_stops_the_training(
    tmp_path: Path, logging_steps: int, step: int
) -> None:
    trainer = trainer_in(tmp_path, TurnsNaN, logging_steps=logging_steps)
    with pytest.raises(FloatingPointError, match=r"lower trainer\.learning_rate") as error:
        run(trainer)
    assert f"is nan at step {step}" in str(error.value)


class TurnsInfinite(QuietTrainer):
    """A training whose gradient overflows in the second step while its loss is a number."""

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        loss: Any = super().compute_loss(*arguments, **named)
        far = (loss - loss.detach()) * 1e38 * 1e38
        return loss + far if self.state.global_step == 1 else loss


def test_a_gradient_that_overflows_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"grad_norm is (nan|inf) at step 2"):
        run(trainer_in(tmp_path, TurnsInfinite))


def test_resumed_training_equals_the_uninterrupted_one_and_logs_the_same(tmp_path: Path) -> None:
    whole = trainer_in(tmp_path / "whole", save_strategy="steps", save_steps=2)
    expected, _, last = run(whole)
    cut = trainer_in(tmp_path / "cut", save_strategy="steps", save_steps=2)
    cut.add_callback(interrupt_after(5))
    with pytest.raises(KeyboardInterrupt):
        run(cut)
    resumed = trainer_in(tmp_path / "cut", save_strategy="steps", save_steps=2)
    logged, steps, last_resumed = run(resumed)
    assert steps == [(5, 6), (6, 6)]
    assert torch.equal(parameters(resumed.model), parameters(whole.model))
    assert without_timings(logged) == without_timings(expected)
    assert without_timings([last_resumed]) == without_timings([last])


def test_resuming_after_the_last_step_still_reports_the_last_numbers(tmp_path: Path) -> None:
    settings: Json = {"save_strategy": "steps", "save_steps": 3}
    _, _, last = run(trainer_in(tmp_path, **settings))
    again = trainer_in(tmp_path, **settings)
    _, steps, found = run(again)
    assert steps == []
    assert found["loss"] == last["loss"]


def test_a_checkpoint_that_was_not_finished_is_ignored(tmp_path: Path) -> None:
    whole = trainer_in(tmp_path / "whole", save_strategy="steps", save_steps=2)
    run(whole)
    cut = trainer_in(tmp_path / "cut", save_strategy="steps", save_steps=2)
    cut.add_callback(interrupt_after(5))
    with pytest.raises(KeyboardInterrupt):
        run(cut)
    checkpoints = tmp_path / "cut" / "checkpoints"
    assert newest_checkpoint(checkpoints) == checkpoints / "checkpoint-4"
    (checkpoints / "checkpoint-4" / "whole").unlink()
    (checkpoints / "checkpoint-4" / "model.safetensors").write_bytes(b"cut short")
    assert newest_checkpoint(checkpoints) == checkpoints / "checkpoint-2"
    resumed = trainer_in(tmp_path / "cut", save_strategy="steps", save_steps=2)
    _, steps, _ = run(resumed)
    assert steps[0] == (3, 6)
    assert torch.equal(parameters(resumed.model), parameters(whole.model))


def test_newest_is_by_number_and_none_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    for step in (9, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}" / "whole").touch()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_a_file_that_is_cut_short_makes_a_checkpoint_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(trainer_in(tmp_path, save_strategy="steps", save_steps=2))
    folder = tmp_path / "checkpoints"
    weights = folder / "checkpoint-6" / "model.safetensors"
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:100])
    assert newest_checkpoint(folder) == folder / "checkpoint-4"
    assert f"checkpoint-6 is damaged, model.safetensors has 100 bytes of {size}" in caplog.text


def test_nothing_goes_on_from_weights_alone(tmp_path: Path) -> None:
    """Without its optimizer a training would start moments and schedule anew."""
    run(trainer_in(tmp_path, save_strategy="steps", save_steps=2, save_only_model=True))
    assert (tmp_path / "checkpoints" / "checkpoint-6").exists()
    assert newest_checkpoint(tmp_path / "checkpoints") is None


class PutAhead(TrainerCallback):
    """Dates each checkpoint an hour later than it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_save(self, *_: Any, **__: Any) -> None:
        later = time.time() + 3600
        for path in self.folder.iterdir():
            os.utime(path, (later, later))


@pytest.mark.parametrize("direct", [False, True], ids=["by fit", "by train"])
def test_the_last_checkpoint_is_deleted_when_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, direct: bool
) -> None:
    """Also where the clock was put back, so that the new one is the older by its files' times."""
    folder = tmp_path / "checkpoints"
    trainer = trainer_in(tmp_path, save_strategy="steps", save_steps=1, save_total_limit=1)
    seen: list[str | None] = []
    plain = shutil.rmtree

    def deleted(path: Path, *arguments: Any, **named: Any) -> None:
        newest = newest_checkpoint(folder)
        seen.append(None if newest is None else newest.name)
        plain(path, *arguments, **named)

    monkeypatch.setattr(shutil, "rmtree", deleted)
    trainer.add_callback(PutAhead(folder))
    trainer.train() if direct else run(trainer)
    assert seen == [f"checkpoint-{step}" for step in range(2, 7)]
    assert [path.name for path in folder.iterdir()] == ["checkpoint-6"]
    assert trainer.args.save_total_limit == 1


def test_the_best_checkpoint_stays(tmp_path: Path) -> None:
    args = TrainingArguments(**quiet_arguments(tmp_path))
    folder = tmp_path / "checkpoints"
    for step in (1, 2, 3, 4, 9):
        (folder / f"checkpoint-{step}").mkdir(parents=True)
    (folder / "checkpoint-best").mkdir()
    state = TrainerState(global_step=4, best_model_checkpoint=str(folder / "checkpoint-1"))
    state.is_world_process_zero = True
    left = [{"1", "3", "4"}, {"1", "4"}, {"1", "4"}]
    for limit, names in zip((3, 2, 1), left, strict=True):
        finish_checkpoint(args, state, limit)
        found = {path.name.removeprefix("checkpoint-") for path in folder.iterdir()}
        assert found == names | {"9", "best"}


def test_same_seed_same_weights_other_seed_other_order(tmp_path: Path) -> None:
    found = []
    for seed in (1, 1, 2):
        trainer = trainer_in(tmp_path, seed=seed, data_seed=seed)
        run(trainer)
        found.append(parameters(trainer.model))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_gradient_of_a_document_is_that_of_its_mean_token_loss() -> None:
    rows = Documents(tokenizer(), ["I do not know.", "How?"], 32)
    batch = DocumentCollator(0)([rows[0], rows[1]])
    assert batch["labels"].tolist() == [
        rows.rows[0],
        rows.rows[1] + [-100] * (len(rows.rows[0]) - len(rows.rows[1])),
    ]
    model = policy(300)
    model(**batch).loss.backward()
    found = gradients(model)
    plain = policy(300)
    total = torch.zeros((), dtype=torch.float64)
    for ids in rows.rows:
        logprobs = torch.log_softmax(plain(input_ids=torch.tensor([ids])).logits[0], -1)
        total = total - sum(logprobs[i, token] for i, token in enumerate(ids[1:]))
    (total / sum(len(ids) - 1 for ids in rows.rows)).backward()
    # transformers takes this loss in float32.
    assert torch.allclose(found, gradients(plain), atol=1e-6)
    assert found.abs().max() > 0.1


def test_settings_are_ours_then_the_stage_then_the_config(tmp_path: Path) -> None:
    made = trainer_settings(
        {"learning_rate": 3e-4, "save_steps": 7},
        folder=tmp_path,
        seed=5,
        defaults={"learning_rate": 1e-5, "num_train_epochs": 1},
    )
    assert made["learning_rate"] == 3e-4
    assert made["num_train_epochs"] == 1
    assert (made["seed"], made["data_seed"]) == (5, 5)
    assert made["save_strategy"] == "steps"
    assert made["bf16"] is False
    arguments = TrainingArguments(**made)
    assert arguments.output_dir == str(tmp_path / "checkpoints")
    assert arguments.report_to == []


def test_several_devices_in_sight_are_not_used_by_one_process(tmp_path: Path) -> None:
    arguments = TrainingArguments(**quiet_arguments(tmp_path, max_steps=1))
    arguments._n_gpu = 2
    trainer = QuietTrainer(
        model=policy(300, dtype=torch.float32),
        args=arguments,
        train_dataset=Documents(tokenizer(), TEXTS, 32),
        data_collator=DocumentCollator(0),
    )
    run(trainer)
    assert not isinstance(trainer.model_wrapped, torch.nn.DataParallel)
