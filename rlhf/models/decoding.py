"""Decoding, a token a step, on keys and values that stay where they are.

Each different prompt is read once for all its samples. Keys and values lie in buffers that have
room for the whole response, so that nothing is copied from step to step; rows that have ended are
taken out. On a GPU the step is captured once as a CUDA graph and replayed, so that a small model is
not held up by the launching of its kernels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from rlhf.models.attention import attends_to_all, cache_argument
from rlhf.models.batching import make_rows

Choose = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

# Decoders of which every layer is attention to all tokens before and a dense network, so that a
# step holds nothing that waits for the GPU. Others decode through transformers' `generate`.
DENSE = frozenset(
    {
        "gemma",
        "gpt2",
        "gpt_neox",
        "granite",
        "llama",
        "mistral",
        "olmo",
        "olmo2",
        "phi",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
        "stablelm",
        "starcoder2",
    }
)
# Ways to compute attention that take a mask of ours.
MASKED = frozenset({"sdpa", "eager"})
STRETCH_STEPS = 16
WARM_UP_STEPS = 2


def decodes(model: Any, longest_tokens: int) -> bool:
    """Whether this model can be decoded here, up to this length."""
    config = model.config.get_text_config()
    return (
        config.model_type in DENSE
        and config._attn_implementation in MASKED
        and attends_to_all(config, longest_tokens)
    )


class KeptLayer(DynamicLayer):
    """Keys and values of one layer for B rows, in buffers (B, H, room, D), of which `filled`
    columns are in use. With `place`, a tensor of one, a step is written there and all of the buffer
    is read: shapes that do not change, for a CUDA graph.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, rows: torch.Tensor, room: int):
        super().__init__()  # type: ignore[no-untyped-call]
        self.filled = keys.shape[2]
        self.room = room
        self.place: torch.Tensor | None = None
        self.all_keys, self.all_values = self._with_room(keys, rows), self._with_room(values, rows)
        self.is_initialized = True
        self._show()

    def _with_room(self, states: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        _, heads, _, width = states.shape
        made = states.new_empty(len(rows), heads, self.room, width)
        made[:, :, : self.filled] = states[rows, :, : self.filled]
        return made

    def _show(self) -> None:
        self.keys = self.all_keys[:, :, : self.filled]
        self.values = self.all_values[:, :, : self.filled]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes in one step of all rows, and gives back what attention reads."""
        if self.place is not None:
            self.all_keys.index_copy_(2, self.place, key_states)
            self.all_values.index_copy_(2, self.place, value_states)
            return self.all_keys, self.all_values
        end = self.filled + key_states.shape[2]
        self.all_keys[:, :, self.filled : end] = key_states
        self.all_values[:, :, self.filled : end] = value_states
        self.filled = end
        self._show()
        return self.all_keys[:, :, :end], self.all_values[:, :, :end]

    def hold(self, place: torch.Tensor) -> None:
        """From now on a step is written at `place`, and the columns that no step has reached are
        read as well: they must hold numbers.
        """
        self.place = place
        self.all_keys[:, :, self.filled :] = 0
        self.all_values[:, :, self.filled :] = 0

    def keep(self, rows: torch.Tensor, filled: int) -> None:
        """Goes on with some rows only, the first `filled` columns of them."""
        self.filled = filled
        self.place = None
        self.all_keys = self._with_room(self.all_keys, rows)
        self.all_values = self._with_room(self.all_values, rows)
        self._show()


class Continuation:
    """B rows that are being continued from their prompts, at most `new_tokens` each.

    `out` (B, new_tokens) holds the tokens so far, of which there are `steps`; `rows` (B,) are the
    places of the rows that are still here.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        seeds: torch.Tensor,
        new_tokens: int,
        choose: Choose,
        pad_token_id: int,
    ) -> None:
        device = seeds.device
        self.model: Any = model
        self.choose = choose
        self.seeds = seeds
        self.rows = torch.arange(len(prompts), device=device)
        self.out = torch.full((len(prompts), new_tokens), pad_token_id, device=device)
        self.steps = 0
        different = list(dict.fromkeys(map(tuple, prompts)))
        number = {prompt: place for place, prompt in enumerate(different)}
        own = torch.tensor([number[tuple(prompt)] for prompt in prompts], device=device)
        read = make_rows(different, [()] * len(different), pad_token_id).to(device)
        cache: Any = DynamicCache()
        logits = self.model(
            input_ids=read.input_ids,
            attention_mask=read.attention_mask,
            position_ids=read.position_ids,
            use_cache=True,
            logits_to_keep=1,
            **{cache_argument(self.model): cache},
        ).logits[:, -1]  # (prompts, V)
        self.width = read.input_ids.shape[1]
        room = self.width + new_tokens
        self.cache: Any = Cache(
            layers=[KeptLayer(layer.keys, layer.values, own, room) for layer in cache.layers]
        )
        ahead = torch.ones(len(different), new_tokens, dtype=torch.bool, device=device)
        self.visible = torch.cat([read.attention_mask.bool(), ahead], 1)[own]  # (B, room)
        self.positions = (read.position_ids[:, -1] + 1)[own]  # (B,)
        first = torch.zeros(1, dtype=torch.long, device=device)
        self.tokens = choose(logits[own], self.seeds, first)  # (B,) the last of each row
        self.out[:, 0] = self.tokens
        self.steps = 1
        self.graph: torch.cuda.CUDAGraph | None = None

    def advance(self) -> None:
        """One more token for every row."""
        end = self.width + self.steps
        logits = self._forward(self.tokens, self.positions, self.visible[:, :end])
        step = torch.full((1,), self.steps, device=self.seeds.device)
        self.tokens = self.choose(logits, self.seeds, step)
        self.out[self.rows, self.steps] = self.tokens
        self.positions = self.positions + 1
        self.steps += 1

    def _forward(
        self, tokens: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor
    ) -> torch.Tensor:
        """Logits after one token more in every row, (B, V)."""
        mask = visible[:, None, None]  # (B, 1, 1, keys)
        if self.model.config.get_text_config()._attn_implementation == "eager":
            lowest = torch.finfo(self.model.dtype).min
            mask = torch.zeros_like(mask, dtype=self.model.dtype).masked_fill(~mask, lowest)
        logits: torch.Tensor = self.model(
            input_ids=tokens[:, None],
            attention_mask=mask,
            position_ids=positions[:, None],
            use_cache=True,
            **{cache_argument(self.model): self.cache},
        ).logits[:, -1]
        return logits

    def keep(self, living: torch.Tensor) -> None:
        """Goes on with the rows where `living` (B,) is true."""
        chosen = living.nonzero()[:, 0]
        self.rows, self.seeds = self.rows[chosen], self.seeds[chosen]
        self.tokens, self.positions = self.tokens[chosen], self.positions[chosen]
        self.visible = self.visible[chosen]
        for layer in self.cache.layers:
            layer.keep(chosen, self.width + self.steps - 1)
        self.graph = None

    def stretch(self, steps: int) -> None:
        """`steps` more tokens for every row, by replaying one captured step."""
        if self.graph is None:
            self._capture()
        assert self.graph is not None
        for _ in range(steps):
            self.graph.replay()
        self.out[self.rows, self.steps : self.steps + steps] = self.drawn[
            :, self.steps : self.steps + steps
        ]
        self.steps += steps

    def _capture(self) -> None:
        """Captures a step as a CUDA graph, after a few that bring its kernels to life."""
        moving = self.hold_still()
        before = [one.clone() for one in moving]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_STEPS):
                self.still_step()
        torch.cuda.current_stream().wait_stream(aside)
        for one, held in zip(moving, before, strict=True):
            one.copy_(held)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.still_step()

    def hold_still(self) -> tuple[torch.Tensor, ...]:
        """Puts all that changes from step to step into tensors that `still_step` moves on."""
        device = self.seeds.device
        self.tokens, self.positions = self.tokens.clone(), self.positions.clone()
        self.drawn = self.out[self.rows].clone()
        self.at = torch.tensor([self.steps], device=device)  # (1,) the step
        self.place = torch.tensor([self.width + self.steps - 1], device=device)  # (1,) its column
        self.columns = torch.arange(self.visible.shape[1], device=device)
        for layer in self.cache.layers:
            layer.hold(self.place)
        return self.tokens, self.positions, self.at, self.place, self.drawn

    def still_step(self) -> None:
        """One more token for every row; shapes and addresses are those of the step before."""
        visible = self.visible & (self.columns <= self.place)
        logits = self._forward(self.tokens, self.positions, visible)
        self.tokens.copy_(self.choose(logits, self.seeds, self.at))
        self.drawn.index_copy_(1, self.at, self.tokens[:, None])
        self.positions.add_(1)
        self.at.add_(1)
        self.place.add_(1)


def continue_rows(rows: Continuation, new_tokens: int, eos_token_id: int) -> torch.Tensor:
    """Decodes until every row has ended or is full: (B, new_tokens), padding after the end.

    Rows that have ended leave once they are a quarter of those here (on a GPU: half, looked at
    every `STRETCH_STEPS`).
    """
    ended = rows.tokens == eos_token_id  # of the rows here
    captured = rows.seeds.is_cuda
    while rows.steps < new_tokens:
        left = int((~ended).sum())
        if left == 0:
            break
        if left <= len(ended) // 2 or (not captured and left <= len(ended) * 3 // 4):
            rows.keep(~ended)
            ended = ended[~ended]
        stretch = min(STRETCH_STEPS, new_tokens - rows.steps)
        # Warming up runs ahead of where the rows are.
        if captured and (rows.graph is not None or stretch > WARM_UP_STEPS):
            rows.stretch(stretch)
            ended = (rows.out[rows.rows] == eos_token_id).any(1)
        else:
            rows.advance()
            ended = ended | (rows.tokens == eos_token_id)
    return rows.out
