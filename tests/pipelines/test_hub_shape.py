"""hub.yaml's own path, small: an adapter on a model that was given, a monitor, mini-batches."""

from pathlib import Path

import pytest
import torch
from tiny_models import policy, save
from transformers import AutoModelForCausalLM
from warm import rlhf

from rlhf.data.jsonl import read_json, read_jsonl

HUB = Path(__file__).parents[2] / "pipelines" / "configs" / "hub.yaml"
SMALL = (
    "labelers=simulated",
    "threads=1",
    "prompts={source: built-in, count: 120, shares: {train: 0.6, validation: 0.2, test: 0.2}}",
    "model.chat_template=role-tokens",
    "model.max_tokens=96",
    "model.dtype=float32",
    "sample={num_prompts: 60, num_responses: 3, max_new_tokens: 8}",
    "label={min_rankings: 5}",
    "sft.trainer.max_steps=4",
    "reward.trainer.max_steps=4",
    "dpo.trainer.max_steps=4",
    "ppo.trainer.total_episodes=64",
    "ppo.trainer.gradient_accumulation_steps=2",
    "ppo.trainer.response_length=8",
    "ppo.allow_unfit_reward=true",
    "evaluate={num_prompts: 10, best_of: [2]}",
    "certify={probes: 20}",
    "probe={limit: 20, probes: [length, regression]}",
    "wandb.enabled=false",
)


@pytest.mark.slow
def test_the_config_for_a_gpu_runs_to_its_end(tmp_path: Path) -> None:
    save(policy(300, dtype=torch.float32), tmp_path / "base")
    ran = rlhf("run", HUB, *SMALL, f"runs_dir={tmp_path}", f"model.path={tmp_path / 'base'}")
    assert ran.returncode == 4, ran.stderr  # random models: not enough evidence
    assert SMALL[-2] in ran.stdout  # the command to rank by hand, brackets and all
    ppo = tmp_path / "qwen3-0.6b" / "round-1" / "ppo" / "current"
    looked = [row for row in read_jsonl(ppo / "metrics.jsonl") if "held_out/monitor" in row]
    assert len(looked) > 1
    for name in ("model", "last"):  # adapters were merged: plain models
        kept = AutoModelForCausalLM.from_pretrained(ppo / name)
        assert kept.config.model_type == "llama"
    monitor = read_json(ppo.parents[1] / "monitor" / "current" / "complete.json")
    assert monitor["result"]["prompts"] > 0
