"""From the arguments of a PPO trainer to its models."""

import copy
from collections.abc import Iterator
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.models.loading import check_logits, load_policy, load_scorer, without_dropout
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.ppo_models import OneBase, PolicyAndValue, SharedTrunk
from rlhf.policy.rewards import RewardFunction, Rewards, SummedRewards, TextRewards
from rlhf.reward.scorer import Scorer

ACTOR_CRITICS = (PolicyAndValue, SharedTrunk, OneBase)


def models_of(
    args: PPOConfig,
    tokenizer: PreTrainedTokenizerBase,
    model: Any,
    value_model: Any,
    reward_model: Any,
    reward_function: RewardFunction | None,
    peft_config: Any,
) -> tuple[Any, Any]:
    """What is trained, and the reward model (None where there is none); both come from the paths
    in the config where they are not given. Raises ValueError where something is missing.
    """
    pad = tokenizer.pad_token_id if isinstance(tokenizer.pad_token_id, int) else 0
    if reward_model is None and reward_function is None and args.reward_model_path is not None:
        reward_model = load_scorer(args.reward_model_path, pad, trained=True)
        if value_model is None:
            value_model = load_scorer(args.reward_model_path, pad, trained=True)
    if isinstance(model, ACTOR_CRITICS):
        check_logits(model.policy)
        named = args.model_adapter_name or args.ref_adapter_name
        if value_model is not None or peft_config is not None or named:
            raise ValueError("model brings its values and adapters along: leave out the rest")
        without_dropout(model)  # type: ignore[arg-type]
        return model, reward_model
    if model is None:
        if args.sft_model_path is None:
            raise ValueError("there is no policy: give model, or sft_model_path")
        model = load_policy(args.sft_model_path)
    check_logits(model)
    if peft_config is not None:
        model = _adapted(model, peft_config)
    _use_adapters(model, args)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError(
            "no weight of the policy is to be trained: load its adapter with is_trainable=True, or "
            "name it as model_adapter_name"
        )
    without_dropout(model)
    if value_model is None:
        return SharedTrunk(model, reference_adapter=args.ref_adapter_name), reward_model
    value_model_of(value_model)
    known, written = (int(m.config.get_text_config().vocab_size) for m in (value_model, model))
    written = min(written, len(tokenizer))
    if known < written:
        raise ValueError(
            f"the value model knows {known} tokens and the policy writes {written}: it must "
            "read what the policy writes; leave out value_model for a value head on the policy"
        )
    if value_model is reward_model:
        raise ValueError("value_model and reward_model are one object: training would move both")
    without_dropout(value_model)
    models = PolicyAndValue(model, value_model, reference_adapter=args.ref_adapter_name)
    return models, reward_model


def value_model_of(model: Any) -> Any:
    """The model, where it can give values. Raises ValueError where it cannot."""
    if not hasattr(model, "score"):
        raise ValueError(
            f"PPO's value model starts as the reward model and needs a decoder that scores every "
            f"token; {type(model).__name__} scores whole texts: choose another base model, or "
            "ppo.memory shared"
        )
    return model


def _adapted(model: Any, peft_config: Any) -> Any:
    from peft import get_peft_model

    if hasattr(model, "peft_config"):
        raise ValueError(
            "model carries adapters already and a peft_config is given: merge and save them first, "
            "or leave out peft_config"
        )
    return get_peft_model(model, peft_config)


def _use_adapters(model: Any, args: PPOConfig) -> None:
    """Switches the adapter that is to be trained on. Raises ValueError for a name that none has."""
    held = sorted(getattr(model, "peft_config", ()))
    for setting in ("model_adapter_name", "ref_adapter_name"):
        name = getattr(args, setting)
        if name is not None and name not in held:
            has = f"its adapters are {', '.join(held)}" if held else "it has no adapters"
            raise ValueError(f"{setting} is {name!r}, and the policy has none of that name: {has}")
    if args.model_adapter_name is not None:
        model.set_adapter(args.model_adapter_name)
    if args.ref_adapter_name is not None and args.ref_adapter_name == model.active_adapter:
        raise ValueError(
            f"ref_adapter_name is {args.ref_adapter_name!r}, which is the adapter that is trained: "
            "give another one as model_adapter_name"
        )


def reference_of(models: Any, ref_model: PreTrainedModel | None) -> PreTrainedModel | None:
    """The reference: what is given, else None where the policy has adapters to switch off, else a
    copy of the policy as it is now.
    """
    if ref_model is models.policy:
        raise ValueError("model and ref_model are one object: leave out ref_model, it is copied")
    if ref_model is not None and getattr(models, "reference_adapter", None) is not None:
        raise ValueError("ref_model and ref_adapter_name are both given: leave one out")
    if ref_model is not None:
        return ref_model
    if isinstance(models, OneBase) or hasattr(models.policy, "disable_adapter"):
        return None
    return copy.deepcopy(models.policy)  # type: ignore[no-any-return]


def context_of(policy: Any, args: PPOConfig) -> int | None:
    """How many tokens a prompt and its response may have: of the policy's positions, and of what
    samples in its place. None where nothing bounds them.
    """
    settings = policy.config.get_text_config()
    bounds = [getattr(settings, "max_position_embeddings", None)]
    if args.use_vllm:
        bounds.append(args.vllm_max_model_length)
    return min((int(one) for one in bounds if one is not None), default=None)


def frozen_models(
    reference: PreTrainedModel | None, rewards: Rewards, models: Any
) -> Iterator[PreTrainedModel]:
    """The models that are asked and never trained."""
    if reference is not None:
        yield reference
    sources = rewards.sources if isinstance(rewards, SummedRewards) else (rewards,)
    for source in sources:
        if source is models:
            continue
        scorer = source.scorer if isinstance(source, TextRewards) else source
        if isinstance(scorer, Scorer):
            yield scorer.model
