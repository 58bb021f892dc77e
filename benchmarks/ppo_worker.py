"""One PPO training, timed from outside the trainer: `python ppo_worker.py ours|trl CASE`.

Runs in an environment with this package, or in one with TRL 1.12 and without it. Prints one line of
JSON: the seconds and CPU seconds of each rollout after the first, what each earned, and the memory
that training added to the process.
"""

import importlib
import json
import os
import resource
import sys
import tempfile
import time
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", TOKENIZERS_PARALLELISM="false")

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)


class Rows(list[dict[str, list[int]]]):
    """Prompts of random tokens, as TRL's scripts tokenise them."""


def rows(case: dict[str, Any]) -> Rows:
    generator = torch.Generator().manual_seed(1)
    shape = (case["rows"], case["prompt_tokens"])
    ids = torch.randint(2, case["vocab_size"], shape, generator=generator)
    return Rows({"input_ids": one} for one in ids.tolist())


class Times(TrainerCallback):
    """When each rollout was logged, and what it had earned."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.cpu: list[float] = []
        self.scores: list[float] = []

    def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
        if logs and "objective/scores" in logs:
            self.at.append(time.perf_counter())
            self.cpu.append(time.process_time())
            self.scores.append(float(logs["objective/scores"]))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    who, case = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(case["threads"])
    folder = Path(case["folder"])
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    policy, reference = (AutoModelForCausalLM.from_pretrained(folder / "policy") for _ in "pr")
    value, reward = (
        AutoModelForSequenceClassification.from_pretrained(folder / "reward", num_labels=1)
        for _ in "vr"
    )
    theirs = "trl.experimental.ppo"
    peer: Any = importlib.import_module("rlhf.policy.ppo" if who == "ours" else theirs)
    if who == "ours" and case["shared"]:
        value = None
    times = Times()
    with tempfile.TemporaryDirectory() as scratch:
        settings = {
            "output_dir": scratch,
            "report_to": "none",
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "save_strategy": "no",
            "num_sample_generations": 0,
            "disable_tqdm": True,
            "temperature": 1.0,
            **case["settings"],
        }
        if who == "trl" and case.get("recompute"):
            settings["gradient_checkpointing"] = True
        if who == "trl" and case["ends"]:
            settings["stop_token"] = "eos"
        data: Any = rows(case)
        if who == "trl":
            from datasets import Dataset

            data = Dataset.from_list(list(data))
        trainer = peer.PPOTrainer(
            args=peer.PPOConfig(**settings),
            processing_class=tokenizer,
            model=policy,
            ref_model=reference,
            reward_model=reward,
            value_model=value,
            train_dataset=data,
            eval_dataset=data if who == "trl" else None,
            callbacks=[times],
        )
        before = peak_mb()
        started, cpu_started = time.perf_counter(), time.process_time()
        with redirect_stdout(sys.stderr):  # TRL prints
            trainer.train()
    seconds, cpu_seconds = ([b - a for a, b in pairwise(clock)] for clock in (times.at, times.cpu))
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_seconds": cpu_seconds,
                "elapsed": [at - started for at in times.at],
                "cpu_elapsed": [at - cpu_started for at in times.cpu],
                "scores": times.scores,
                "added_mb": peak_mb() - before,
                "peak_mb": peak_mb(),
            }
        )
    )


if __name__ == "__main__":
    main()
