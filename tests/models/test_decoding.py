"""Decoding on kept keys and values: the same tokens as transformers' `generate`, for less work."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny_models import EOS, PAD, policy
from transformers import AutoConfig, AutoModelForCausalLM

from rlhf.models import generation
from rlhf.models.decoding import Continuation, continue_rows, decodes
from rlhf.models.generation import Completion, Sampling, sample
from rlhf.models.noise import gumbel

PROMPTS = [[5, 9, 11], [7], [5, 9, 11], [4, 4, 6, 5, 3, 6], [7], [5, 9, 11], [6, 6]]
SEEDS = list(range(7))
SMALL = {"vocab_size": 16, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"intermediate_size": 48},
    "qwen2": {"intermediate_size": 48, "num_key_value_heads": 2},
    "qwen3": {"intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8},
    "gemma": {"intermediate_size": 48, "num_key_value_heads": 1, "head_dim": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gpt_neox": {"intermediate_size": 48},
    "phi3": {"intermediate_size": 48, "pad_token_id": 0},
    "mistral": {"intermediate_size": 48, "num_key_value_heads": 2, "sliding_window": None},
}


def made(family: str, **changes: Any) -> Any:
    torch.manual_seed(1)
    settings = {**SMALL, "initializer_range": 0.5, **FAMILIES.get(family, {}), **changes}
    special = {"bos_token_id": None, "eos_token_id": None}
    config = AutoConfig.for_model(family, **settings, **special)
    return AutoModelForCausalLM.from_config(config).eval()


def draw(model: Any, sampling: Sampling, **changes: Any) -> list[Completion]:
    named = {"eos_token_id": EOS, "pad_token_id": PAD, **changes}
    return sample(model, PROMPTS, SEEDS, sampling, **named)


@pytest.fixture
def generate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes `sample` go through transformers' `generate`."""

    def away() -> None:
        monkeypatch.setattr(generation, "decodes", lambda *_: False)

    return away  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("family", "attention"), [*((name, "sdpa") for name in FAMILIES), ("qwen2", "eager")]
)
def test_same_tokens_as_generate(family: str, attention: str, generate: Any) -> None:
    model = made(family, attn_implementation=attention)
    assert decodes(model, 30)
    sampling = Sampling(20, temperature=0.9, top_k=12)
    ours = draw(model, sampling)
    generate()
    assert ours == draw(model, sampling)
    assert len({one.ids for one in ours}) >= 5


def test_what_is_not_a_plain_decoder_goes_through_generate() -> None:
    window = made("mistral", sliding_window=8)
    assert decodes(window, 8)
    assert not decodes(window, 9)
    state = AutoConfig.for_model("mamba", hidden_size=32, num_hidden_layers=1, vocab_size=16)
    assert not decodes(AutoModelForCausalLM.from_config(state), 8)


class Counted(torch.nn.Module):
    """Counts the rows and the tokens that pass through an embedding."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.shapes: list[tuple[int, int]] = []

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.shapes.append((ids.shape[0], ids.shape[1]))
        return self.inner(ids)  # type: ignore[no-any-return]


def test_a_prompt_is_read_once_and_rows_that_ended_leave() -> None:
    model: Any = policy(8, dtype=torch.float32, initializer_range=0.1)
    counted = Counted(model.get_input_embeddings())
    model.set_input_embeddings(counted)
    prompts, seeds = [[2, 3, 5]] * 40, list(range(40))
    drawn = sample(model, prompts, seeds, Sampling(30), eos_token_id=EOS, pad_token_id=PAD)
    assert counted.shapes[0] == (1, 3)  # one prompt, whatever the number of samples
    rows = [count for count, _ in counted.shapes[1:]]
    needed = [sum(len(one.ids) > step for one in drawn) for step in range(1, 30)]
    assert rows == sorted(rows, reverse=True)
    assert len(rows) == sum(need > 0 for need in needed)  # no step after the last has ended
    assert all(need <= have for need, have in zip(needed, rows, strict=False))
    assert sum(rows) < 1.4 * sum(needed)
    assert sum(rows) < 0.5 * 40 * 29


def continuation(model: Any, steps: int) -> Continuation:
    def choose(logits: torch.Tensor, seeds: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return (logits + gumbel(seeds, step, logits.shape[1])).argmax(1)

    return Continuation(model, PROMPTS, torch.tensor(SEEDS), steps, choose, PAD)


@torch.inference_mode()
def test_a_step_with_fixed_shapes_draws_the_same() -> None:
    """What a GPU replays, run here step by step, with rows leaving on the way; what stood in memory
    before is never read.
    """
    model = made("qwen2")
    expected = continue_rows(continuation(model, 24), 24, eos_token_id=-1)
    rows = continuation(model, 24)
    living = torch.tensor([True, False, True, True, True, False, True])
    for stretch in (7, 16):
        for layer in rows.cache.layers:
            layer.all_keys[:, :, layer.filled :] = torch.nan
            layer.all_values[:, :, layer.filled :] = torch.nan
        rows.hold_still()
        for _ in range(stretch):
            rows.still_step()
        rows.out[rows.rows, rows.steps : rows.steps + stretch] = rows.drawn[
            :, rows.steps : rows.steps + stretch
        ]
        rows.steps += stretch
        if stretch == 7:
            rows.keep(living)
    assert torch.equal(rows.out[living], expected[living])
    assert torch.equal(rows.out[:, :8], expected[:, :8])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.inference_mode()
def test_replayed_steps_draw_what_plain_steps_draw() -> None:
    model = made("qwen2").to("cuda", torch.float64)
    ours = draw(model, Sampling(40))
    cpu = draw(model.to("cpu"), Sampling(40))
    assert ours == cpu
