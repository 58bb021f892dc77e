"""One frozen base with several adapters, from models that were each trained with LoRA and merged.

What LoRA added to a weight is of low rank, so the difference of two merged models is an adapter
again: its singular value decomposition gives the factors.
"""

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from rlhf.models.loading import score_head
from rlhf.models.lora import LoraSettings
from rlhf.policy.ppo_models import POLICY, REWARD, VALUE, OneBase
from rlhf.reward.scorer import SHIFT

# Of the difference's norm: what rounding of merged weights leaves beyond the rank.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-2, torch.bfloat16: 0.3}


def one_base(policy: PreTrainedModel, reward_model: PreTrainedModel, lora: LoraSettings) -> OneBase:
    """The policy's weights, frozen, under fresh adapters for the policy, and the reward model's
    difference from them as adapters for reward and value.

    Raises ValueError where the reward model is no low-rank change of the policy.
    """
    reward = dict(reward_model.base_model.named_parameters())
    decoder = dict(policy.base_model.named_parameters())
    changed = {n: reward[n].detach() - weight.detach() for n, weight in decoder.items()}
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.r,  # the factors are taken as they are, at scale 1
        lora_dropout=0.0,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )
    fresh = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )
    base = get_peft_model(policy, fresh, adapter_name=POLICY)
    for name in (VALUE, REWARD):
        base.add_adapter(name, config)
    prefix = f"{policy.base_model_prefix}."
    for name, module in policy.named_modules():
        if hasattr(module, "lora_A") and name.startswith(prefix):
            weight = f"{name.removeprefix(prefix)}.weight"
            _fill(module, changed.pop(weight), lora.r, name)
    left = [name for name, difference in changed.items() if _is_more_than_rounding(difference)]
    if left:
        raise _no_adapter(left[0], "it is changed and has no adapter")
    shift = float(getattr(reward_model.config, SHIFT, 0.0))
    return OneBase(base, score_head(reward_model), shift)


def _fill(module: Any, difference: torch.Tensor, rank: int, name: str) -> None:
    """Sets the factors of `value` and `reward` to the difference, of which `rank` is kept."""
    exact = difference.double()
    left, sizes, right = torch.linalg.svd(exact, full_matrices=False)
    missing = float(sizes[rank:].norm() / sizes.norm().clamp(min=1e-30))
    if missing > TOLERANCE[difference.dtype]:
        raise _no_adapter(name, f"{missing:.1%} of its change lies beyond rank {rank}")
    roots = sizes[:rank].sqrt()
    for adapter in (VALUE, REWARD):
        a, b = module.lora_A[adapter].weight, module.lora_B[adapter].weight
        with torch.no_grad():
            a[: len(roots)].copy_(roots[:, None] * right[: len(roots)])
            b[:, : len(roots)].copy_(left[:, : len(roots)] * roots)


def _is_more_than_rounding(difference: torch.Tensor) -> bool:
    return bool((difference != 0).any())


def _no_adapter(name: str, why: str) -> ValueError:
    return ValueError(
        f"the reward model is no adapter on the policy ({name}: {why}): train both with the same "
        "model.lora from one model, or set ppo.memory to separate"
    )
