"""The log-probabilities of responses: what is summed, over which tokens, whatever stands around."""

import math
from collections.abc import Sequence

import pytest
import torch
from tiny_models import EOS, PAD, every_response, gradients, policy

from rlhf.models import batching
from rlhf.models.batching import (
    Rows,
    by_length,
    make_rows,
    response_logprobs,
    sequence_logprobs,
)
from rlhf.models.packing import pack, per_response

PROMPTS = [[5, 9, 11], [7], [4, 4, 8, 30, 21, 6], [12, 13]]
RESPONSES = [[6, 3, EOS], [9, 17, 20, 2, EOS], [EOS], [31, 8, 8, 8]]


def by_hand(prompt: Sequence[int], response: Sequence[int], temperature: float = 1.0) -> float:
    """The sum over the response of log softmax at the position before each token, one row."""
    model = policy()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0] / temperature
    logprobs = torch.log_softmax(logits, -1)
    start = len(prompt)
    return sum(float(logprobs[start + i - 1, token]) for i, token in enumerate(response))


def test_rows_by_hand() -> None:
    rows = make_rows([[5, 9], [7]], [[6, EOS], [8, 9, EOS]], PAD)
    assert rows.input_ids.tolist() == [[5, 9, 6, 1], [7, 8, 9, 1]]
    rows = make_rows([[5], [7, 7]], [[EOS], [8, 9, EOS]], PAD)
    assert rows.input_ids.tolist() == [[0, 0, 0, 5, 1], [7, 7, 8, 9, 1]]
    assert rows.attention_mask.tolist() == [[0, 0, 0, 1, 1], [1, 1, 1, 1, 1]]
    assert rows.position_ids.tolist() == [[0, 0, 0, 0, 1], [0, 1, 2, 3, 4]]
    assert rows.response_mask.tolist() == [[0, 0, 0, 0, 1], [0, 0, 1, 1, 1]]
    assert rows[torch.tensor([1])].response_mask.tolist() == [[0, 0, 1, 1, 1]]


def test_prompts_and_responses_must_pair_up() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        make_rows([[5], [7]], [[EOS]], PAD)


@pytest.mark.parametrize("temperature", [1.0, 0.7, 1.8])
def test_equal_an_explicit_log_softmax(temperature: float) -> None:
    found = response_logprobs(policy(), make_rows(PROMPTS, RESPONSES, PAD), temperature).sum(1)
    expected = [by_hand(p, r, temperature) for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-10)


def test_each_token_stands_in_its_own_column_and_prompts_carry_nothing() -> None:
    rows = make_rows(PROMPTS, RESPONSES, PAD)
    found = response_logprobs(policy(), rows)
    assert found.shape == rows.input_ids.shape
    assert (found[rows.response_mask == 0] == 0).all()
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        heads = [by_hand(prompt, response[: n + 1]) for n in range(len(response))]
        steps = [b - a for a, b in zip([0.0, *heads[:-1]], heads, strict=True)]
        assert found[row, -len(response) :].tolist() == pytest.approx(steps, abs=1e-10)


def test_batch_size_order_and_padding_change_nothing() -> None:
    model = policy(dtype=torch.float32)
    together = response_logprobs(model, make_rows(PROMPTS, RESPONSES, PAD)).sum(1)
    alone = [
        response_logprobs(model, make_rows([p], [r], PAD)).sum()
        for p, r in zip(PROMPTS, RESPONSES, strict=True)
    ]
    turned = response_logprobs(model, make_rows(PROMPTS[::-1], RESPONSES[::-1], PAD)).sum(1)
    wide = make_rows([*PROMPTS, [3] * 40], [*RESPONSES, [EOS]], PAD)
    padded = response_logprobs(model, wide).sum(1)[:-1]
    for other in (torch.stack(alone), turned.flip(0), padded):
        assert torch.allclose(together, other, atol=1e-5)


