"""How policy, value model and reference share memory: two models, one trunk with a value head, or
one frozen base with adapters.

Each is a module that the trainer can read rows with, that gives the policy to sample from, and in
whose `as_reference` the policy answers as its reference.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import torch

from rlhf.models.batching import CHUNK_ROWS, Rows, by_length, hidden_states, make_rows
from rlhf.policy.recomputation import Recomputes
from rlhf.policy.token_logprobs import Reading, token_logprobs
from rlhf.reward.scorer import SHIFT

POLICY, VALUE, REWARD = "policy", "value", "reward"


class ActorCritic(Protocol):
    """What PPO trains: a module with a policy and values."""

    @property
    def policy(self) -> Any:
        """The model to sample from."""

    def read(self, rows: Rows, temperature: float, *, bonus: bool = False) -> Reading:
        """Log-probabilities, entropies and values of the response tokens; the entropies with a
        gradient where there is a `bonus` on them.
        """

    def as_reference(self) -> Any:
        """A context in which `policy` is the reference, or None where it cannot be."""


class PolicyAndValue(Recomputes):
    """Two models under one optimizer; the value model starts as a copy of the reward model.

    Where the policy carries adapters the reference is the policy without them, or with the
    adapter `reference_adapter`.
    """

    policy: Any

    def __init__(
        self, policy: Any, value_model: Any, *, reference_adapter: str | None = None
    ) -> None:
        super().__init__()
        self.policy = policy
        self.value_model = value_model
        self.value_shift = float(getattr(value_model.config, SHIFT, 0.0))
        self.reference_adapter = reference_adapter

    def recomputed(self) -> Sequence[Any]:
        """Both models."""
        return (self.policy, self.value_model)

    def read(self, rows: Rows, temperature: float, *, bonus: bool = False) -> Reading:
        """Log-probabilities, entropies and values of the response tokens."""
        hidden = hidden_states(self.policy, rows)
        head = self.policy.get_output_embeddings()
        logprobs, entropies = token_logprobs(head, hidden, rows, temperature, bonus=bonus)
        return Reading(logprobs, entropies, state_values(self.value_model, rows, self.value_shift))

    def as_reference(self) -> Any:
        """The policy without its adapters, or with the reference's; None where it has none."""
        return _reference(self.policy, self.reference_adapter)


class SharedTrunk(Recomputes):
    """A policy with a value head on its last hidden states: one pass gives both. The head starts
    at 0, so that the first advantages are those of the plain return. The reference is as above.
    """

    policy: Any

    def __init__(self, policy: Any, *, reference_adapter: str | None = None) -> None:
        super().__init__()
        self.policy = policy
        self.reference_adapter = reference_adapter
        weight = policy.get_output_embeddings().weight
        held = torch.promote_types(weight.dtype, torch.float32)  # bfloat16 would lose small steps
        self.value_head = torch.nn.Linear(weight.shape[1], 1, dtype=held, device=weight.device)
        torch.nn.init.zeros_(self.value_head.weight)
        torch.nn.init.zeros_(self.value_head.bias)

    def recomputed(self) -> Sequence[Any]:
        """The policy."""
        return (self.policy,)

    def read(self, rows: Rows, temperature: float, *, bonus: bool = False) -> Reading:
        """Log-probabilities, entropies and values of the response tokens, in one pass."""
        hidden = hidden_states(self.policy, rows)
        head = self.policy.get_output_embeddings()
        logprobs, entropies = token_logprobs(head, hidden, rows, temperature, bonus=bonus)
        values = _head_values(self.value_head, hidden)
        return Reading(logprobs, entropies, before_tokens(values, rows))

    def as_reference(self) -> Any:
        """The policy without its adapters, or with the reference's; None where it has none."""
        return _reference(self.policy, self.reference_adapter)


