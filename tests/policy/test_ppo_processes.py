"""Two processes train what one trains."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ppo_run import outcome, train, trainer_in
from transformers.training_args import ParallelMode

from rlhf.data.identity import Json
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.processes import Processes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_parts_and_shares_are_a_partition() -> None:
    whole = list(range(10))
    parts = [whole[Processes(3, index).part(10)] for index in range(3)]
    assert [one for part in parts for one in part] == whole
    shares = [Processes(2, index).share(torch.arange(8)) for index in range(2)]
    assert [one.tolist() for one in shares] == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_process_that_stops_saves_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are dead, or wait for something else; here there is no group to ask at all."""
    trainer = trainer_in(tmp_path, {"save_strategy": "no", "num_sample_generations": 0})
    roll = trainer._begin

    def fails(model: Any, prompts: Any, number: int) -> None:
        if number == 2:
            several = property(lambda _: ParallelMode.DISTRIBUTED)
            monkeypatch.setattr(PPOConfig, "parallel_mode", several)
            raise ConnectionError("the service is down")
        roll(model, prompts, number)

    monkeypatch.setattr(trainer, "_begin", fails)
    with pytest.raises(ConnectionError, match="is down") as error:
        trainer.train()
    assert error.value.__notes__ == ["PPO stopped; the weights before it are saved in checkpoint-8"]


def test_two_processes_are_one(tmp_path: Path) -> None:
    """Five rollouts with all options, in float64; one process reads four rows at once, each of two
    reads two.
    """
    one = trainer_in(tmp_path / "one", {"save_strategy": "no"})
    train(one)
    changes: Json = {
        "per_device_train_batch_size": 2,
        "save_strategy": "steps",
        "save_steps": 5,
        "ddp_backend": "gloo",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_addr", "127.0.0.1", "--master_port", str(port)]
    command += [str(HERE / "ppo_run.py"), str(tmp_path / "two"), json.dumps(changes)]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{HERE}", "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = torch.load(tmp_path / "two" / "outcome.pt", weights_only=False)
    expected = outcome(one)
    assert torch.allclose(found["weights"], expected["weights"], atol=1e-6, rtol=0)
    assert found["kl_coef"] == pytest.approx(expected["kl_coef"], abs=1e-9)
    assert found["samples"] == expected["samples"]
    # one process saves the weights, each its own random state
    saved = {path.name for path in (tmp_path / "two" / "checkpoints" / "checkpoint-20").iterdir()}
    assert {"policy_and_value.pt", "rng_state_0.pth", "rng_state_1.pth", "whole"} <= saved
