"""Score heads: several on one trunk while it trains, their mean in the plain model that is saved,
and each of them beside it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from rlhf.data.identity import seed_from
from rlhf.models.loading import score_head

MEMBERS = "members.safetensors"


@dataclass(frozen=True, slots=True)
class Heads:
    """M score heads on one trunk: `weight` (M, D), `bias` (M,)."""

    weight: torch.Tensor
    bias: torch.Tensor

    def save(self, folder: Path) -> None:
        """Writes `members.safetensors` beside the weights of the plain model."""
        save_file({"weight": self.weight.cpu(), "bias": self.bias.cpu()}, folder / MEMBERS)

    @classmethod
    def load(cls, folder: Path) -> "Heads":
        """What `save` wrote. Raises ValueError naming the folder where it is not there."""
        if not (folder / MEMBERS).exists():
            raise ValueError(
                f"the config in {folder} names members, and {MEMBERS} is not beside it: copy the "
                "whole folder"
            )
        held = load_file(folder / MEMBERS)
        return cls(held["weight"], held["bias"])

    @property
    def mean(self) -> "Heads":
        """The head whose score is the mean of theirs."""
        return Heads(self.weight.mean(0, keepdim=True), self.bias.mean(0, keepdim=True))


def draw_head(width: int, seed: int) -> torch.Tensor:
    """A score head drawn from N(0, 1/(D+1)), (D,). Stiennon et al. (2020), appendix."""
    drawn = torch.randn((1, width), generator=torch.Generator().manual_seed(seed))
    return drawn[0] / math.sqrt(width + 1)


def member_seed(seed: int, member: int) -> int:
    """The seed of a member; the first has that of the whole."""
    return seed if member == 0 else seed_from("member", seed, member) & 0x7FFFFFFF


def bootstrap_weight(seed: int, prompt_id: str, member: int) -> float:
    """What a prompt weighs for a member: a draw from the exponential distribution of mean 1, from
    nothing but these. The Bayesian bootstrap; Rubin (1981).
    """
    return -math.log(1 - seed_from("bootstrap", seed, prompt_id, member) / 2**63)


def widen(model: PreTrainedModel, members: int, seed: int) -> None:
    """Gives a scorer as many heads, each drawn from a seed of its own, their biases 0."""
    head = score_head(model)
    rows = [draw_head(head.in_features, member_seed(seed, one)) for one in range(members)]
    set_heads(model, Heads(torch.stack(rows).to(head.weight), head.weight.new_zeros(members)))


def heads_of(model: PreTrainedModel) -> Heads:
    """The heads of a scorer, one or several, as they are."""
    head = score_head(model)
    bias = head.weight.new_zeros(head.out_features) if head.bias is None else head.bias
    return Heads(head.weight.detach().clone(), bias.detach().clone())


def set_heads(model: PreTrainedModel, heads: Heads) -> None:
    """Puts these heads in the place of a scorer's; without a bias where it had none."""
    old = score_head(model)
    _replace(model, old, _layer(heads, old, bias=old.bias is not None))


@contextmanager
def wearing(model: PreTrainedModel, heads: Heads) -> Iterator[None]:
    """The scorer with these heads, biases and all, for as long as this lasts."""
    plain = score_head(model)
    worn = _layer(heads, plain, bias=True)
    _replace(model, plain, worn)
    try:
        yield
    finally:
        _replace(model, worn, plain)


def _layer(heads: Heads, like: torch.nn.Linear, *, bias: bool) -> torch.nn.Linear:
    """The heads as a layer; the global random numbers are left alone."""
    made: torch.nn.Linear = torch.nn.utils.skip_init(
        torch.nn.Linear, like.in_features, len(heads.weight), bias=bias
    )
    made.to(like.weight)
    with torch.no_grad():
        made.weight.copy_(heads.weight)
        if bias:
            made.bias.copy_(heads.bias)
    return made


def _replace(model: PreTrainedModel, old: torch.nn.Linear, new: torch.nn.Linear) -> None:
    name = next(name for name, module in model.named_modules() if module is old)
    model.set_submodule(name, new)
    model.config.num_labels = new.out_features
