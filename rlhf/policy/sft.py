"""Supervised fine-tuning on demonstrations: thin over TRL's SFTTrainer.

The ids are made by `rlhf.models.conversation`, so that the policy is trained on what it will be
sampled with; the prompt carries no loss.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, set_seed
from trl import SFTConfig, SFTTrainer

from rlhf.data.identity import Json
from rlhf.data.records import Prompt
from rlhf.models.batching import make_rows, response_logprobs
from rlhf.models.conversation import prompt_within, response_ids
from rlhf.models.loading import (
    add_adapters,
    load_policy,
    load_tokenizer,
    pad_token_id,
    save_whole,
    trained_dtype,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.places import check_places
from rlhf.models.training import fit, silence


def train_sft(
    base: str | Path,
    prompts: Sequence[Prompt],
    validation: Sequence[Prompt],
    output: Path,
    trainer_args: Json,
    *,
    chat_template: str | None,
    dtype: str,
    lora: LoraSettings | None,
    max_tokens: int,
    log: Callable[[Json], None],
    progress: Callable[[int, int], None],
) -> Json:
    """Fine-tunes `base` on the prompts that carry a demonstration; saves a plain model in `output`.

    Returns `demonstrations`, `at_token_limit` (how many fill `max_tokens` and may be cut),
    `prompts_cut` (how many lost messages or tokens on their left), `train_loss` and
    `validation_loss` (nats per response token). Raises
    ValueError where no prompt has a demonstration.
    """
    tokenizer = load_tokenizer(base, chat_template)
    (train, prompts_cut), (held_out, _) = (
        _rows(tokenizer, prompts, max_tokens),
        _rows(tokenizer, validation, max_tokens),
    )
    if not train:
        raise ValueError(
            "no prompt of the train split has a demonstration: SFT has nothing to learn from"
        )
    found = fine_tune(
        base,
        tokenizer,
        train,
        held_out,
        output,
        trainer_args,
        dtype=dtype,
        lora=lora,
        log=log,
        progress=progress,
    )
    cut = sum(len(row["input_ids"]) >= max_tokens for row in train)
    counted = {"demonstrations": len(train), "at_token_limit": cut, "prompts_cut": prompts_cut}
    return {**counted, **found}


def fine_tune(
    base: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[Json],
    held_out: Sequence[Json],
    output: Path,
    trainer_args: Json,
    *,
    dtype: str,
    lora: LoraSettings | None,
    log: Callable[[Json], None],
    progress: Callable[[int, int], None],
) -> Json:
    """Fine-tunes `base` on rows from `answer_row`; saves a plain model in `output`.

    Returns `train_loss` and, where rows are held out, `validation_loss`, in nats per response
    token. Raises ValueError for a row that is longer than the model can read.
    """
    model = load_policy(base, trained_dtype(dtype, lora))
    check_places(model, max(len(row["input_ids"]) for row in (*train, *held_out)))
    args = SFTConfig(**{"max_length": None, "completion_only_loss": True, **trainer_args})
    set_seed(args.seed)  # adapters are drawn
    trainer = SFTTrainer(
        model=model if lora is None else add_adapters(model, lora, "CAUSAL_LM"),
        args=args,
        train_dataset=Dataset.from_list(list(train)),
        eval_dataset=Dataset.from_list(list(held_out)) if held_out else None,
        processing_class=tokenizer,
    )
    silence(trainer)
    last = fit(trainer, log=log, progress=progress)
    found = {"train_loss": last.get("loss")}
    if held_out:
        found["validation_loss"] = mean_token_loss(
            trainer.model, held_out, pad_token_id(tokenizer), trainer.args.eval_batch_size
        )
    if trainer.is_world_process_zero():
        save_whole(trainer.model, tokenizer, output, dtype)
    trainer.accelerator.wait_for_everyone()
    return found


@torch.inference_mode()
def mean_token_loss(model: Any, rows: Sequence[Json], pad: int, batch_size: int) -> float:
    """-log p of the completions' tokens, in nats, each token counted once.

    The Trainer's own evaluation is a mean over batches, where a token of a short answer counts
    more.
    """
    lost, tokens = 0.0, 0
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        sizes = [sum(row["completion_mask"]) for row in batch]
        made = make_rows(
            [row["input_ids"][:-n] for row, n in zip(batch, sizes, strict=True)],
            [row["input_ids"][-n:] for row, n in zip(batch, sizes, strict=True)],
            pad,
        )
        lost -= float(response_logprobs(model, made.to(model.device)).sum())
        tokens += sum(sizes)
    return lost / tokens


def _rows(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], max_tokens: int
) -> tuple[list[Json], int]:
    """Ids and mask of each demonstration, and how many prompts were cut on their left to make room;
    an answer that leaves no room at all is cut off, and then has no EOS to learn from.
    """
    found, cut = demonstrations(tokenizer, prompts, max_tokens)
    return [answer_row(*one) for one in found], cut


def demonstrations(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], max_tokens: int
) -> tuple[list[tuple[list[int], list[int]]], int]:
    """Ids of the prompts that carry a demonstration, and of their demonstrations, as `train_sft`
    trains on them; and how many of the prompts were cut.
    """
    found, cut = [], 0
    for prompt in prompts:
        if prompt.demonstration is None:
            continue
        answer = response_ids(tokenizer, prompt.demonstration)[: max_tokens - 1]
        asked, lost = prompt_within(tokenizer, prompt.messages, max_tokens - len(answer))
        cut += lost is not None
        found.append((list(asked), list(answer)))
    return found, cut


def answer_row(prompt: Sequence[int], answer: Sequence[int]) -> Json:
    """Ids of a prompt and its answer, as TRL's SFTTrainer reads them."""
    return {
        "input_ids": [*prompt, *answer],
        "completion_mask": [0] * len(prompt) + [1] * len(answer),
    }
