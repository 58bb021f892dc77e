"""How many tokens a model has places for."""

import torch
from transformers import PreTrainedModel

# The table of positions, by the names that transformers gives it.
TABLES = ("wpe", "position_embeddings", "embed_positions")


def places_of(model: PreTrainedModel) -> int | None:
    """How many tokens a model can read that looks positions up in a table; None for those that
    work them out, and so have no end that would be an error.
    """
    tables = [
        module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in TABLES and isinstance(module, torch.nn.Embedding)
    ]
    return min((one.num_embeddings - _first_place(one) for one in tables), default=None)


def check_places(model: PreTrainedModel, longest_tokens: int) -> None:
    """Raises ValueError where that many tokens are more than the model has places for."""
    places = places_of(model)
    if places is not None and longest_tokens > places:
        raise ValueError(
            f"the longest prompt with its response has {longest_tokens} tokens, and this model has "
            f"places for {places}: lower model.max_tokens to that"
        )


def _first_place(table: torch.nn.Embedding) -> int:
    """Where the first token stands: RoBERTa and its kin begin after the padding, OPT after two."""
    if table.padding_idx is not None:
        return table.padding_idx + 1
    return int(getattr(table, "offset", 0))
