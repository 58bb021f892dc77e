"""Several processes that train one model together (torchrun)."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer


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


def repeated_at_the_end(trainer: Trainer) -> int:
    """How many rows of this process's last batch of an epoch stood in the epoch before: accelerate
    fills up the last batches from the first, so that all processes have as many.
    """
    args, loading = trainer.args, trainer.accelerator.dataloader_config
    dealt = not (loading.split_batches or loading.dispatch_batches)  # one batch to each, by turns
    if args.world_size == 1 or args.dataloader_drop_last or not (dealt and loading.even_batches):
        return 0
    rows: Any = trainer.train_dataset
    size = trainer._train_batch_size
    return filled_up(len(rows), size, args.world_size, args.process_index)


def filled_up(rows: int, size: int, processes: int, index: int) -> int:
    """How many of the last batch of `size` of process number `index` are no new rows, where whole
    batches of `rows` rows are dealt to the processes by turns.
    """
    missing = -rows % (size * processes)
    later = size * (processes - 1 - index)  # of the processes behind this one
    return min(max(missing - later, 0), size)
