"""Several processes that train one model together (torchrun)."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel


def as_forward(model: Any, compute: Callable[..., torch.Tensor], *arguments: Any) -> torch.Tensor:
    """`compute(model, *arguments)`; where `model` is wrapped for several processes, run as a
    forward pass of the wrapper.

    The wrapper averages gradients over processes only for what went through its own forward, and
    our losses call parts of the model inside it.
    """
    if not isinstance(model, DistributedDataParallel):
        return compute(model, *arguments)
    inner = model.module
    own = vars(inner).get("forward")

    def once(*given: Any) -> torch.Tensor:
        put_back()  # `compute` may call the model
        return compute(inner, *given)

    def put_back() -> None:
        vars(inner).pop("forward", None)
        if own is not None:
            inner.forward = own

    inner.forward = once
    try:
        return model(*arguments)  # type: ignore[no-any-return]
    finally:
        put_back()
