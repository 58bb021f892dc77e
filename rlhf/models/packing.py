"""Several responses to one prompt, for the price of one prompt.

The prompt is read once; each of its K responses goes on from the keys and values that were kept,
and sees the prompt and itself, with position ids that go on from the prompt's. So P + K R tokens
pass through the model instead of K (P + R), with the same numbers and the same gradient. Where the
architecture does not allow that, or it does not pay, each response is a row with its prompt; rows
of like length go together either way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from rlhf.models.attention import attends_to_all
from rlhf.models.batching import (
    Prefix,
    Rows,
    hidden_states,
    make_rows,
    read_prompts,
    response_rows,
)
from rlhf.models.chunks import chunks, token_budget
from rlhf.models.compiling import is_compiled

Ids = Sequence[int]
Compute = Callable[[PreTrainedModel, Rows, Prefix | None], torch.Tensor]

# Tokens saved must outweigh a second pass through the layers.
WORTH = 1.15
# A key that is only attended to costs a fraction of a token that passes through the layers.
KEYS_PER_TOKEN = 4
# Of the largest state. In float64 too many norms are still taken in float32.
TOLERANCE = {
    torch.float64: 1e-4,
    torch.float32: 1e-4,
    torch.bfloat16: 5e-2,
    torch.float16: 1e-2,
}
HALF_PRECISION = 1e-3
# transformers 5.23 gave it another name; the old one warns.
RECOMPUTES = next(
    name
    for name in ("is_activation_checkpointing", "is_gradient_checkpointing")
    if hasattr(PreTrainedModel, name)
)


@dataclass(frozen=True, slots=True)
class Part:
    """n rows that go through the model together; `prompts` (n,) is the prompt of each within its
    pack, `places` (n,) where each stands in the whole, on the CPU.
    """

    rows: Rows
    prompts: torch.Tensor
    places: torch.Tensor


@dataclass(frozen=True, slots=True)
class Pack:
    """Prompts that are read once, and their responses; without `prompts`, rows that hold their
    own.
    """

    prompts: Rows | None
    parts: tuple[Part, ...]

    def to(self, device: torch.device) -> "Pack":
        parts = (Part(p.rows.to(device), p.prompts.to(device), p.places) for p in self.parts)
        return Pack(None if self.prompts is None else self.prompts.to(device), tuple(parts))


def per_response(compute: Compute, model: PreTrainedModel, packs: Sequence[Pack]) -> torch.Tensor:
    """`compute(model, rows, prefix)`, one number a row or several, on every part; in the order of
    the places: (N, ...).
    """
    found, places = [], []
    for pack in packs:
        prefix = None if pack.prompts is None else read_prompts(model, pack.prompts)
        for part in pack.parts:
            own = None if prefix is None else prefix[part.prompts]
            found.append(compute(model, part.rows, own))
            places.append(part.places)
    return torch.cat(found)[torch.cat(places).argsort()]


def in_batches(
    compute: Compute,
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    responses: Sequence[Ids],
    pad_token_id: int,
    *,
    budget_tokens: int | None = None,
) -> list[float]:
    """`compute`, one number a row, for each (prompt, response), in the order given, without a
    gradient. A prompt that stands there several times is read once where that works and pays.
    """
    if not prompts:
        return []
    found = tensor_in_batches(
        compute, model, prompts, responses, pad_token_id, budget_tokens=budget_tokens
    )
    return found.tolist()


@torch.no_grad()
def tensor_in_batches(
    compute: Compute,
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    responses: Sequence[Ids],
    pad_token_id: int,
    *,
    budget_tokens: int | None = None,
) -> torch.Tensor:
    """As `in_batches`, at least one pair, with one number a row or several: (N, ...) in float64 on
    the CPU.
    """
    widest = max(map(len, prompts)) + max(map(len, responses))
    shared = pays(prompts, responses) and shares_prefix(model, widest)
    packs = pack(prompts, responses, pad_token_id, shared=shared, budget_tokens=budget_tokens)
    found: torch.Tensor | None = None
    for one in packs:
        values = per_response(compute, model, [one.to(model.device)])
        places = torch.cat([part.places for part in one.parts]).sort().values
        if found is None:
            found = torch.empty((len(prompts), *values.shape[1:]), dtype=torch.float64)
        found[places] = values.double().cpu()
    assert found is not None
    return found


def pays(prompts: Sequence[Ids], responses: Sequence[Ids]) -> bool:
    """Whether reading each different prompt once saves enough tokens to be worth it; never where
    a prompt or a response is empty.
    """
    if not (all(map(len, prompts)) and all(map(len, responses))):
        return False
    answers = sum(map(len, responses))
    apart = sum(map(len, prompts)) + answers
    return apart > WORTH * (sum(map(len, set(map(tuple, prompts)))) + answers)


def pack(
    prompts: Sequence[Ids],
    responses: Sequence[Ids],
    pad_token_id: int,
    *,
    shared: bool,
    budget_tokens: int | None = None,
) -> Iterator[Pack]:
    """(prompt, response) pairs as packs whose parts hold at most `budget_tokens`, padding counted,
    or one row. With `shared`, prompts that are equal are one. Each is made when it is asked for:
    its tensors take 32 bytes a token.
    """
    budget_tokens = budget_tokens or token_budget()
    if not shared:
        lengths = [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
        for chosen in chunks(lengths, tokens=budget_tokens):
            rows = make_rows(
                [prompts[i] for i in chosen], [responses[i] for i in chosen], pad_token_id
            )
            own, places = torch.arange(len(chosen)), torch.tensor(chosen)
            yield Pack(None, (Part(rows, own, places),))
        return
    members: dict[tuple[int, ...], list[int]] = {}
    for place, prompt in enumerate(prompts):
        members.setdefault(tuple(prompt), []).append(place)
    asked = list(members)
    for chosen in chunks([len(one) for one in asked], tokens=budget_tokens):
        yield _shared_pack(
            {asked[i]: members[asked[i]] for i in chosen}, responses, pad_token_id, budget_tokens
        )


def _shared_pack(
    members: dict[tuple[int, ...], list[int]],
    responses: Sequence[Ids],
    pad_token_id: int,
    budget_tokens: int,
) -> Pack:
    """Prompts, and the places of the responses to each, as one pack."""
    asked = list(members)
    number = {place: n for n, prompt in enumerate(asked) for place in members[prompt]}
    width = max(map(len, asked))
    places = list(number)
    costs = [len(responses[place]) + width // KEYS_PER_TOKEN for place in places]
    parts = []
    for chosen in ([places[i] for i in one] for one in chunks(costs, tokens=budget_tokens)):
        rows = response_rows(
            [responses[place] for place in chosen],
            [len(asked[number[place]]) for place in chosen],
            pad_token_id,
        )
        own = torch.tensor([number[place] for place in chosen])
        parts.append(Part(rows, own, torch.tensor(chosen)))
    return Pack(make_rows(asked, [()] * len(asked), pad_token_id), tuple(parts))


def shares_prefix(model: PreTrainedModel, widest_tokens: int) -> bool:
    """Whether this model gives the same states for a response that goes on from a prompt read
    before as for prompt and response in one row. `widest_tokens`: of the longest prompt and the
    longest response together, whosever it is, for the padding between a shorter prompt and its
    response takes its place in a window.

    Its config is asked first (attention to all tokens before, not to a window or through a state);
    then it reads a few made-up tokens both ways. Compiled layers share nothing: they are for rows.
    """
    config = model.config.get_text_config()
    if not attends_to_all(config, widest_tokens):
        return False
    if getattr(config, "is_encoder_decoder", False) or getattr(model, RECOMPUTES):
        return False
    if is_compiled(model) or _reads_whole_texts(model):
        return False
    training = model.training
    model.eval()
    agrees = _agrees(model, config.vocab_size)
    model.train(training)
    return agrees


def _reads_whole_texts(model: PreTrainedModel) -> bool:
    """Whether it is an encoder under a head of its own (`rlhf.reward.scorer.member_rows`): while
    its weights are near 0 it looks like a decoder.
    """
    return not hasattr(model, "score") and model.get_output_embeddings() is None


@torch.no_grad()
def _agrees(model: PreTrainedModel, vocab_size: int) -> bool:
    """Whether a few tokens, of unlike lengths so that there is padding, end in the same states
    either way.
    """
    draw = torch.Generator().manual_seed(0)
    first, second, *responses = (
        torch.randint(vocab_size, (length,), generator=draw).tolist() for length in (5, 2, 3, 1, 2)
    )
    prompts = [first, first, second]
    (own,) = pack(prompts, responses, 0, shared=False)
    (shared,) = pack(prompts, responses, 0, shared=True)
    assert shared.prompts is not None
    if not read_prompts(model, shared.prompts.to(model.device)).layers:
        return False  # an encoder keeps nothing
    bare = Pack(None, shared.parts)
    apart, together, without = (
        per_response(
            lambda *part: hidden_states(*part)[:, -1], model, [one.to(model.device)]
        ).double()
        for one in (own, shared, bare)
    )
    difference = (apart - together).abs().max()
    tolerance = TOLERANCE[model.dtype]
    if tolerance < HALF_PRECISION:  # else what the prompt does can be less than the rounding
        tolerance = min(tolerance, 0.02 * float((apart - without).abs().max() / apart.abs().max()))
    return bool(difference <= tolerance * apart.abs().max())
