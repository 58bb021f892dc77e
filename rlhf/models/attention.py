"""What a decoder attends to, by its config, and how its cache is called."""

import inspect
from typing import Any

FULL_ATTENTION = {"full_attention", "attention"}
SLIDING_ATTENTION = {"sliding_attention"}
# Ways to turn positions that change for all tokens once the longest row passes the length that the
# model was first trained on.
TURNED_BY_LENGTH = {"dynamic", "longrope"}


def attends_to_all(config: Any, longest_tokens: int) -> bool:
    """Whether every layer attends to all tokens before, up to this length: not to a window, nor
    through a state; and reads those alike whatever comes after.
    """
    if longest_tokens > _turned_alike_up_to(config):
        return False
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or [])
    if "local" in (getattr(config, "attention_layers", None) or []):  # GPT-Neo
        window = config.window_size
    whole = window is None or window >= longest_tokens
    if kinds - FULL_ATTENTION - (SLIDING_ATTENTION if whole else set()):
        return False
    return bool(kinds) or whole


def _turned_alike_up_to(config: Any) -> float:
    """Up to which length a position is turned by the same angles however long the row is."""
    settings = getattr(config, "rope_parameters", None) or {}
    each = [one for one in settings.values() if isinstance(one, dict)] or [settings]
    first = getattr(config, "original_max_position_embeddings", None)
    return min(
        (
            one.get("original_max_position_embeddings") or first or config.max_position_embeddings
            for one in each
            if one.get("rope_type") in TURNED_BY_LENGTH
        ),
        default=float("inf"),
    )


def cache_argument(module: Any) -> str:
    """The name under which `module.forward` takes keys and values: transformers 5.2x renamed it."""
    named = inspect.signature(type(module).forward).parameters
    return "cache" if "cache" in named else "past_key_values"
