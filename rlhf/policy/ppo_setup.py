"""From the arguments of a PPO trainer to its models."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.models.loading import (
    check_is_one,
    check_logits,
    load_policy,
    load_scorer,
    without_dropout,
)
from rlhf.models.places import places_of
from rlhf.policy.held_out import HeldOut, conversations_of
from rlhf.policy.ppo_batches import prompts_from
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.ppo_models import OneBase, PolicyAndValue, SharedTrunk
from rlhf.policy.ptx import PtxRows
from rlhf.policy.rewards import RewardFunction, Rewards, SummedRewards, TextRewards, rewards_of
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
    check_is_one(model)
    check_logits(model)
    if peft_config is not None:
        model = _adapted(model, peft_config)
    _use_adapters(model, args)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError(
            "no weight of the policy is to be trained: load its adapter with is_trainable=True, or "
            "name it as model_adapter_name"
        )
    _check_width("policy", model)
    without_dropout(model)
    if value_model is None:
        return SharedTrunk(model, reference_adapter=args.ref_adapter_name), reward_model
    value_model_of(value_model)
    _check_width("value model", value_model)
    _check_known(
        "value model", value_model, model, tokenizer, "value_model for a value head on the policy"
    )
    if value_model is reward_model:
        raise ValueError("value_model and reward_model are one object: training would move both")
    without_dropout(value_model)
    models = PolicyAndValue(model, value_model, reference_adapter=args.ref_adapter_name)
    return models, reward_model


def _check_width(name: str, model: Any) -> None:
    """Raises ValueError for weights that are to be trained in float16: Adam's 1e-8, and squares of
    small gradients, are 0 there.
    """
    if any(one.requires_grad and one.dtype == torch.float16 for one in model.parameters()):
        raise ValueError(
            f"weights of the {name} are trained in float16, which is too narrow for their steps: "
            "load it with dtype=torch.float32, or torch.bfloat16"
        )


def _check_known(
    name: str, reader: Any, policy: Any, tokenizer: PreTrainedTokenizerBase, instead: str
) -> None:
    known, written = (int(m.config.get_text_config().vocab_size) for m in (reader, policy))
    written = min(written, len(tokenizer))
    if known < written:
        raise ValueError(
            f"the {name} knows {known} tokens and the policy writes {written}: it must read what "
            f"the policy writes; leave out {instead}"
        )


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


def reference_of(
    models: Any, ref_model: PreTrainedModel | None, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel | None:
    """The reference: what is given, else None where the policy has adapters to switch off, else a
    copy of the policy as it is now.
    """
    if ref_model is models.policy:
        raise ValueError("model and ref_model are one object: leave out ref_model, it is copied")
    if ref_model is not None and getattr(models, "reference_adapter", None) is not None:
        raise ValueError("ref_model and ref_adapter_name are both given: leave one out")
    if ref_model is not None:
        instead = "ref_model for a copy of the policy"
        _check_known("reference", ref_model, models.policy, tokenizer, instead)
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


def held_out_of(
    held_out: HeldOut | None,
    eval_dataset: Any,
    tokenizer: PreTrainedTokenizerBase,
    collator: Any,
    reward_tokenizer: PreTrainedTokenizerBase | None,
    stop_token_id: int | None,
) -> HeldOut | None:
    """The prompts to evaluate on, of `held_out` or else of the data set, and the monitor as what
    scores; None where there are none.
    """
    if held_out is None and eval_dataset is None:
        return None
    asked = eval_dataset if held_out is None else held_out.prompts
    if isinstance(asked, dict):
        raise ValueError(
            f"eval_dataset holds several data sets ({', '.join(map(str, asked))}), and one is "
            "evaluated on: join them, or give one of them"
        )
    found = HeldOut(prompts_from(asked, tokenizer, collator=collator))
    if held_out is None or held_out.monitor is None:
        return found
    read = conversations_of((), found)
    monitor = rewards_of(
        held_out.monitor, None, tokenizer, reward_tokenizer, stop_token_id, read, which="monitor"
    )
    return HeldOut(found.prompts, monitor)


def frozen_models(
    reference: PreTrainedModel | None, rewards: Rewards, monitor: Rewards | None, models: Any
) -> Iterator[PreTrainedModel]:
    """The models that are asked and never trained."""
    if reference is not None:
        yield reference
    for source in (*_sources(rewards), *_sources(monitor)):
        if source is models:
            continue
        scorer = source.scorer if isinstance(source, TextRewards) else source
        if isinstance(scorer, Scorer):
            yield scorer.model


def _sources(rewards: Rewards | None) -> tuple[Rewards, ...]:
    if rewards is None:
        return ()
    return rewards.sources if isinstance(rewards, SummedRewards) else (rewards,)


def check_readers(
    longest: int,
    models: Any,
    reference: PreTrainedModel | None,
    rewards: Rewards,
    monitor: Rewards | None,
) -> None:
    """Raises ValueError where a model that reads what the policy wrote has no places for `longest`
    tokens; the policy itself is `context_of`'s.
    """
    readers = [("reference", reference), ("value model", getattr(models, "value_model", None))]
    for name, given in (("reward model", rewards), ("monitor", monitor)):
        readers += [(name, one.model) for one in _sources(given) if isinstance(one, Scorer)]
    for name, model in readers:
        places = None if model is None else places_of(model)
        if places is not None and longest > places:
            raise ValueError(
                f"the {name} has places for {places} tokens, and the longest prompt with its "
                f"response may have {longest}: shorten the prompts, or lower response_length"
            )


def check_texts(rows: PtxRows, policy: Any, known: int) -> None:
    """Raises ValueError for a text of the mix that the policy cannot learn from."""
    places = places_of(policy)
    for number, (prompt, response) in enumerate(rows):
        ids = (*prompt, *response)
        if not prompt or not response:
            wrong = "has no prompt, or no response"
        elif not 0 <= min(ids) <= max(ids) < known:
            wrong = f"holds a token that the policy does not know, which has {known}"
        elif places is not None and len(ids) > places:
            wrong = f"has {len(ids)} tokens, and the policy places for {places}"
        else:
            continue
        raise ValueError(f"row {number} of ptx_dataset {wrong}: leave it out, or change it")
