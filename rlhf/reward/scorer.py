"""Scoring responses with a saved reward model, in batches of like length."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from rlhf.models.batching import Rows, hidden_states, in_batches
from rlhf.models.loading import device, load_scorer

SHIFT = "reward_shift"
SCALE = "reward_scale"


def score_rows(model: PreTrainedModel, rows: Rows) -> torch.Tensor:
    """Reward of each row at its last token, (B,) in float32 (float64 stays); the shift is not
    applied.
    """
    last = hidden_states(model, rows)[:, -1]  # rows are padded on the left
    scores: torch.Tensor = score_head(model)(last)[:, 0]
    return scores if scores.dtype == torch.float64 else scores.float()


def score_head(model: PreTrainedModel) -> torch.nn.Linear:
    """The linear head that turns a hidden state into a score (also under LoRA, where it is a
    trained copy).
    """
    head = model.score
    assert isinstance(head, torch.nn.Module)
    return head  # type: ignore[return-value]


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

    @torch.inference_mode()
    def score(
        self,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        *,
        batch_size: int = 128,
    ) -> list[float]:
        """One reward per (prompt, response), in the order given; EOS is part of a finished
        response's ids.
        """
        return in_batches(
            lambda rows: score_rows(self.model, rows) - self.shift,
            prompts,
            responses,
            self.pad_token_id,
            device=self.model.device,
            batch_size=batch_size,
        )
