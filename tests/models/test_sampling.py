"""Sampling by Gumbel-max: the right distribution, and randomness that belongs to the sample."""

import pytest
import torch
from scipy import stats
from tiny_models import EOS, PAD, policy
from transformers import GenerationConfig

from rlhf.models.generation import Completion, Sampling, sample
from rlhf.models.loading import add_adapters
from rlhf.models.lora import LoraSettings
from rlhf.models.noise import gumbel

PROMPTS = [[5, 9, 11], [7], [4, 4, 8, 30, 21, 6], [12, 13], [7, 7, 7, 7]]
SEEDS = [101, 202, 303, 404, 505]


def draw(
    model: object, prompts: list[list[int]], seeds: list[int], sampling: Sampling, **changes: int
) -> list[Completion]:
    settings = {"eos_token_id": EOS, "pad_token_id": PAD, **changes}
    return sample(model, prompts, seeds, sampling, **settings)  # type: ignore[arg-type]


def first_tokens(model: object, sampling: Sampling, count: int) -> torch.Tensor:
    """How often each token came first after one prompt, over `count` seeds, (V,)."""
    drawn = draw(model, [[2, 3]] * count, list(range(count)), sampling, batch_size=1000)
    return torch.bincount(torch.tensor([one.ids[0] for one in drawn]), minlength=8)


def softmax_after(model: object, temperature: float = 1.0) -> torch.Tensor:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[2, 3]])).logits[0, -1]  # type: ignore[operator]
    return torch.softmax(logits.double() / temperature, -1)


def assert_drawn_from(counts: torch.Tensor, expected: torch.Tensor) -> None:
    """A chi-square test over the tokens that can occur; the others must not."""
    can = expected > 0
    assert counts[~can].sum() == 0
    wanted = expected[can] * counts.sum()
    assert wanted.min() > 5
    assert stats.chisquare(counts[can].numpy(), wanted.numpy()).pvalue > 0.001


def test_noise_is_gumbel() -> None:
    noise = gumbel(torch.arange(2000), 3, 50).double().flatten()
    assert stats.kstest(noise.numpy(), "gumbel_r").pvalue > 0.001
    assert float(noise.mean()) == pytest.approx(0.5772156649, abs=0.02)


def test_noise_differs_by_seed_step_and_token() -> None:
    rows = torch.cat([gumbel(torch.tensor([1, 2, 3]), step, 100) for step in range(4)])
    assert rows.unique().numel() > 0.999 * rows.numel()
    correlation = torch.corrcoef(rows)
    assert (correlation - torch.eye(12)).abs().max() < 0.4  # 100 tokens: four standard errors


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_samples_follow_the_softmax(temperature: float) -> None:
    model = policy(8, dtype=torch.float32, initializer_range=0.1)
    counts = first_tokens(model, Sampling(1, temperature), 4000)
    assert_drawn_from(counts, softmax_after(model, temperature))


def test_second_token_follows_the_softmax_after_the_first() -> None:
    model = policy(8, dtype=torch.float32, initializer_range=0.1)
    drawn = draw(model, [[2]] * 6000, list(range(6000)), Sampling(2), batch_size=2000)
    second = [one.ids[1] for one in drawn if one.ids[0] == 3]
    with torch.no_grad():
        expected = torch.softmax(model(input_ids=torch.tensor([[2, 3]])).logits[0, -1].double(), -1)
    assert len(second) > 300
    assert_drawn_from(torch.bincount(torch.tensor(second), minlength=8), expected)


def test_top_k_keeps_the_k_best_and_rescales() -> None:
    model = policy(8, dtype=torch.float32, initializer_range=0.1)
    full = softmax_after(model)
    kept = torch.where(full >= full.sort(descending=True).values[2], full, 0)
    assert (kept > 0).sum() == 3
    counts = first_tokens(model, Sampling(1, top_k=3), 3000)
    assert_drawn_from(counts, kept / kept.sum())


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    model = policy(8, dtype=torch.float32, initializer_range=0.1)
    full = softmax_after(model)
    best = full.sort(descending=True)
    enough = int((best.values.cumsum(0) < 0.6).sum()) + 1
    kept = torch.zeros_like(full)
    kept[best.indices[:enough]] = best.values[:enough]
    assert 1 < enough < 8
    counts = first_tokens(model, Sampling(1, top_p=0.6), 3000)
    assert_drawn_from(counts, kept / kept.sum())