class OneBase(Recomputes):
    """One frozen base with adapters `policy`, `value` and `reward`; the reference is the base
    alone. The heads that give value and reward are copies of the reward model's.
    """

    def __init__(self, base: Any, head: torch.nn.Linear, reward_shift: float) -> None:
        super().__init__()
        self.base = base
        self.value_head = _copy_of(head)
        self.value_head.to(torch.promote_types(head.weight.dtype, torch.float32))
        self.reward_head = _copy_of(head).requires_grad_(False)
        self.reward_shift = reward_shift
        self._train_only_policy_and_value()

    @property
    def policy(self) -> Any:
        """The base with the policy's adapter."""
        self._use(POLICY)
        return self.base

    def read(self, rows: Rows, temperature: float, *, bonus: bool = False) -> Reading:
        """Log-probabilities, entropies and values of the response tokens."""
        hidden = hidden_states(self.policy, rows)
        head = self.base.get_output_embeddings()
        logprobs, entropies = token_logprobs(head, hidden, rows, temperature, bonus=bonus)
        self._use(VALUE)
        values = _head_values(self.value_head, hidden_states(self.base, rows))
        return Reading(logprobs, entropies, before_tokens(_wide(values) - self.reward_shift, rows))

    @contextmanager
    def as_reference(self) -> Iterator[None]:
        """The base without adapters."""
        try:
            with _without_adapters(self.base):
                yield
        finally:
            self._train_only_policy_and_value()

    @torch.no_grad()
    def score(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
    ) -> list[float]:
        """One reward for each response, from the reward adapter; the shift is taken off."""
        self._use(REWARD)
        rows = make_rows(prompts, responses, 0).to(self.base.device)
        scores = torch.empty(len(prompts), dtype=torch.float64)
        for index, part in by_length(rows, CHUNK_ROWS):
            last = hidden_states(self.base, part)[:, -1]
            scores[index.cpu()] = _head_values(self.reward_head, last).double().cpu()
        return (scores - self.reward_shift).tolist()

    def recomputed(self) -> Sequence[Any]:
        """The base."""
        return (self.base,)

    def _recomputing(self, asked: dict[str, Any] | None) -> dict[str, Any]:
        """A layer is made again with the adapter that it was made with: by then another is on."""
        settings = super()._recomputing(asked)
        if settings["use_reentrant"]:
            raise ValueError("ppo.memory: adapters recomputes without use_reentrant: leave it out")
        return {**settings, "context_fn": lambda: (nullcontext(), self._with(self._used()))}

    @contextmanager
    def _with(self, adapter: str) -> Iterator[None]:
        if self._used() != adapter:
            self._use(adapter)
        yield

    def _used(self) -> str:
        return str(self.base.active_adapter)

    def _use(self, adapter: str) -> None:
        self.base.set_adapter(adapter)
        self._train_only_policy_and_value()

    def _train_only_policy_and_value(self) -> None:
        """Whatever adapter is switched on: peft lets only that one train."""
        for name, weight in self.base.named_parameters():
            if "lora_" in name:
                weight.requires_grad_(f".{REWARD}." not in name)


def trained_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights that are trained, by name: what a checkpoint has to hold."""
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name in trained}


def all_finite(state: dict[str, torch.Tensor]) -> bool:
    """Whether every weight is a number."""
    return all(bool(torch.isfinite(value).all()) for value in state.values())


def values_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Of the trained weights those that give the values, where they are no model of their own."""
    return {
        name: value.contiguous()
        for name, value in trained_state(model).items()
        if name.startswith("value_head.") or f".{VALUE}." in name
    }


def load_trained_state(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Puts back what `trained_state` gave. Raises ValueError where the two do not fit."""
    wanted = trained_state(model).keys()
    if wanted != state.keys():
        odd = sorted(wanted ^ state.keys())
        raise ValueError(
            f"the checkpoint is of another model: {len(odd)} weights differ, {odd[0]} among them"
        )
    model.load_state_dict(state, strict=False)


def state_values(value_model: Any, rows: Rows, shift: float) -> torch.Tensor:
    """Value of the state before each response token, (B, T) in float32 (float64 stays); 0
    elsewhere.

    The value model has the reward model's shape, so its shift is taken off here too.
    """
    values = value_model.score(hidden_states(value_model, rows))[..., 0]  # (B, T)
    return before_tokens(_wide(values) - shift, rows)


def before_tokens(values: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Values (B, T) of the states after each token, moved to the token that follows; 0 outside the
    response.
    """
    before = torch.nn.functional.pad(_wide(values)[:, :-1], (1, 0))
    return torch.where(rows.response_mask.bool(), before, 0.0)


def read_in_chunks(read: Callable[[Rows], Reading], rows: Rows, size: int = CHUNK_ROWS) -> Reading:
    """`read` on chunks of like length, put back in place: (B, T) each, 0 where cut."""
    found: list[torch.Tensor] = []
    for index, chunk in by_length(rows, size):
        part = read(chunk)
        values = (part.logprobs, part.entropies, part.values)
        if not found:
            found = [one.new_zeros(rows.input_ids.shape) for one in values]
        for whole, one in zip(found, values, strict=True):
            whole[index, -one.shape[1] :] = one
    return Reading(*found)


def _head_values(head: torch.nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
    """What a head, which may be held wider than the states (..., D), gives each: (...)."""
    values: torch.Tensor = head(hidden.to(head.weight.dtype))[..., 0]
    return values


def _wide(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _copy_of(head: torch.nn.Linear) -> torch.nn.Linear:
    bias = head.bias is not None
    weight = head.weight
    copy = torch.nn.Linear(
        head.in_features, head.out_features, bias, dtype=weight.dtype, device=weight.device
    )
    copy.load_state_dict(head.state_dict())
    return copy


def _reference(policy: Any, adapter: str | None) -> Any:
    if not hasattr(policy, "disable_adapter"):
        return None
    return _without_adapters(policy) if adapter is None else _with_adapter(policy, adapter)


@contextmanager
def _without_adapters(model: Any) -> Iterator[None]:
    with _training_what_it_trains(model), model.disable_adapter():
        yield


@contextmanager
def _with_adapter(model: Any, adapter: str) -> Iterator[None]:
    back = model.active_adapter
    with _training_what_it_trains(model):
        model.set_adapter(adapter)
        try:
            yield
        finally:
            model.set_adapter(back)


@contextmanager
def _training_what_it_trains(model: Any) -> Iterator[None]:
    """Whatever peft switches on and off within: afterwards the same weights are trained, also
    where something failed, for what is saved then.
    """
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    try:
        yield
    finally:
        for name, weight in model.named_parameters():
            weight.requires_grad_(name in trained)
