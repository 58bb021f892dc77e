"""A prompt read once for all its responses: the same numbers, for the models that allow it."""

import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import EOS, PAD, every_response, gradients, policy, reward_model
from transformers import AutoModelForSequenceClassification

from rlhf.models import packing
from rlhf.models.batching import Rows, hidden_states, make_rows, sequence_logprobs
from rlhf.models.packing import in_batches, pack, pays, per_response, shares_prefix
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.scorer import score_rows
from rlhf.reward.trainer import RankedCollator, RewardArguments

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "bos_token_id": EOS,
    "num_labels": 1,
    "initializer_range": 0.25,
}
# Prompts and responses of unlike length, one prompt with a single response, all in disorder.
PROMPTS = [[5, 9, 11, 4], [7], [5, 9, 11, 4], [4, 4], [7], [5, 9, 11, 4], [7]]
RESPONSES = [[6, 3, EOS], [9, 17, 20, 2, EOS], [EOS], [31, 8], [8, EOS], [6, 6, 6, 6, 6, 6], [3]]
texts = st.lists(st.integers(2, 39), min_size=1, max_size=7)


def named(kind: str, **changes: object) -> torch.nn.Module:
    from transformers import AutoConfig

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES, **changes})
    return AutoModelForSequenceClassification.from_config(config).eval()  # type: ignore[no-any-return]


