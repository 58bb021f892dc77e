"""SFT: the loss is that of the answers alone, and the validation loss is a mean over tokens."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import (
    PAD,
    SENTENCES,
    gradients,
    parameters,
    policy,
    quiet_arguments,
    save,
    tokenizer,
)
from transformers import GPT2Config, GPT2LMHeadModel

from rlhf.data.identity import Json
from rlhf.data.records import Prompt
from rlhf.models.batching import make_rows, response_logprobs
from rlhf.models.conversation import prompt_ids, response_ids
from rlhf.models.loading import load_policy
from rlhf.models.lora import LoraSettings
from rlhf.policy.sft import mean_token_loss, train_sft

TRAIN = [
    Prompt.of(SENTENCES[0], demonstration=SENTENCES[3]),
    Prompt.of(SENTENCES[1], demonstration=SENTENCES[2]),
    Prompt.of(SENTENCES[4], demonstration=SENTENCES[5]),
    Prompt.of("A prompt without a demonstration."),
]
HELD_OUT = [
    Prompt.of("How are you?", demonstration="Well."),
    Prompt.of("Where?", demonstration="The street is quiet without you, and the answer is short."),
    Prompt.of("Write.", demonstration="I do not know."),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(policy(300, dtype=torch.float32), tmp_path_factory.mktemp("base"))


def train(folder: Path, base: Path, **changes: Any) -> tuple[Json, list[Json]]:
    logged: list[Json] = []
    parts: Json = {"lora": None, "prompts": TRAIN, "validation": HELD_OUT}
    parts |= {name: changes.pop(name) for name in parts if name in changes}
    settings = {
        "max_steps": 1,
        "learning_rate": 1e-3,
        "per_device_eval_batch_size": 2,
        "bf16": False,
    }
    settings |= changes
    found = train_sft(
        base,
        parts["prompts"],
        parts["validation"],
        folder / "model",
        quiet_arguments(folder, **settings),
        chat_template=None,
        dtype="float32",
        lora=parts["lora"],
        max_tokens=parts.get("max_tokens", 200),
        log=logged.append,
        progress=lambda *_: None,
    )
    return found, logged


def ids(prompts: list[Prompt]) -> tuple[list[list[int]], list[list[int]]]:
    held = [prompt for prompt in prompts if prompt.demonstration is not None]
    asked = [prompt_ids(tokenizer(), prompt.messages) for prompt in held]
    return asked, [response_ids(tokenizer(), str(prompt.demonstration)) for prompt in held]


def by_hand(model: Any, prompts: list[Prompt]) -> torch.Tensor:
    """Mean of -log p over the tokens of all answers, EOS among them; one row at a time."""
    total, tokens = torch.zeros(()), 0
    for prompt, answer in zip(*ids(prompts), strict=True):
        logits = model(input_ids=torch.tensor([prompt + answer])).logits[0]
        logprobs = torch.log_softmax(logits.float(), -1)
        for i, token in enumerate(answer):
            total = total - logprobs[len(prompt) + i - 1, token]
        tokens += len(answer)
    return total / tokens


def test_the_prompt_carries_no_loss(tmp_path: Path, base: Path) -> None:
    _, logged = train(
        tmp_path,
        base,
        optim="sgd",
        learning_rate=0.1,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
    )
    twin = policy(300, dtype=torch.float32)
    loss = by_hand(twin, TRAIN)
    loss.backward()
    assert logged[0]["loss"] == pytest.approx(float(loss.detach()), abs=1e-5)
    change = parameters(load_policy(base)) - parameters(load_policy(tmp_path / "model"))
    assert torch.allclose(change, 0.1 * gradients(twin), atol=1e-6)
    assert change.abs().max() > 1e-3


def test_validation_loss_is_the_mean_over_answer_tokens(tmp_path: Path, base: Path) -> None:
    found, _ = train(tmp_path, base)
    assert found["demonstrations"] == 3
    with torch.no_grad():
        expected = float(by_hand(load_policy(tmp_path / "model"), HELD_OUT))
    assert found["validation_loss"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_mean_token_loss_does_not_depend_on_the_batch(batch_size: int) -> None:
    model = policy(300)
    rows = [
        {"input_ids": p + a, "completion_mask": [0] * len(p) + [1] * len(a)}
        for p, a in zip(*ids(HELD_OUT), strict=True)
    ]
    made = make_rows(*ids(HELD_OUT), PAD)
    with torch.no_grad():
        expected = float(-response_logprobs(model, made).sum() / made.response_mask.sum())
    assert mean_token_loss(model, rows, PAD, batch_size) == pytest.approx(expected, abs=1e-9)


def test_it_learns_the_demonstrations(tmp_path: Path, base: Path) -> None:
    found, logged = train(tmp_path, base, max_steps=60, learning_rate=3e-3, validation=TRAIN)
    assert logged[0]["loss"] > 4
    assert found["train_loss"] < 0.5
    assert found["validation_loss"] < 0.5


def test_without_held_out_demonstrations_there_is_no_validation_loss(
    tmp_path: Path, base: Path
) -> None:
    found, _ = train(tmp_path, base, validation=[Prompt.of("No answer.")])
    assert set(found) == {"demonstrations", "at_token_limit", "prompts_cut", "train_loss"}


def test_lora_is_merged_into_a_plain_model(tmp_path: Path, base: Path) -> None:
    found, _ = train(tmp_path, base, max_steps=20, learning_rate=1e-2, lora=LoraSettings(r=4))
    assert math.isfinite(found["validation_loss"])
    assert not (tmp_path / "model" / "adapter_config.json").exists()
    with torch.no_grad():
        expected = float(by_hand(load_policy(tmp_path / "model"), HELD_OUT))
    assert found["validation_loss"] == pytest.approx(expected, abs=1e-4)


def test_no_demonstration_is_refused(tmp_path: Path, base: Path) -> None:
    with pytest.raises(ValueError, match="no prompt of the train split has a demonstration"):
        train(tmp_path, base, prompts=TRAIN[3:])


def test_what_is_longer_than_the_table_of_positions_is_refused(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=2, n_positions=16)
    short = save(GPT2LMHeadModel(config), tmp_path / "base")
    with pytest.raises(ValueError, match=r"has \d+ tokens, and this model has places for 16"):
        train(tmp_path, short)
