"""DPO in two processes is DPO in one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dpo_in_processes import five_steps
from tiny_models import parameters, policy, save

from rlhf.data.identity import Json
from rlhf.models.loading import load_policy
from rlhf.policy.dpo import REFERENCE

HERE = Path(__file__).parent
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def in_two_processes(base: Path, folder: Path, *words: str) -> None:
    """Four prompts a step, as `words` say: of each batch, batches, perhaps `lora`."""
    paths = os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parents[1])))
    ran = subprocess.run(
        [sys.executable, *TORCHRUN, HERE / "dpo_in_processes.py", base, folder, *words],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]


def steps_of(folder: Path) -> list[Json]:
    return [row for row in json.loads((folder / "logged.json").read_text()) if "loss" in row]


@pytest.mark.slow  # the reward model's and PPO's run always, on the same pieces
@pytest.mark.parametrize("lora", [False, True])
def test_two_processes_equal_one_over_five_steps(tmp_path: Path, *, lora: bool) -> None:
    """Prompts of unlike weight, so that a mean of each process's mean is another number. The fourth
    step has the last two of 14 prompts: one in each process, or both in the first.
    """
    base = save(policy(300), tmp_path / "base")
    one, two = tmp_path / "one", tmp_path / "two"
    five_steps(base, one, 4, 1, lora=lora)
    in_two_processes(base, two, *(("2", "1", "lora") if lora else ("1", "2")))
    start, alone, apart = (
        parameters(load_policy(folder, "float64"))
        for folder in (base, one / "model", two / "model")
    )
    assert (alone - start).abs().max() > 1e-3
    assert (alone - apart).abs().max() < 1e-6
    assert len(steps_of(one)) == len(steps_of(two)) == 5
    for ours, theirs in zip(steps_of(one), steps_of(two), strict=True):
        for name in ("loss", "grad_norm", "rewards/margins", "kl/from_reference"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5)
    kept = [json.loads((run / "checkpoints" / REFERENCE).read_text()) for run in (one, two)]
    assert kept[0]["logprobs"] == pytest.approx(kept[1]["logprobs"], abs=1e-6)
    assert (two / "checkpoints" / "checkpoint-3" / "whole").exists()