def test_batch_order_and_padding_do_not_decide() -> None:
    model, sampling = policy(dtype=torch.float32), Sampling(12)
    together = draw(model, PROMPTS, SEEDS, sampling)
    alone = [
        draw(model, [prompt], [seed], sampling)[0]
        for prompt, seed in zip(PROMPTS, SEEDS, strict=True)
    ]
    turned = draw(model, PROMPTS[::-1], SEEDS[::-1], sampling)[::-1]
    halves = draw(model, PROMPTS, SEEDS, sampling, batch_size=2)
    padded = draw(model, [*PROMPTS, [3] * 50], [*SEEDS, 1], sampling)[:-1]
    assert together == alone == turned == halves == padded
    assert len({one.ids for one in together}) == 5


def test_the_seed_decides() -> None:
    model, sampling = policy(dtype=torch.float32), Sampling(12)
    drawn = draw(model, [[5, 9]] * 6, [1, 2, 3, 1, 2**63 - 1, -1], sampling)
    assert drawn[0] == drawn[3]
    assert len({one.ids for one in drawn[:3]}) == 3


def test_low_temperature_is_the_argmax() -> None:
    model = policy(dtype=torch.float32)
    (drawn,) = draw(model, [[5, 9]], [1], Sampling(6, temperature=1e-4))
    ids = [5, 9]
    for token in drawn.ids:
        with torch.no_grad():
            assert token == int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)


def test_stops_at_eos_and_says_whether_it_did() -> None:
    model = policy(8, dtype=torch.float32, initializer_range=0.1)
    drawn = draw(model, [[2, 3]] * 300, list(range(300)), Sampling(4))
    for one in drawn:
        assert 1 <= len(one.ids) <= 4
        assert one.finished == (one.ids[-1] == EOS)
        assert EOS not in one.ids[:-1]
        assert one.finished or len(one.ids) == 4
    assert 30 < sum(one.finished for one in drawn) < 270


def test_padding_with_eos_changes_no_sample() -> None:
    model, seeds = policy(8, dtype=torch.float32, initializer_range=0.1), list(range(100))
    prompts = [[2] * (1 + i % 5) for i in range(100)]
    apart = draw(model, prompts, seeds, Sampling(4))
    same = draw(model, prompts, seeds, Sampling(4), pad_token_id=EOS)
    assert apart == same
    assert {one.finished for one in same} == {True, False}


def test_generation_settings_saved_with_a_model_do_not_bend_the_distribution() -> None:
    model = policy(8, dtype=torch.float32, initializer_range=0.1)
    asked = ([[2, 3]] * 200, list(range(200)), Sampling(3))
    expected = draw(model, *asked)
    saved = GenerationConfig(repetition_penalty=4.0, min_new_tokens=3, no_repeat_ngram_size=1)
    model.generation_config = saved
    assert draw(model, *asked) == expected
    assert model.generation_config is saved
    adapted = add_adapters(model, LoraSettings(r=2), "CAUSAL_LM")
    assert draw(adapted, *asked) == expected


def test_training_mode_comes_back() -> None:
    model = policy(dtype=torch.float32)
    for training in (True, False):
        model.train(training)
        draw(model, [[5]], [1], Sampling(2))
        assert model.training is training


def test_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot continue an empty prompt"):
        draw(policy(dtype=torch.float32), [[5], []], [1, 2], Sampling(2))


def test_progress_counts_samples() -> None:
    seen: list[tuple[int, int]] = []
    sample(
        policy(dtype=torch.float32),
        PROMPTS,
        SEEDS,
        Sampling(1),
        eos_token_id=EOS,
        pad_token_id=PAD,
        batch_size=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]
