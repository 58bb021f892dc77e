"""Two processes train what one trains: PPO, and SFT beside it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from policy_in_processes import base_model, fine_tuned
from ppo_run import outcome, train, trainer_in
from tiny_models import parameters
from transformers.training_args import ParallelMode

from rlhf.data.identity import Json
from rlhf.models.loading import load_policy
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


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, base: Path) -> tuple[Path, list[Json], str]:
    """Where two processes worked, what each saw, and what they wrote to stderr."""
    folder = tmp_path_factory.mktemp("together")
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
    command += [str(HERE / "policy_in_processes.py"), str(folder), json.dumps(changes), str(base)]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{HERE}", "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    seen = [torch.load(folder / f"seen-{rank}.pt", weights_only=False) for rank in (0, 1)]
    return folder, seen, ran.stderr


def test_two_processes_are_one(tmp_path: Path, together: tuple[Path, list[Json], str]) -> None:
    """Five rollouts with all options, in float64; one process reads four rows at once, each of two
    reads two.
    """
    one = trainer_in(tmp_path, {"save_strategy": "no"})
    train(one)
    folder, seen, _ = together
    expected = outcome(one)
    for found in (one["whole"] for one in seen):
        assert torch.allclose(found["weights"], expected["weights"], atol=1e-6, rtol=0)
        assert found["kl_coef"] == pytest.approx(expected["kl_coef"], abs=1e-9)
        assert found["samples"] == expected["samples"]
    # one process saves the weights, each its own random state
    saved = {path.name for path in (folder / "whole/checkpoints/checkpoint-20").iterdir()}
    assert {"policy_and_value.pt", "rng_state_0.pth", "rng_state_1.pth", "whole"} <= saved


def test_both_stop_where_one_is_told_to_and_go_on_as_if_nothing_had_happened(
    together: tuple[Path, list[Json], str],
) -> None:
    """The signal comes in step 10, the rollout ends with step 12."""
    _, seen, said = together
    assert said.count("told to stop: saved step 12") == 1
    for one in seen:
        assert one["resumed"]["stopped"] == 12
        assert torch.equal(one["resumed"]["weights"], one["whole"]["weights"])
        assert one["resumed"]["kl_coef"] == one["whole"]["kl_coef"]
        assert one["resumed"]["history"] == one["whole"]["history"]


def test_sft_is_that_of_one_process_and_one_saves_it(
    tmp_path: Path, base: Path, together: tuple[Path, list[Json], str]
) -> None:
    folder, seen, _ = together
    alone = fine_tuned(base, tmp_path, size=4)
    for one in seen:
        assert one["sft"] == pytest.approx(alone, abs=1e-6)
    two, expected = (
        parameters(load_policy(place, "float64")) for place in (folder / "sft-0", tmp_path)
    )
    assert torch.allclose(two, expected, atol=1e-6, rtol=0)
    assert not (folder / "sft-1").exists()