def both_ways(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    dtype: torch.dtype,
    budget: int = 2048,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Rewards, then log-probs: the numbers and the gradient of a weighted sum, a row each and
    shared.
    """
    weight = torch.linspace(-1, 2, len(prompts), dtype=dtype)
    found = []
    for make, compute in ((reward_model, score_rows), (policy, sequence_logprobs)):
        for shared in (False, True):
            model = make(dtype=dtype)
            packs = list(pack(prompts, responses, PAD, shared=shared, budget_tokens=budget))
            numbers = per_response(compute, model, packs)
            (weight * numbers).sum().backward()
            found.append((numbers.detach(), gradients(model)))
    return found


def test_a_pack_by_hand() -> None:
    (one,) = pack([[5, 9], [7], [5, 9]], [[6, 1], [8, 3, 1], [4]], PAD, shared=True)
    assert one.prompts is not None
    assert one.prompts.input_ids.tolist() == [[0, 7], [5, 9]]
    assert one.prompts.position_ids.tolist() == [[0, 0], [0, 1]]
    (part,) = one.parts
    assert part.rows.input_ids.tolist() == [[0, 0, 4], [0, 6, 1], [8, 3, 1]]
    assert part.rows.attention_mask.tolist() == [[0, 0, 1], [0, 1, 1], [1, 1, 1]]
    assert part.rows.position_ids[0, 2:].tolist() == [2]
    assert part.rows.position_ids[1, 1:].tolist() == [2, 3]
    assert part.rows.position_ids[2].tolist() == [1, 2, 3]
    assert part.prompts.tolist() == [1, 1, 0]
    assert part.places.tolist() == [2, 0, 1]


@pytest.mark.parametrize("budget", [1, 12, 500])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-8)], ids=["f32", "f64"]
)
def test_rewards_logprobs_and_gradients_are_those_of_a_row_each(
    dtype: torch.dtype, tolerance: float, budget: int
) -> None:
    apart, together, *logprobs = both_ways(PROMPTS, RESPONSES, dtype, budget)
    for own, shared in ((apart, together), logprobs):
        assert torch.allclose(own[0], shared[0], atol=tolerance, rtol=0)
        largest = float(own[1].abs().max())
        assert float((own[1] - shared[1]).abs().max()) < tolerance * largest
        assert largest > 0.1


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=4)), min_size=1, max_size=4))
def test_whatever_the_texts(groups: list[tuple[list[int], list[list[int]]]]) -> None:
    prompts = [prompt for prompt, answers in groups for _ in answers]
    responses = [answer for _, answers in groups for answer in answers]
    apart, together, *logprobs = both_ways(prompts, responses, torch.float64)
    assert torch.allclose(apart[0], together[0], atol=1e-8)
    assert torch.allclose(logprobs[0][0], logprobs[1][0], atol=1e-8)


def test_a_response_sees_its_prompt_and_not_its_neighbours() -> None:
    model = reward_model()

    def scores(prompts: list[list[int]], responses: list[list[int]]) -> torch.Tensor:
        return per_response(
            score_rows, model, list(pack(prompts, responses, PAD, shared=True))
        ).detach()

    before = scores(PROMPTS, RESPONSES)
    other = [*RESPONSES[:-2], [12, 13, 14, 15, 16, 17], RESPONSES[-1]]
    after = scores(PROMPTS, other)
    assert float((before - after)[5].abs()) > 0.01
    assert torch.allclose(torch.cat([before[:5], before[6:]]), torch.cat([after[:5], after[6:]]))
    asked = [[6, *prompt[1:]] for prompt in PROMPTS]
    assert ((scores(asked, RESPONSES) - before).abs() > 1e-4).all()


def test_probabilities_of_all_responses_sum_to_one() -> None:
    answers = list(every_response(5, 3))
    packs = list(pack([[2, 3]] * len(answers), answers, PAD, shared=True))
    total = per_response(sequence_logprobs, policy(vocab_size=5), packs).exp().sum()
    assert float(total.detach()) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("budget", [1, 12, 500])
def test_lists_come_back_in_their_order(budget: int) -> None:
    model = reward_model()
    found = in_batches(score_rows, model, PROMPTS, RESPONSES, PAD, budget_tokens=budget)
    with torch.no_grad():
        alone = [
            float(score_rows(model, make_rows([p], [r], PAD)))
            for p, r in zip(PROMPTS, RESPONSES, strict=True)
        ]
    assert found == pytest.approx(alone, abs=1e-10)
    assert in_batches(score_rows, model, [], [], PAD) == []


@pytest.mark.parametrize("times", [1, 2])
def test_a_long_list_is_made_into_tensors_a_pack_at_a_time(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    done: list[str] = []

    def noted(*rows: Any) -> Rows:
        done.append("made")
        return make_rows(*rows)

    def compute(_model: object, rows: Rows, _prefix: object) -> torch.Tensor:
        done.append("read")
        return rows.input_ids[:, -1].double()

    monkeypatch.setattr(packing, "make_rows", noted)
    monkeypatch.setattr(packing, "shares_prefix", lambda *_: True)
    prompts = [[*range(2, 20), 20 + n] for n in range(6)] * times
    in_batches(compute, reward_model(), prompts, [[5, EOS]] * len(prompts), PAD, budget_tokens=40)
    assert done.count("made") > 2
    assert done == ["made", "read"] * done.count("made")


def test_no_part_is_over_its_budget_with_padding() -> None:
    for shared in (False, True):
        for one in pack(PROMPTS * 9, RESPONSES * 9, PAD, shared=shared, budget_tokens=30):
            assert one.prompts is None or one.prompts.input_ids.numel() <= 30
            assert all(part.rows.input_ids.numel() <= 30 for part in one.parts)


def test_sharing_pays_where_prompts_repeat_and_are_long_enough() -> None:
    assert pays([[1] * 64] * 2, [[2] * 64] * 2)  # 256 tokens against 192
    assert not pays([[1] * 8] * 2, [[2] * 64] * 2)  # 144 against 136
    assert not pays([[1] * 64, [3] * 64], [[2] * 64] * 2)
    assert not pays([[1] * 64] * 2, [[2] * 64, []])


NEO = {"num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]}
TURNED = {"rope_theta": 10000.0, "factor": 4.0}
YARN = {**TURNED, "rope_type": "yarn", "original_max_position_embeddings": 30}
DYNAMIC = {**TURNED, "rope_type": "dynamic"}
LONG = {**TURNED, "rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8}


@pytest.mark.parametrize(
    ("kind", "changes", "shares"),
    [
        ("llama", {}, True),
        ("qwen2", {}, True),
        ("qwen3", {"head_dim": 16}, True),
        ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}, True),
        ("gpt_neox", {}, True),
        ("mistral", {"sliding_window": 64}, True),
        ("mistral", {"sliding_window": 30}, False),
        ("gemma3_text", {"head_dim": 16, "sliding_window": 30}, False),
        ("gpt_neo", {**NEO, "window_size": 40}, True),
        ("gpt_neo", {**NEO, "window_size": 30}, False),
        ("llama", {"rope_parameters": YARN}, True),
        ("llama", {"max_position_embeddings": 40, "rope_parameters": DYNAMIC}, True),
        ("llama", {"max_position_embeddings": 30, "rope_parameters": DYNAMIC}, False),
        ("phi3", {"original_max_position_embeddings": 40, "rope_parameters": LONG}, True),
        ("phi3", {"original_max_position_embeddings": 30, "rope_parameters": LONG}, False),
        ("bert", {}, False),
        ("bert", {"initializer_range": 0.02}, False),  # what comes after changes next to nothing
    ],
)
def test_which_models_share(kind: str, changes: dict[str, object], shares: bool) -> None:
    model = named(kind, **changes)
    assert shares_prefix(model, 40) is shares  # type: ignore[arg-type]
    if shares:
        packs = [list(pack(PROMPTS, RESPONSES, PAD, shared=shared)) for shared in (False, True)]
        with torch.no_grad():
            own, shared = (per_response(score_rows, model, one) for one in packs)  # type: ignore[arg-type]
        assert torch.allclose(own, shared, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("mistral", {"sliding_window": 24}), ("gpt_neo", {**NEO, "window_size": 24})],
)
def test_padding_between_prompt_and_response_takes_its_place_in_a_window(
    kind: str, changes: dict[str, object]
) -> None:
    model: Any = named(kind, **changes)
    # No row is longer than the window, but the longest prompt before the longest response is.
    prompts = [[*range(2, 22)], [*range(2, 22)], [*range(3, 17)], [*range(3, 17)]]
    responses = [[9, 4, 8, EOS], [30, 7, EOS], [*range(20, 29), EOS], [*range(30, 39), EOS]]
    apart = [
        in_batches(score_rows, model, [p], [r], PAD)[0]
        for p, r in zip(prompts, responses, strict=True)
    ]
    assert in_batches(score_rows, model, prompts, responses, PAD) == pytest.approx(apart, abs=1e-5)
    (shared,) = pack(prompts, responses, PAD, shared=True)
    wrong = per_response(score_rows, model, [shared]).tolist()
    assert wrong != pytest.approx(apart, abs=1e-2)
    ranked = [
        RankedPrompt(f"{n}", tuple(p), (tuple(r),), (1,), (), (), ())
        for n, (p, r) in enumerate(zip(prompts, responses, strict=True))
    ]
    collator = RankedCollator.for_model(model, PAD, ranked, RewardArguments(use_cpu=True))
    assert not collator.shared


def test_a_model_that_answers_otherwise_is_found_out() -> None:
    model = reward_model(dtype=torch.float32)
    assert shares_prefix(model, 40)
    # Reads positions off the length of what it is given, whatever it is told.
    model.model.register_forward_pre_hook(
        lambda _module, args, named: (args, {**named, "position_ids": None}), with_kwargs=True
    )
    assert not shares_prefix(model, 40)


def test_recomputed_activations_keep_nothing_to_share() -> None:
    model = reward_model(dtype=torch.float32)
    model.gradient_checkpointing_enable()
    assert not shares_prefix(model, 40)


def test_asking_leaves_the_model_and_the_random_numbers_as_they_were() -> None:
    model = reward_model(dtype=torch.float32).train()
    state = torch.random.get_rng_state()
    shares_prefix(model, 40)
    assert model.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert hidden_states(model, make_rows([[5]], [[6]], PAD)).requires_grad


def test_nobody_is_warned_of_names_that_transformers_changed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert shares_prefix(policy(), 20)