def test_what_stands_in_the_padding_cannot_matter() -> None:
    rows = make_rows(PROMPTS, RESPONSES, PAD)
    scribbled = torch.where(rows.attention_mask.bool(), rows.input_ids, 17)
    other = Rows(scribbled, rows.attention_mask, rows.position_ids, rows.response_mask)
    with_pad_as_eos = make_rows(PROMPTS, RESPONSES, EOS)
    expected = response_logprobs(policy(), rows)
    assert torch.allclose(expected, response_logprobs(policy(), other), atol=1e-12)
    assert torch.allclose(expected, response_logprobs(policy(), with_pad_as_eos), atol=1e-12)


def test_chunks_of_like_length_by_hand() -> None:
    rows = make_rows([[5], [7, 7], [9]], [[EOS], [8, 9, EOS], [4, EOS]], PAD)
    (first, short), (second, long) = by_length(rows, 2)
    assert (first.tolist(), second.tolist()) == ([0, 2], [1])
    assert short.input_ids.tolist() == [[0, 5, 1], [9, 4, 1]]
    assert short.attention_mask.tolist() == [[0, 1, 1], [1, 1, 1]]
    assert short.position_ids.tolist() == [[0, 0, 1], [0, 1, 2]]
    assert short.response_mask.tolist() == [[0, 0, 1], [0, 1, 1]]
    assert long.input_ids.tolist() == [[7, 7, 8, 9, 1]]


@pytest.mark.parametrize("budget", [1, 12, 24, 500])
def test_parts_change_neither_numbers_nor_gradient(budget: int) -> None:
    prompts, responses = [*PROMPTS, *PROMPTS], [*RESPONSES, *RESPONSES[::-1]]
    weight = torch.linspace(-1, 2, 8, dtype=torch.float64)
    one, many = policy(), policy()
    whole = sequence_logprobs(one, make_rows(prompts, responses, PAD))
    (weight * whole).sum().backward()
    packs = list(pack(prompts, responses, PAD, shared=False, budget_tokens=budget))
    parts = per_response(sequence_logprobs, many, packs)
    (weight * parts).sum().backward()
    assert torch.allclose(parts, whole, atol=1e-12)
    assert torch.allclose(gradients(many), gradients(one), atol=1e-10)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_probabilities_of_all_responses_sum_to_one(temperature: float) -> None:
    model = policy(vocab_size=5)
    answers = list(every_response(5, 4))
    assert len(answers) == 1 + 4 + 16 + 64 + 256
    rows = make_rows([[2, 3]] * len(answers), answers, PAD)
    total = response_logprobs(model, rows, temperature).sum(1).exp().sum()
    assert float(total.detach()) == pytest.approx(1, abs=1e-10)


def test_gradient_through_chunks_made_again_equals_the_plain_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = make_rows(PROMPTS, RESPONSES, PAD)
    weight = torch.linspace(-1, 2, rows.input_ids.numel(), dtype=torch.float64).view_as(
        rows.input_ids
    )
    monkeypatch.setattr(batching, "LOGPROB_CHUNK_TOKENS", 3)  # 13 response tokens, five chunks
    model = policy()
    found = response_logprobs(model, rows, 0.8)
    (weight * found).sum().backward()
    chunked = gradients(model)

    plain = policy()
    logits = plain(
        input_ids=rows.input_ids,
        attention_mask=rows.attention_mask,
        position_ids=rows.position_ids,
    ).logits
    logprobs = torch.log_softmax(logits[:, :-1] / 0.8, -1)
    picked = logprobs.gather(2, rows.input_ids[:, 1:, None])[..., 0] * rows.response_mask[:, 1:]
    (weight[:, 1:] * picked).sum().backward()
    assert torch.allclose(found[:, 1:], picked, atol=1e-12)
    assert torch.allclose(chunked, gradients(plain), atol=1e-10)
    assert chunked.abs().max() > 0.1


def test_half_precision_logits_are_normalised_in_float32() -> None:
    model = policy(dtype=torch.bfloat16)
    with torch.no_grad():
        found = response_logprobs(model, make_rows(PROMPTS, RESPONSES, PAD))
        exact = response_logprobs(policy(), make_rows(PROMPTS, RESPONSES, PAD))
    assert found.dtype == torch.float32
    assert math.isclose(float(found.sum()), float(exact.sum()), rel_tol=0.02)
