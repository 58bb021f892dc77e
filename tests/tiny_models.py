"""Tiny random models and a tokenizer, for tests that need the real classes at the smallest size."""

import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from rlhf.data.identity import Json
from rlhf.models.conversation import CHAT_TEMPLATES
from rlhf.models.decoder import train_tokenizer

torch.set_num_threads(1)

SENTENCES = (
    "Write a short note to a friend who moved away.",
    "Name three fruits that are red.",
    "Apples, cherries and strawberries are red.",
    "Dear Ann, the street is quiet without you.",
    "How do I boil an egg?",
    "Put it in boiling water for eight minutes.",
    "The answer is the same as before, only shorter.",
    "I do not know.",
)
PAD, EOS = 0, 1


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of 300 tokens with the `role-tokens` chat template; pad 0, EOS 1."""
    made = train_tokenizer(SENTENCES * 3, 300)
    made.chat_template = CHAT_TEMPLATES["role-tokens"]
    assert (made.pad_token_id, made.eos_token_id) == (PAD, EOS)
    return made


def shape(vocab_size: int = 40, **changes: object) -> LlamaConfig:
    """Two layers of 32, wide initial weights so that the distributions are far from flat."""
    settings: Json = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.25,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "bos_token_id": None,
        **changes,
    }
    return LlamaConfig(**settings)


def policy(
    vocab_size: int = 40, *, seed: int = 0, dtype: torch.dtype = torch.float64, **changes: object
) -> LlamaForCausalLM:
    """A random causal model in evaluation mode."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(shape(vocab_size, **changes))
    _cast(model, dtype)
    return model


def reward_model(
    vocab_size: int = 40, *, seed: int = 0, dtype: torch.dtype = torch.float64, **changes: object
) -> LlamaForSequenceClassification:
    """A random classifier with one label in evaluation mode."""
    torch.manual_seed(seed)
    config = shape(vocab_size, num_labels=1, **changes)
    model = LlamaForSequenceClassification(config)
    _cast(model, dtype)
    return model


def _cast(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """To this type, in evaluation mode; in float64 the norms too, which Llama takes in float32."""
    if dtype == torch.float64:
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, LlamaRMSNorm):
                    setattr(module, name, torch.nn.RMSNorm(32, child.variance_epsilon))
    model.to(dtype)  # type: ignore[arg-type]
    model.eval()


def save(model: PreTrainedModel, folder: Path) -> Path:
    """A model folder as the stages write it, the tokenizer beside the weights."""
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def parameters(model: torch.nn.Module) -> torch.Tensor:
    """All weights of a model as one vector, copied."""
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])


def gradients(model: torch.nn.Module) -> torch.Tensor:
    """All gradients of a model as one vector; zero where there is none."""
    return torch.cat(
        [
            (torch.zeros_like(p) if p.grad is None else p.grad).flatten().clone()
            for p in model.parameters()
        ]
    )


def every_response(vocab_size: int, limit: int, eos: int = EOS) -> Iterator[tuple[int, ...]]:
    """Every response of at most `limit` tokens: ended by EOS, or cut off at the limit."""
    others = [token for token in range(vocab_size) if token != eos]
    for length in range(limit):
        for head in itertools.product(others, repeat=length):
            yield (*head, eos)
    yield from itertools.product(others, repeat=limit)


def quiet_arguments(folder: Path, **changes: object) -> Json:
    """Arguments of a trainer that runs on the CPU and writes only what it is told to."""
    return {
        "output_dir": str(folder / "checkpoints"),
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "dataloader_pin_memory": False,
        "lr_scheduler_type": "linear",
        **changes,
    }


def interrupt_after(step: int) -> TrainerCallback:
    """A callback that interrupts the training as step number `step` begins, whatever was saved."""

    class Interrupt(TrainerCallback):
        def on_step_begin(
            self,
            args: TrainingArguments,
            state: TrainerState,
            control: TrainerControl,
            **_: object,
        ) -> None:
            if state.global_step + 1 == step:
                raise KeyboardInterrupt

    return Interrupt()
