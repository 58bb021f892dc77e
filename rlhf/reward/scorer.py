"""Scoring responses with a saved reward model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from rlhf.models.batching import Prefix, Rows, hidden_states
from rlhf.models.loading import device, load_scorer
from rlhf.models.packing import in_batches

SHIFT = "reward_shift"
SCALE = "reward_scale"


def score_rows(model: Any, rows: Rows, prefix: Prefix | None = None) -> torch.Tensor:
    """Reward of each row, (B,) in float32 (float64 stays); the shift is not applied.

    A decoder is read at the last token; an encoder where its own head reads it.
    """
    if hasattr(model, "score"):
        last = hidden_states(model, rows, prefix)[:, -1]  # rows are padded on the left
        scores: torch.Tensor = model.score(last)[:, 0]
    else:
        assert prefix is None, "an encoder reads a response with its prompt"
        ids, mask = _padded_right(rows)
        scores = model(input_ids=ids, attention_mask=mask).logits[:, 0]
    return scores if scores.dtype == torch.float64 else scores.float()


def _padded_right(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask with the padding on the right, (B, T) each: encoders read the first token."""
    width = rows.input_ids.shape[1]
    padding = width - rows.attention_mask.sum(1, keepdim=True)
    turned = (torch.arange(width, device=padding.device) + padding) % width
    return rows.input_ids.gather(1, turned), rows.attention_mask.gather(1, turned)


class Scorer:
    """A reward model that scores token ids: demonstrations score 0 on average, at unit scale.

    That scale is in the weights of the head; the shift stands in the config as `reward_shift` and
    is applied here. `scale` is what the head was divided by: sigmoid(scale * difference) is the
    probability that the model was trained to give a pair.
    """

    def __init__(self, model: PreTrainedModel, pad_token_id: int) -> None:
        self.model = model.eval()
        self.pad_token_id = pad_token_id
        self.shift = float(getattr(model.config, SHIFT, 0.0))
        self.scale = float(getattr(model.config, SCALE, 1.0))

    @classmethod
    def load(cls, folder: str | Path, pad_token_id: int, dtype: str = "float32") -> "Scorer":
        """The scorer of a saved reward model, on the first GPU where there is one."""
        model = load_scorer(folder, pad_token_id, dtype)
        return cls(model.to(device()), pad_token_id)  # type: ignore[arg-type]

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        *,
        budget_tokens: int | None = None,
    ) -> list[float]:
        """One reward per (prompt, response), in the order given; EOS is part of a finished
        response's ids. A prompt with several responses is read once where that works and pays.
        """
        scores = in_batches(
            score_rows,
            self.model,
            prompts,
            responses,
            self.pad_token_id,
            budget_tokens=budget_tokens,
        )
        return [score - self.shift for score in scores]
