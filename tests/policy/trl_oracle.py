"""What TRL 1.12's PPOTrainer computes in one update, written down: `golden/trl_ppo.json`.

Run it in an environment of its own (`python -m venv .bench/trl112`, then pip install "trl==1.12.*"
"torch==2.13.0"), from this folder: `python trl_oracle.py`. The weights are planted by a formula, so
that no version of a random generator matters. Responses have no end: where they have one, TRL gives
the score one state too late, which `docs/guides/ppo.md` explains.
"""

import importlib
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

Json = dict[str, Any]

GOLDEN = Path(__file__).parent / "golden" / "trl_ppo.json"
VOCABULARY, PAD, EOS = 40, 0, 1
SETTINGS: Json = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "num_mini_batches": 1,
    "num_ppo_epochs": 2,
    "total_episodes": 8,
    "response_length": 6,
    "temperature": 0.9,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "kl_coef": 0.2,
    "gamma": 0.98,
    "lam": 0.9,
    "vf_coef": 0.3,
    "missing_eos_penalty": 0.7,
    "max_grad_norm": 0.0,
    "seed": 3,
}
SHAPE: Json = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "bos_token_id": None,
    "num_labels": 1,
}
PROMPTS = [[5, 9, 11], [6, 7, 8], [12, 13, 4], [21, 3, 30], [33, 2, 9], [8, 8, 17], [25, 6, 3]]
PROMPTS = [*PROMPTS, [14, 39, 22]]
# Twice as many rows as a rollout takes: in the last of a pass TRL forgets to accumulate gradients.
ROWS = PROMPTS * 2


def planted(model: torch.nn.Module, phase: float) -> None:
    """Weights from a formula: the same on every machine."""
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            steps = torch.arange(weight.numel(), dtype=torch.float64)
            waves = torch.sin(steps * (1.7 + 0.1 * number) + phase) * 0.25
            if weight.dim() == 1:
                waves = 1 + waves * 0.2
            weight.copy_(waves.reshape(weight.shape))


def oracle_models() -> list[Any]:
    """Policy, reference, value and reward model, with planted weights."""
    made = []
    for kind, phase in (
        (LlamaForCausalLM, 0.0),
        (LlamaForCausalLM, 0.3),
        (LlamaForSequenceClassification, 0.6),
        (LlamaForSequenceClassification, 0.9),
    ):
        model: Any = kind(LlamaConfig(**SHAPE))
        planted(model, phase)
        made.append(model.eval())
    return made


def _tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": PAD, "<end>": EOS} | {f"w{n}": n for n in range(2, VOCABULARY)}
    plain = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<end>", padding_side="left"
    )


def _watch(theirs: Any, name: str, seen: dict[str, list[Any]]) -> None:
    """Keeps the arguments and the result of each call of one of TRL's functions."""
    original = getattr(theirs, name)

    def call(*arguments: Any, **named: Any) -> Any:
        found = original(*arguments, **named)
        seen.setdefault(name, []).append((arguments, found))
        return found

    setattr(theirs, name, call)


def main() -> None:
    """Trains one rollout with TRL, and writes what it computed on the way."""
    theirs: Any = importlib.import_module("trl.experimental.ppo.ppo_trainer")
    policy, reference, value, reward = oracle_models()
    seen: dict[str, list[Any]] = {}
    for name in ("batch_generation", "masked_whiten", "get_reward"):
        _watch(theirs, name, seen)
    logged: list[Json] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = theirs.PPOTrainer(
            args=theirs.PPOConfig(
                output_dir=folder,
                report_to="none",
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                save_strategy="no",
                num_sample_generations=0,
                **SETTINGS,
            ),
            processing_class=_tokenizer(),
            model=policy,
            ref_model=reference,
            reward_model=reward,
            value_model=value,
            train_dataset=Dataset.from_dict({"input_ids": ROWS}),
            eval_dataset=Dataset.from_dict({"input_ids": PROMPTS}),
        )
        trainer.log = lambda metrics, *_: logged.append(dict(metrics))
        trainer.train()
    (advantages, mask), whitened = seen["masked_whiten"][0]
    numbers = {
        "query_responses": seen["batch_generation"][0][1][0].tolist(),
        "values": seen["get_reward"][0][1][0][:, 2:-1, 0].tolist(),
        "scores": seen["get_reward"][1][1][1].tolist(),
        "advantages": advantages.tolist(),
        "mask": mask.int().tolist(),
        "whitened": whitened.tolist(),
        "metrics": {name: float(number) for name, number in logged[0].items()},
        "policy": _digest(policy),
        "value": _digest(value),
    }
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(numbers), encoding="utf-8")


def _digest(model: torch.nn.Module) -> list[list[float]]:
    """Sum, sum of squares and the first three numbers of each weight."""
    return [
        [float(w.double().sum()), float((w.double() ** 2).sum()), *w.flatten()[:3].tolist()]
        for w in model.parameters()
    ]


if __name__ == "__main__":
    main()
