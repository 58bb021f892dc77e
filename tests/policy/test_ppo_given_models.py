"""The models that PPO may be given: whole, with adapters, with values of their own; and those that
cannot serve, refused by name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from ppo_hands import refused, trainer_in
from tiny_models import PAD, parameters, policy, reward_model
from transformers import T5Config, T5ForConditionalGeneration, T5ForSequenceClassification

from rlhf.data.identity import Json
from rlhf.policy.ppo_models import PolicyAndValue, SharedTrunk
from rlhf.reward.scorer import Scorer


def test_without_a_value_model_a_head_on_the_policy_learns_the_values(tmp_path: Path) -> None:
    made = trainer_in(tmp_path, value_model=None)
    made.train()
    assert isinstance(made.trained, SharedTrunk)
    assert made.trained.value_head.weight.abs().sum() > 0


def test_adapters_are_trained_and_the_reference_is_the_policy_without(tmp_path: Path) -> None:
    start = parameters(policy(300, dtype=torch.float32))
    made = trainer_in(tmp_path, peft_config=LoraConfig(r=4, task_type="CAUSAL_LM"))
    assert made.ref_model is None
    made.train()
    log = [row["objective/kl"] for row in made.state.log_history if "eps" in row]
    assert log[0] == 0
    assert log[1] != 0
    bare = made.trained.policy.unload()
    assert torch.equal(parameters(bare), start)


def two_adapters(active: str) -> Any:
    """A policy with the adapters `learner`, which changes nothing yet, and `fixed`."""
    torch.manual_seed(1)
    model = get_peft_model(
        policy(300, dtype=torch.float32), LoraConfig(r=4), adapter_name="learner"
    )
    model.add_adapter("fixed", LoraConfig(r=4, init_lora_weights=False))
    model.set_adapter(active)
    return model


@pytest.mark.parametrize("active", ["learner", "fixed"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_reference_adapter_is_the_reference(tmp_path: Path, active: str, *, shared: bool) -> None:
    names = {"model_adapter_name": "learner", "ref_adapter_name": "fixed"}
    values: Json = {"value_model": None} if shared else {}
    made = trainer_in(tmp_path, model=two_adapters(active), **names, **values)
    made.train()
    assert made.state.log_history[0]["objective/kl_k3"] > 0.1
    for name, moves in (("fixed", False), ("learner", True)):
        before, after = (
            torch.cat([w.flatten() for n, w in model.named_parameters() if f".{name}." in n])
            for model in (two_adapters(active), made.trained.policy)
        )
        assert torch.equal(before, after) != moves


def test_without_a_reference_adapter_the_base_is_the_reference(tmp_path: Path) -> None:
    made = trainer_in(tmp_path, model=two_adapters("fixed"), model_adapter_name="learner")
    made.train()
    assert made.state.log_history[0]["objective/kl"] == 0


def test_adapters_that_are_not_there_are_refused(tmp_path: Path) -> None:
    both = "its adapters are fixed, learner"
    refused(tmp_path, both, model=two_adapters("learner"), ref_adapter_name="sft")
    refused(tmp_path, both, model=two_adapters("learner"), model_adapter_name="sft")
    refused(tmp_path, "it has no adapters", ref_adapter_name="sft")
    asleep = two_adapters("learner").requires_grad_(False)
    refused(tmp_path, "no weight of the policy is to be trained", model=asleep)
    same = "which is the adapter that is trained"
    refused(tmp_path, same, model=two_adapters("fixed"), ref_adapter_name="fixed")
    given: Json = {"ref_model": policy(300), "ref_adapter_name": "fixed"}
    refused(tmp_path, "both given", model=two_adapters("learner"), **given)


def test_a_model_that_brings_its_values_has_no_dropout_either(tmp_path: Path) -> None:
    """Or the first update would not be on policy."""
    shaky: Json = {"dtype": torch.float32, "attention_dropout": 0.5}
    joint = PolicyAndValue(policy(300, **shaky), reward_model(300, **shaky))
    made = trainer_in(tmp_path, model=joint, value_model=None, num_ppo_epochs=1)
    made.train()
    assert made.state.log_history[0]["policy/approxkl_avg"] < 1e-8


def test_models_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    one = policy(300, dtype=torch.float32)
    refused(tmp_path, "model and ref_model are one object", model=one, ref_model=one)
    judge = reward_model(300, dtype=torch.float32)
    refused(tmp_path, "are one object", value_model=judge, reward_model=judge)
    small = reward_model(40, dtype=torch.float32)
    refused(tmp_path, "knows 40 tokens and the tokenizer 300", reward_model=small)
    refused(
        tmp_path, "the value model knows 40 tokens and the policy writes 300", value_model=small
    )
    refused(tmp_path, "no score head and cannot be the reward model", reward_model=one)
    several = reward_model(300, dtype=torch.float32)
    several.config.num_labels = 2
    refused(tmp_path, "gives 2 numbers for a text", reward_model=several)
    says = "reads a prompt with an encoder and a response with a decoder"
    sizes: Json = {"vocab_size": 300, "d_model": 32, "num_layers": 1, "num_labels": 1}
    apart = T5Config(**sizes)
    refused(tmp_path, says, reward_model=T5ForSequenceClassification(apart))
    refused(tmp_path, says, model=T5ForConditionalGeneration(apart))
    narrow = policy(300, dtype=torch.float16)
    refused(tmp_path, "of the policy are trained in float16, .* dtype=torch.float32", model=narrow)
    refused(
        tmp_path, "of the value model are trained", value_model=reward_model(300, dtype=torch.half)
    )
    capped = policy(300, dtype=torch.float32)
    capped.config.final_logit_softcapping = 30.0
    refused(tmp_path, "changes its logits after the output layer", model=capped)


def test_the_reward_model_may_be_anything_that_scores_ids(tmp_path: Path) -> None:
    class LikesShort:
        def score(
            self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
        ) -> list[float]:
            return [-float(len(ids)) for ids in responses]

    made = trainer_in(tmp_path, reward_model=LikesShort())
    made.train()
    row = made.state.log_history[0]
    assert row["objective/rewards"] == pytest.approx(-row["objective/response_tokens"])
    judge = Scorer(reward_model(300, seed=4, dtype=torch.float32), PAD)
    assert isinstance(trainer_in(tmp_path, reward_model=judge).roller.rewards, Scorer)


def test_a_loss_that_overflows_stops_the_training(tmp_path: Path) -> None:
    """The Trainer logs the mean of the losses before it, and clips the gradient to nothing."""

    class Shouts:
        def score(self, prompts: Any, responses: Any) -> list[float]:
            return [1e30 * number for number in range(len(responses))]

    with pytest.raises(FloatingPointError, match="an update's loss is inf: set reward_clip"):
        trainer_in(tmp_path, reward_model=Shouts()).train()
    trainer_in(tmp_path, reward_model=Shouts(), reward_clip=5.0).train()


def test_a_score_for_each_response_is_asked_for(tmp_path: Path) -> None:
    class Forgets:
        def score(self, prompts: Any, responses: Any) -> list[float]:
            return [0.0] * (len(responses) - 1)

    made = trainer_in(tmp_path, reward_model=Forgets(), value_model=None)
    with pytest.raises(ValueError, match=r"gave scores of shape \(7,\) for 8 responses"):
        made.train()
