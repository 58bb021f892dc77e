"""Sampling with vLLM itself, where it is installed: its CPU build, or a GPU.

Each training is a process of its own, since an engine is never quite given back.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from tiny_models import PAD, policy, quiet_arguments, reward_model, save, tokenizer
from transformers import AutoModelForCausalLM

from rlhf.data.identity import Json
from rlhf.models.training import fit
from rlhf.policy.ppo import PPOTrainer
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.rollout import PromptIds
from rlhf.policy.vllm_backend import VLLMBackend
from rlhf.reward.scorer import Scorer

pytestmark = pytest.mark.slow
SETTINGS: Json = {
    "use_vllm": True,
    "vllm_max_model_length": 64,
    "learning_rate": 3e-3,
    "total_episodes": 96,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 4,
    "response_length": 24,
    "temperature": 0.8,
    "num_sample_generations": 0,
    "kl_limit": None,
    "use_cpu": not torch.cuda.is_available(),
}
# Its kernels take heads of at least 32 numbers.
SHAPE: Json = {"hidden_size": 64, "dtype": torch.float32}


def train(how: str) -> None:
    """Prints what a training logged, a line each; `how` is whole, lora, or left-behind."""
    folder = Path(tempfile.mkdtemp())
    save(policy(300, **SHAPE), folder / "policy")
    judge = reward_model(300, seed=4, **SHAPE)
    adapters = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    rate = {"learning_rate": 0.03} if how != "whole" else {}
    trainer = PPOTrainer(
        args=PPOConfig(**quiet_arguments(folder, **{**SETTINGS, **rate})),
        processing_class=tokenizer(),
        model=AutoModelForCausalLM.from_pretrained(folder / "policy"),
        value_model=judge,
        reward_model=Scorer(reward_model(300, seed=4, **SHAPE), PAD),
        train_dataset=[PromptIds(f"p{n}", (5 + n, 9, 11)) for n in range(32)],
        peft_config=adapters if how == "lora" else None,
    )
    if how == "left-behind":
        VLLMBackend.moved = lambda _: None  # type: ignore[method-assign, assignment]
    fit(trainer, log=say, progress=lambda *_: None)
    engine: Any = trainer.roller.backend.engine.llm.llm_engine  # type: ignore[union-attr]
    held = weakref.ref(engine.model_executor.driver_worker.model_runner.model)
    trainer.close()
    del engine
    gc.collect()
    launched = "LOCAL_RANK" in os.environ or torch.distributed.is_initialized()
    say({"step": "end", "given back": held() is None, "launched": launched})


def say(row: Json) -> None:
    sys.stdout.write(json.dumps(row) + "\n")


def trained(how: str) -> tuple[list[Json], Any]:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    ran = subprocess.run(
        [sys.executable, __file__, how],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=400,
    )
    lines = [json.loads(one) for one in ran.stdout.splitlines() if one.startswith('{"step"')]
    return [row for row in lines if "rollout/logprob_gap" in row], ran


@pytest.mark.parametrize("how", ["whole", "lora"])
def test_the_engine_samples_from_the_policy_of_now(how: str) -> None:
    rows, ran = trained(how)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert len(rows) == 3
    assert max(row["rollout/logprob_gap_max"] for row in rows) < 1e-3
    assert rows[-1]["objective/kl_k3"] > 0.5
    # A response ends where it says EOS, and only there.
    for row in rows:
        assert row["objective/finished"] * 32 == row["val/num_eos_tokens"]
    assert 0 < rows[0]["objective/finished"] < 1
    assert '"given back": true' in ran.stdout
    assert '"launched": false' in ran.stdout  # the next training here is one process


def test_an_engine_left_behind_stops_the_training() -> None:
    rows, ran = trained("left-behind")
    assert ran.returncode == 1
    assert "it does not follow the policy's weights" in ran.stderr
    assert len(rows) < 3


if __name__ == "__main__":
    train(sys.argv[1])
