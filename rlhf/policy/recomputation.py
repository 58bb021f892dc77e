"""Activations that are made again in the backward pass, for models that are made of several."""

from collections.abc import Sequence
from typing import Any

import torch


class Recomputes(torch.nn.Module):
    """What the Trainer asks of its model where `gradient_checkpointing` is on, handed on to the
    models of which it is made; transformers 5.23 gave the methods other names.
    """

    def recomputed(self) -> Sequence[Any]:
        """The models whose activations are made again."""
        raise NotImplementedError

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None = None, **named: Any
    ) -> None:
        """Each layer keeps what comes in, and makes the rest again where a gradient needs it."""
        for model in self.recomputed():
            plain = model.get_base_model() if hasattr(model, "get_base_model") else model
            settings = self._recomputing(activation_checkpointing_kwargs)
            if hasattr(plain, "activation_checkpointing_enable"):
                plain.activation_checkpointing_enable(settings, **named)
            else:
                plain.gradient_checkpointing_enable(settings, **named)

    def activation_checkpointing_disable(self) -> None:
        """Activations are kept again."""
        for model in self.recomputed():
            plain = model.get_base_model() if hasattr(model, "get_base_model") else model
            if hasattr(plain, "activation_checkpointing_disable"):
                plain.activation_checkpointing_disable()
            else:
                plain.gradient_checkpointing_disable()

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **named: Any
    ) -> None:
        """By its name before transformers 5.23."""
        self.activation_checkpointing_enable(gradient_checkpointing_kwargs, **named)

    def gradient_checkpointing_disable(self) -> None:
        """By its name before transformers 5.23."""
        self.activation_checkpointing_disable()

    def _recomputing(self, asked: dict[str, Any] | None) -> dict[str, Any]:
        """The arguments of `torch.utils.checkpoint`."""
        return {"use_reentrant": False, **(asked or {})}
