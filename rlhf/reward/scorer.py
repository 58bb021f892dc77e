"""Scoring responses with a saved reward model."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.data.records import Message
from rlhf.models.batching import Prefix, Rows, hidden_states
from rlhf.models.loading import device, load_scorer, load_tokenizer
from rlhf.models.loading import pad_token_id as pads
from rlhf.models.packing import in_batches, tensor_in_batches
from rlhf.models.places import places_of
from rlhf.reward.asked import ids_of
from rlhf.reward.ensemble import ALONE, Ensemble
from rlhf.reward.heads import Heads, wearing

SHIFT = "reward_shift"
SCALE = "reward_scale"
OFFSET = "reward_offset"
MEMBERS = "reward_members"
UNLIMITED = 1 << 30


def score_rows(model: Any, rows: Rows, prefix: Prefix | None = None) -> torch.Tensor:
    """Reward of each row, (B,) in float32 (float64 stays); the shift is not applied.

    A decoder is read at the last token; an encoder where its own head reads it.
    """
    return member_rows(model, rows, prefix)[:, 0]


def member_rows(model: Any, rows: Rows, prefix: Prefix | None = None) -> torch.Tensor:
    """What each head of a scorer gives each row, (B, M), as `score_rows` does for one head."""
    if hasattr(model, "score"):
        last = hidden_states(model, rows, prefix)[:, -1]  # rows are padded on the left
        scores: torch.Tensor = model.score(last)
    else:
        assert prefix is None, "an encoder reads a response with its prompt"
        ids, mask = _padded_right(rows)
        scores = model(input_ids=ids, attention_mask=mask).logits
    return scores if scores.dtype == torch.float64 else scores.float()


def _padded_right(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask with the padding on the right, (B, T) each: encoders read the first token."""
    width = rows.input_ids.shape[1]
    padding = width - rows.attention_mask.sum(1, keepdim=True)
    turned = (torch.arange(width, device=padding.device) + padding) % width
    return rows.input_ids.gather(1, turned), rows.attention_mask.gather(1, turned)


class Scorer:
    """A reward model that scores token ids: the responses that it learned from score 0 on average,
    at unit scale.

    That scale is in the weights of the head; the shift stands in the config as `reward_shift` and
    is applied here. `scale` is what the head was divided by: sigmoid(scale * difference) is the
    probability that the model was trained to give a pair. With members, `ensemble` says how their
    scores become one: `heads` on this model's trunk, or `others`, whole models beside it.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pad_token_id: int,
        *,
        ensemble: Ensemble = ALONE,
        heads: Heads | None = None,
        others: Sequence["Scorer"] = (),
        folder: Path | None = None,
    ) -> None:
        self.model = model.eval()
        self.pad_token_id = pad_token_id
        self.ensemble = ensemble
        self.heads = heads
        self.others = others
        self.folder = folder
        self.shift = float(getattr(model.config, SHIFT, 0.0))
        self.scale = float(getattr(model.config, SCALE, 1.0))
        self.offset = float(getattr(model.config, OFFSET, 0.0))

    @classmethod
    def load(
        cls, folder: str | Path, pad_token_id: int | None = None, dtype: str = "float32"
    ) -> "Scorer":
        """The scorer of a saved reward model, members and all, on the first GPU where there is one.
        Its tokenizer says what pads, where that is not given.

        Raises ValueError for a model that has no score head, and where members are missing that
        its config names.
        """
        folder = Path(folder)
        if pad_token_id is None:
            pad_token_id = pads(load_tokenizer(folder))
        model = load_scorer(folder, pad_token_id, dtype, trained=True)
        model.to(device())  # type: ignore[arg-type]
        ensemble = Ensemble(**getattr(model.config, MEMBERS, {}))
        if ensemble.members == 1:
            return cls(model, pad_token_id, folder=folder)
        if ensemble.kind == "heads":
            heads = Heads.load(folder)
            return cls(model, pad_token_id, ensemble=ensemble, heads=heads, folder=folder)
        places = [member_folder(folder, one) for one in range(1, ensemble.members)]
        others = [
            cls(load_scorer(one, pad_token_id, dtype, trained=True), pad_token_id) for one in places
        ]
        for one in others:
            one.model.to(device())
        return cls(model, pad_token_id, ensemble=ensemble, others=others, folder=folder)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that was saved beside the model; ValueError where none was."""
        if self.folder is None:
            raise ValueError("this scorer was made without a folder: score token ids")
        return load_tokenizer(self.folder)

    @property
    def max_tokens(self) -> int:
        """How many tokens the model can read."""
        config = self.model.config.get_text_config()
        read = int(getattr(config, "max_position_embeddings", UNLIMITED))
        return min(read, places_of(self.model) or read, int(self.tokenizer.model_max_length))

    def score_texts(
        self,
        prompts: Sequence[str | Sequence[Message]],
        responses: Sequence[str],
        *,
        finished: bool | Sequence[bool] = True,
        max_tokens: int | None = None,
    ) -> list[float]:
        """One reward per (prompt, response), in the order given. A prompt is a text (one turn of
        the user's) or messages; a response that was `finished` ends in EOS, as in training.

        Prompts are cut on their left where both together exceed `max_tokens` (what the model can
        read, by default). Raises ValueError for a response that leaves no room, and for one that
        is empty and not finished.
        """
        ended = [finished] * len(responses) if isinstance(finished, bool) else finished
        limit = self.max_tokens if max_tokens is None else max_tokens
        made = [
            ids_of(self.tokenizer, prompt, response, finished=end, max_tokens=limit)
            for prompt, response, end in zip(prompts, responses, ended, strict=True)
        ]
        return self.score([asked for asked, *_ in made], [answer for _, answer, _ in made])

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
        if self.others or self.ensemble.combine != "mean":
            members = self.score_members(prompts, responses, budget_tokens=budget_tokens)
            return self.ensemble.combined(np.array(members)).tolist() if members else []
        scores = in_batches(
            score_rows,
            self.model,
            prompts,
            responses,
            self.pad_token_id,
            budget_tokens=budget_tokens,
        )
        return [score - self.shift for score in scores]

    def score_members(
        self,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        *,
        budget_tokens: int | None = None,
    ) -> list[list[float]]:
        """What each member gives each (prompt, response), a row of M each: `score` is what
        `ensemble` makes of a row. A model without members is its own only one.
        """
        if not prompts:
            return []
        asked = (prompts, responses)
        if self.heads is not None:
            with wearing(self.model, self.heads):
                return tensor_in_batches(
                    member_rows, self.model, *asked, self.pad_token_id, budget_tokens=budget_tokens
                ).tolist()
        alone = [Scorer(one.model, self.pad_token_id) for one in (self, *self.others)]
        columns = [one.score(*asked, budget_tokens=budget_tokens) for one in alone]
        return [[score - self.offset for score in row] for row in zip(*columns, strict=True)]


def member_folder(folder: Path, member: int) -> Path:
    """Where a whole model lies that is a member of an ensemble: the first is the folder itself."""
    return folder / "members" / str(member) if member else folder
