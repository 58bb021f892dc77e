"""The small decoder of the built-in world: its tokenizer, its shape, its pretraining.

A standard Llama, saved as a folder that loads like any hub model; without a chat template, as base
models come.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainingArguments

from rlhf.data.identity import Json
from rlhf.models.conversation import CHAT_TOKENS
from rlhf.models.training import QuietTrainer, fit

PAD, EOS = "<|pad|>", "<|end|>"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learned from `texts`: with padding, end of text, role tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, EOS, *CHAT_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )


def make_decoder(
    tokenizer: PreTrainedTokenizerFast, *, hidden_size: int, num_layers: int, context_tokens: int
) -> LlamaForCausalLM:
    """A freshly initialised Llama for this tokenizer (tied embeddings, heads of 32)."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=hidden_size * 8 // 3 // 16 * 16,
        num_hidden_layers=num_layers,
        num_attention_heads=max(1, hidden_size // 32),
        num_key_value_heads=max(1, hidden_size // 32),
        max_position_embeddings=context_tokens,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        attention_dropout=0.0,
    )
    return LlamaForCausalLM(config)


class Documents(torch.utils.data.Dataset[dict[str, list[int]]]):
    """Tokenised documents, each ended by EOS."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], limit: int
    ) -> None:
        end = [tokenizer.eos_token_id]
        encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        self.rows = [(ids + end)[:limit] for ids in encoded]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {"input_ids": self.rows[index]}


@dataclass(frozen=True, slots=True)
class DocumentCollator:
    """Pads documents on the right; padding carries no loss."""

    pad_token_id: int

    def __call__(self, batch: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in batch)
        ids = torch.full((len(batch), width), self.pad_token_id)
        labels = torch.full((len(batch), width), -100)
        for number, row in enumerate(batch):
            tokens = torch.tensor(row["input_ids"])
            ids[number, : len(tokens)] = labels[number, : len(tokens)] = tokens
        return {"input_ids": ids, "labels": labels}


def pretrain(
    documents: Sequence[str],
    output: Path,
    trainer_args: Json,
    *,
    vocab_size: int,
    hidden_size: int,
    num_layers: int,
    context_tokens: int,
    seed: int,
    log: Callable[[Json], None],
    progress: Callable[[int, int], None],
) -> Json:
    """Learns a tokenizer and a decoder from plain documents and saves both in `output`.

    Returns `parameters`, `tokens`, and the last logged `loss` in nats per token.
    """
    tokenizer = train_tokenizer(documents, vocab_size)
    torch.manual_seed(seed)
    model = make_decoder(
        tokenizer, hidden_size=hidden_size, num_layers=num_layers, context_tokens=context_tokens
    )
    rows = Documents(tokenizer, documents, context_tokens)
    trainer = QuietTrainer(
        model=model,
        args=TrainingArguments(**trainer_args),
        train_dataset=rows,
        data_collator=DocumentCollator(tokenizer.pad_token_id),
        processing_class=tokenizer,
    )
    last = fit(trainer, log=log, progress=progress)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return {
        "parameters": model.num_parameters(),
        "tokens": sum(map(len, rows.rows)),
        "loss": last.get("loss"),
    }
