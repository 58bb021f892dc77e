"""What to do when a device runs out of memory in PPO: three settings, and what each would save."""

from collections.abc import Iterator
from typing import Any

from rlhf.models.training import CHECKPOINTING
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.rollout import SAMPLED_AT_ONCE
from rlhf.policy.token_logprobs import logits_at_once

# What allocators say that have no class of their own: the CPU's, and the one of cuBLAS.
SAID = ("not enough memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class OutOfMemory(RuntimeError):  # noqa: N818 - the name says what happened
    """The device has too little memory; the message names settings that need less."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Also where an allocator says so that has no class of its own."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(one in str(error) for one in SAID)


def explain_out_of_memory(
    config: PPOConfig, model: Any, longest: int, saved: str = ""
) -> OutOfMemory:
    """Three settings that need less, each with an estimate; and what was `saved`.

    Of `_ways`, the first three: what is as low as it goes already is not among them.
    """
    settings = model.policy.config.get_text_config()
    width = next(model.policy.parameters()).element_size()
    # As they come, and in float32: log-probabilities, their exponentials, and a product of the two.
    logits = min(
        config.per_device_train_batch_size * config.response_length * settings.vocab_size,
        logits_at_once(on_gpu=model.policy.device.type == "cuda"),
    ) * (width + 12)
    ways = "; ".join(list(_ways(config, model, longest))[:3])
    return OutOfMemory(
        f"out of memory. Settings that need less: {ways}. Logits take {_size(logits)} at once"
        f"{saved}"
    )


def _ways(config: PPOConfig, model: Any, longest: int) -> Iterator[str]:
    """What would need less memory, in the order in which to try it.

    Estimates: a trained weight costs itself, its gradient and two Adam moments in float32;
    activations of a row of T tokens about 34 T D bytes a layer at two bytes a number, of which 2
    are left where they are recomputed (Korthikanti et al. 2022, equations 2 and 6, without
    attention scores, which fused kernels do not keep).
    """
    settings = model.policy.config.get_text_config()
    width = next(model.policy.parameters()).element_size()
    row = 17 * width * longest * settings.hidden_size * settings.num_hidden_layers
    rows = config.per_device_train_batch_size
    if rows > 1:
        yield (
            f"per_device_train_batch_size {rows} -> {rows // 2} (with gradient_accumulation_steps "
            f"twice as large) saves about {_size(row * (rows - rows // 2))} of activations"
        )
    at_once = config.local_rollout_forward_batch_size or min(
        config.local_batch_size or rows, SAMPLED_AT_ONCE
    )
    smaller = max(1, at_once // 4)
    cached = _cached(settings, width) * longest
    if at_once > smaller:
        yield (
            f"local_rollout_forward_batch_size {at_once} -> {smaller} saves about "
            f"{_size(cached * (at_once - smaller))} of cached keys and values"
        )
    weights = sum(one.numel() for one in model.parameters() if one.requires_grad)
    value = getattr(model, "value_model", None)
    if not hasattr(model.policy, "peft_config"):
        yield (
            f"memory: adapters (or LoRA) in place of {weights / 1e6:.1f} M trained weights saves "
            f"about {_size(0.98 * weights * (2 * width + 8))} of gradients and optimizer"
        )
    elif value is not None:
        apart = sum(one.numel() * one.element_size() for one in value.parameters())
        yield f"memory: adapters in place of a value model apart saves about {_size(apart)}"
    if not getattr(config, CHECKPOINTING):
        yield (
            f"{CHECKPOINTING}: true saves about {_size(row * rows * 16 / 17)} of activations, for "
            "a forward pass more"
        )
    shorter = max(1, config.response_length // 2)
    less = (row * rows + cached * at_once) * (config.response_length - shorter) / longest
    yield (
        f"response_length {config.response_length} -> {shorter} saves about {_size(less)} of "
        "activations, keys and values"
    )


def _cached(settings: Any, width: int) -> int:
    """Bytes of keys and values of a token."""
    heads = getattr(settings, "num_key_value_heads", None) or settings.num_attention_heads
    head = getattr(settings, "head_dim", None) or (
        settings.hidden_size // settings.num_attention_heads
    )
    return int(2 * width * heads * head * settings.num_hidden_layers)


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
