"""What to do when a device runs out of memory in PPO: three settings, and what each would save."""

from typing import Any

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
    """The three settings that would save most, each with an estimate; and what was `saved`.

    Estimates: a trained weight costs itself, its gradient and two Adam moments in float32;
    activations of a row of T tokens about 34 T D bytes a layer at two bytes a number (Korthikanti
    et al. 2022, equation 2, without attention scores, which fused kernels do not keep).
    """
    policy = model.policy
    settings = policy.config.get_text_config()
    weights = sum(one.numel() for one in model.parameters() if one.requires_grad)
    width = next(policy.parameters()).element_size()
    row = 17 * width * longest * settings.hidden_size * settings.num_hidden_layers
    rows = config.per_device_train_batch_size
    half = max(1, rows // 2)
    state = weights * (2 * width + 8)
    cached = config.local_rollout_forward_batch_size or min(
        config.local_batch_size or rows, SAMPLED_AT_ONCE
    )
    heads = getattr(settings, "num_key_value_heads", None) or settings.num_attention_heads
    head = getattr(settings, "head_dim", None) or (
        settings.hidden_size // settings.num_attention_heads
    )
    cache = 2 * width * longest * heads * head * settings.num_hidden_layers * cached
    smaller = max(1, cached // 4)
    # As they come, and in float32: log-probabilities, their exponentials, and a product of the two.
    logits = min(
        rows * config.response_length * settings.vocab_size,
        logits_at_once(on_gpu=policy.device.type == "cuda"),
    ) * (width + 12)
    return OutOfMemory(
        f"out of memory. Settings that need less: per_device_train_batch_size "
        f"{rows} -> {half} (with gradient_accumulation_steps twice as large) saves about "
        f"{_size(row * (rows - half))} of activations; local_rollout_forward_batch_size {cached} "
        f"-> {smaller} saves about {_size(cache * (1 - smaller / cached))} of cached keys and "
        f"values; memory: adapters (or LoRA) in place of {weights / 1e6:.1f} M trained weights "
        f"saves about {_size(0.98 * state)} of gradients and optimizer. Logits take "
        f"{_size(logits)} at once{saved}"
    )


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
