"""What a decoder attends to, by its config, and how its cache is called."""

import inspect
from typing import Any

FULL_ATTENTION = {"full_attention", "attention"}
SLIDING_ATTENTION = {"sliding_attention"}


def attends_to_all(config: Any, longest_tokens: int) -> bool:
    """Whether every layer attends to all tokens before, up to this length: not to a window, nor
    through a state.
    """
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or [])
    whole = window is None or window >= longest_tokens
    if kinds - FULL_ATTENTION - (SLIDING_ATTENTION if whole else set()):
        return False
    return bool(kinds) or whole


def cache_argument(module: Any) -> str:
    """The name under which `module.forward` takes keys and values: transformers 5.2x renamed it."""
    named = inspect.signature(type(module).forward).parameters
    return "cache" if "cache" in named else "past_key_values"
