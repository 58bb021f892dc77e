"""Several processes, one training: rollouts are made in parts and shared whole, gradients are
summed.

Every process holds the whole rollout (a few numbers a token), so that whitening, statistics and
the order of mini-batches are those of one process.
"""

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from rlhf.models.batching import Rows

Whole = TypeVar("Whole")


@dataclass(frozen=True, slots=True)
class Processes:
    """How many there are, and which one this is."""

    count: int = 1
    index: int = 0

    def part(self, whole: int) -> slice:
        """This process's share of `whole` things in order."""
        return slice(whole * self.index // self.count, whole * (self.index + 1) // self.count)

    def share(self, chosen: torch.Tensor) -> torch.Tensor:
        """This process's share of the indices (N,): every count-th."""
        return chosen[self.index :: self.count]

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def highest(self, values: torch.Tensor) -> torch.Tensor:
        """The largest of all processes, number by number."""
        if self.count > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.count == 1:
            return flag
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, flag)
        return any(found)

    def sum_gradients(self, model: torch.nn.Module) -> None:
        """Every process gets the gradients of all of them, summed."""
        if self.count == 1:
            return
        for weight in model.parameters():
            if weight.requires_grad:
                if weight.grad is None:
                    weight.grad = torch.zeros_like(weight)
                dist.all_reduce(weight.grad)

    def start_alike(self, model: torch.nn.Module) -> None:
        """Every process gets the weights of the first."""
        if self.count > 1:
            for weight in model.parameters():
                dist.broadcast(weight.data, 0)

    def gathered(self, part: Whole, pad_token_id: int) -> Whole:
        """The whole of a dataclass of rows and tensors of which every process has a part, in the
        order of the processes; narrower parts are padded on the left.
        """
        if self.count == 1:
            return part
        rows: Any = part
        device = rows.rows.input_ids.device
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, [_moved(getattr(part, f.name), "cpu") for f in fields(rows)])
        width = max(one[0].input_ids.shape[1] for one in parts)
        columns = [
            _joined([one[n] for one in parts], width, pad_token_id if n == 0 else 0)
            for n in range(len(fields(rows)))
        ]
        return type(part)(*(_moved(column, device) for column in columns))


def _moved(value: Any, device: Any) -> Any:
    return value.to(torch.device(device))


def _joined(parts: list[Any], width: int, pad_token_id: int) -> Any:
    if isinstance(parts[0], Rows):
        return Rows(
            _joined([one.input_ids for one in parts], width, pad_token_id),
            _joined([one.attention_mask for one in parts], width, 0),
            _joined([one.position_ids for one in parts], width, 0),
            _joined([one.response_mask for one in parts], width, 0),
        )
    if parts[0].dim() == 1:
        return torch.cat(parts)
    return torch.cat(
        [torch.nn.functional.pad(p, (width - p.shape[1], 0), value=pad_token_id) for p in parts]
    )
