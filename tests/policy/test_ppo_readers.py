"""What reads what the policy wrote must be able to: every model beside it and every text, and it is
said before the first step.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from ppo_hands import ROWS, refused, trainer_in
from tiny_models import EOS, PAD, parameters, policy, quiet_arguments, reward_model, tokenizer
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

from rlhf.data.identity import Json
from rlhf.models.decoder import train_tokenizer
from rlhf.policy.held_out import HeldOut
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.policy.rewards import SummedRewards, TextRewards, rewards_of
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer


def gpt2(kind: Any, places: int) -> Any:
    """A model with a table of so many positions."""
    torch.manual_seed(0)
    sizes: Json = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": places}
    ids: Json = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1, "num_labels": 1}
    return kind(GPT2Config(vocab_size=300, **sizes, **ids))


def judge(**changes: Any) -> Any:
    return reward_model(300, seed=4, dtype=torch.float32, **changes)


TOO_LONG = r"has places for 8 tokens, and the longest prompt with its response may have 11"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"value_model": (GPT2ForSequenceClassification, 8)}, f"the value model {TOO_LONG}"),
        ({"reward_model": (GPT2ForSequenceClassification, 8)}, f"the reward model {TOO_LONG}"),
        ({"ref_model": (GPT2LMHeadModel, 8)}, f"the reference {TOO_LONG}"),
    ],
    ids=["value model", "reward model", "reference"],
)
def test_a_model_with_too_few_places_is_refused(tmp_path: Path, changes: Json, says: str) -> None:
    """They were an index out of range in the first rollout."""
    refused(tmp_path, says, **{name: gpt2(*how) for name, how in changes.items()})
    trainer_in(tmp_path, **{name: gpt2(kind, 11) for name, (kind, _) in changes.items()})


def test_a_reference_that_knows_fewer_tokens_is_refused(tmp_path: Path) -> None:
    few = policy(100, dtype=torch.float32)
    refused(tmp_path, "the reference knows 100 tokens and the policy writes 300", ref_model=few)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([5] * 125, "1 of 2 held-out prompts leave no room for 8 tokens in a context of 128"),
        ([5, 999], "token 999, and the policy knows 300"),
    ],
    ids=["too long", "unknown"],
)
def test_prompts_to_evaluate_on_are_checked_too(tmp_path: Path, row: list[int], says: str) -> None:
    refused(tmp_path, says, eval_dataset=Dataset.from_dict({"input_ids": [row, [6]]}))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (((5, 6), ()), "row 1 of ptx_dataset has no prompt, or no response"),
        (((), (5, 6)), "row 1 of ptx_dataset has no prompt, or no response"),
        (((5,), (300,)), "row 1 of ptx_dataset holds a token that the policy does not know"),
        (((5,), (6,) * 16), "row 1 of ptx_dataset has 17 tokens, and the policy places for 16"),
    ],
    ids=["no response", "no prompt", "unknown", "too long"],
)
def test_texts_to_mix_are_checked(tmp_path: Path, row: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        with_monitor(tmp_path, None, model=gpt2(GPT2LMHeadModel, 16), ptx=[((5,), (6,)), row])


def with_monitor(folder: Path, held_out: Any, *, model: Any = None, ptx: Any = None) -> PPOTrainer:
    settings = {"total_episodes": 8, "response_length": 4, "ptx_coef": 0.1 if ptx else 0.0}
    return PPOTrainer(
        args=PPOConfig(**quiet_arguments(folder, **settings)),
        processing_class=tokenizer(),
        model=policy(300, dtype=torch.float32) if model is None else model,
        reward_model=judge(),
        train_dataset=Dataset.from_dict({"input_ids": ROWS}),
        ptx_dataset=ptx,
        held_out=held_out,
    )


def test_a_monitor_may_be_a_model_and_its_prompts_a_data_set(tmp_path: Path) -> None:
    """As the reward model and the prompts of a training may be."""
    other = judge(hidden_dropout=0.5)
    rows = Dataset.from_dict({"input_ids": ROWS[:2]})
    made = with_monitor(tmp_path / "plain", HeldOut(rows, other))
    made.train()
    asked = [PromptIds(one.id, one.ids) for one in made.held_out.prompts]  # type: ignore[union-attr]
    spelled = with_monitor(tmp_path / "spelled", HeldOut(asked, Scorer(judge(), PAD)))
    spelled.train()
    assert made.watch.history == spelled.watch.history
    assert "held_out/monitor" in made.watch.history[0]
    assert not any(weight.requires_grad for weight in other.parameters())


def test_a_monitor_that_gives_no_single_score_is_refused(tmp_path: Path) -> None:
    held_out = HeldOut([PromptIds("a", (5,))], policy(300, dtype=torch.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="LlamaForCausalLM has no score head and cannot be the mo"):
        with_monitor(tmp_path, held_out)


class Whole:
    """A reward that counts in whole numbers."""

    def score(self, _: Sequence[Any], responses: Sequence[Sequence[int]]) -> list[int]:
        return [len(one) for one in responses]


def test_rewards_may_be_whole_numbers(tmp_path: Path) -> None:
    class Wide(Whole):
        def score(self, *asked: Any) -> list[Any]:
            return [float(one) for one in super().score(*asked)]

    runs = []
    for number, reward in enumerate((Whole(), Wide())):
        rows = Dataset.from_dict({"input_ids": ROWS[:2]})
        made = trainer_in(tmp_path / str(number), reward_model=reward, eval_dataset=rows)
        made.train()
        runs.append(parameters(made.trained))
    assert torch.equal(*runs)


@pytest.mark.parametrize("given", [None, [None] * 8, ["good"] * 8])
def test_rewards_that_are_no_numbers_are_named(tmp_path: Path, given: Any) -> None:
    class Odd:
        def score(self, *_: Any) -> Any:
            return given

    with pytest.raises(ValueError, match="the reward model must give one number for each response"):
        trainer_in(tmp_path, reward_model=Odd()).train()


def test_rewards_that_are_added_must_be_as_many() -> None:
    class One:
        def score(self, *_: Any) -> list[float]:
            return [1.0]

    with pytest.raises(ValueError, match=r"gave \[2, 1\] numbers for 2 responses"):
        SummedRewards((Whole(), One())).score([[5], [5]], [[6], [7, 8]])  # type: ignore[arg-type]


def test_another_tokenizer_without_an_eos_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """It was None among token ids, once a response had ended."""
    caplog.set_level(logging.ERROR)
    other = train_tokenizer(["aa bb"] * 3, 280)
    other.pad_token = None  # as Llama's: what stands in the padding cannot matter
    reads = rewards_of(judge(), None, tokenizer(), other)
    asked = [[5, 6], [7]], [[8, EOS], [9, 10, 11, 12]]
    assert reads.score(*asked) == pytest.approx(
        [reads.score([p], [r])[0] for p, r in zip(*asked, strict=True)], abs=1e-5
    )
    other.eos_token = None
    with pytest.raises(ValueError, match=r"of the reward model has no EOS, .* to its sep_token"):
        rewards_of(judge(), None, tokenizer(), other)


def test_a_text_that_is_longer_in_another_tokenizer_is_refused_by_its_length(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    other = train_tokenizer(["aa bb"] * 3, 280)
    reads = TextRewards(Scorer(gpt2(GPT2ForSequenceClassification, 8), 0), tokenizer(), other)
    text = tokenizer()("three fruits that are red")["input_ids"]
    with pytest.raises(ValueError, match=r"has places for 8 tokens, and a prompt with its .* has"):
        reads.score([text], [text])
