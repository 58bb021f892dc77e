"""DPO on rankings as rankings: each response passes through the policy once, all pairs of its
prompt share it.

The implicit reward of a response is beta times its log-ratio to the reference; the loss is the
reward model's on those, whichever of its names. With Bradley-Terry at K = 2 that is DPO. Rafailov
et al. (2023), equation 7.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, reduce  # type: ignore[import-untyped]
from transformers import PreTrainedModel, TrainingArguments, set_seed

from rlhf.data.identity import Json, content_id
from rlhf.data.jsonl import read_json, write_json
from rlhf.models.batching import sequence_logprobs
from rlhf.models.loading import (
    add_adapters,
    load_policy,
    load_tokenizer,
    pad_token_id,
    save_whole,
    trained_dtype,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.packing import TOLERANCE, in_batches, per_response
from rlhf.models.training import fit
from rlhf.reward.objective import Objective
from rlhf.reward.rankings import RankedBatch, RankedPrompt
from rlhf.reward.trainer import (
    BRADLEY_TERRY,
    RankedCollator,
    RankedDataset,
    RankedTrainer,
    check_readable,
    first_log_nu,
)

REFERENCE = "reference-logprobs.json"


class DPOTrainer(RankedTrainer):
    """A ranking loss on implicit rewards.

    `reference_logprobs` (N,) holds the summed log-probability of each response of the data set
    under the reference, computed once. With `response_tokens` (N,) a log-ratio is divided by them.
    Logs, as means over prompts by their weight of means over strict pairs: `rewards/chosen`,
    `rewards/rejected`, `rewards/margins`, `rewards/accuracies`, `logps/chosen`, `logps/rejected`
    (nats); and, as a mean over responses, `kl/from_reference`: log reference - log policy, in nats,
    which estimates KL(reference, policy) where the reference wrote them.
    """

    def __init__(
        self,
        *,
        beta: float,
        reference_logprobs: torch.Tensor,
        response_tokens: torch.Tensor | None = None,
        **arguments: Any,
    ) -> None:
        if not 0 < beta < math.inf:
            raise ValueError(f"beta must be above 0, got {beta}: below, the worse would be learned")
        super().__init__(**arguments)
        self.beta = beta
        self.reference_logprobs = reference_logprobs
        self.response_tokens = response_tokens
        self._sums: dict[str, torch.Tensor] = {}

    def scores(self, model: Any, batch: RankedBatch) -> torch.Tensor:
        """beta * (log policy - log reference) of each response, (N,)."""
        logprobs = per_response(sequence_logprobs, model, batch.packs)
        reference = self.reference_logprobs[batch.positions].to(logprobs.device, logprobs.dtype)
        rewards = self.beta * (logprobs - reference)
        if self.response_tokens is not None:
            rewards = rewards / self.response_tokens[batch.positions].to(rewards.device)
        if model.training:
            self._note(rewards.detach(), logprobs.detach(), reference, batch)
        return rewards

    def _note(
        self,
        rewards: torch.Tensor,
        logprobs: torch.Tensor,
        reference: torch.Tensor,
        batch: RankedBatch,
    ) -> None:
        pairs = batch.rankings.strict
        better, worse = pairs.better, pairs.worse
        weight = pairs.weight.double() * batch.counted[better]
        margins = rewards[better] - rewards[worse]
        numbers = {
            "rewards/chosen": rewards[better],
            "rewards/rejected": rewards[worse],
            "rewards/margins": margins,
            "rewards/accuracies": margins > 0,
            "logps/chosen": logprobs[better],
            "logps/rejected": logprobs[worse],
        }
        # Also where all are tied, as 0 of 0: processes must add up the same names.
        noted = {name: ((weight * one).sum(), weight.sum()) for name, one in numbers.items()}
        apart = (reference - logprobs).double()[batch.counted]
        noted["kl/from_reference"] = (apart.sum(), torch.ones_like(apart).sum())
        for name, sums in noted.items():
            self._sums[name] = self._sums.get(name, 0.0) + torch.stack(sums)

    def log(self, logs: dict[str, float], *arguments: Any, **named: Any) -> None:
        if self._sums:
            totals: Any = reduce(self._sums, "sum")
            means = {name: float(total / of) for name, (total, of) in totals.items() if of}
            logs, self._sums = {**logs, **means}, {}
        super().log(logs, *arguments, **named)


def train_dpo(
    policy: str | Path,
    train: Sequence[RankedPrompt],
    output: Path,
    trainer_args: Json,
    *,
    beta: float,
    dtype: str,
    lora: LoraSettings | None,
    log: Callable[[Json], None],
    progress: Callable[[int, int], None],
    objective: Objective = BRADLEY_TERRY,
    length_normalised: bool = False,
) -> Json:
    """Trains a policy, started from `policy` with that same folder as reference, and saves it in
    `output`.

    Returns what `fit` returns, and `nu` for a loss that knows ties: where the objective gives none
    it is the one at which the reference, to which all responses are worth the same, ties as often
    as people did. Raises ValueError where there is nothing to train on, and for what is longer than
    the model can read, or that it does not know.
    """
    data = RankedDataset(train)
    args = TrainingArguments(**{"remove_unused_columns": False, **trainer_args})
    tokenizer = load_tokenizer(policy)
    pad = pad_token_id(tokenizer)
    if objective.ties and objective.nu is None:
        objective = replace(objective, nu=math.exp(float(first_log_nu(train).detach())))
    model = load_policy(policy, trained_dtype(dtype, lora)).to(args.device)  # type: ignore[arg-type]
    check_readable(model, train)
    empty = [one.prompt_id for one in train if not one.prompt]
    if empty:
        raise ValueError(
            f"the prompt of {empty[0]} has no token, so that its responses' first has no "
            "probability: leave it out"
        )
    reference = kept_reference(model, train, pad, args)
    lengths = [len(response) for one in train for response in one.responses]
    set_seed(args.seed)  # adapters are drawn
    trained = model if lora is None else add_adapters(model, lora, "CAUSAL_LM")
    trainer = DPOTrainer(
        beta=beta,
        reference_logprobs=reference,
        response_tokens=torch.tensor(lengths) if length_normalised else None,
        objective=objective,
        model=trained,
        args=args,
        train_dataset=data,
        data_collator=RankedCollator.for_model(trained, pad, train, args),
    )
    last = fit(trainer, log=log, progress=progress)
    if trainer.is_world_process_zero():
        save_whole(trainer.model, tokenizer, output, dtype)
    trainer.accelerator.wait_for_everyone()
    return last if objective.nu is None else {**last, "nu": objective.nu}


def reference_logprobs(
    model: PreTrainedModel, ranked: Sequence[RankedPrompt], pad: int
) -> torch.Tensor:
    """Summed log-probability of every response of the data set, (N,) in float64 on the CPU."""
    pairs = [(one.prompt, response) for one in ranked for response in one.responses]
    prompts, responses = zip(*pairs, strict=True)
    sums = in_batches(sequence_logprobs, model, prompts, responses, pad)
    return torch.tensor(sums, dtype=torch.float64)


def kept_reference(
    model: PreTrainedModel, ranked: Sequence[RankedPrompt], pad: int, args: TrainingArguments
) -> torch.Tensor:
    """`reference_logprobs`, kept in the trainer's folder: a training that goes on takes what is
    there. Several processes do a part each.
    """
    path = Path(args.output_dir or ".") / REFERENCE
    texts = [[one.prompt, one.responses] for one in ranked]
    about = content_id("reference", texts)
    with _as_it_trains(args):
        main = args.process_index == 0
        kept = [_read_reference(path, about, model, ranked[0], pad) if main else []]
    broadcast_object_list(kept)
    if kept[0]:
        return torch.tensor(kept[0], dtype=torch.float64)
    own = range(args.process_index, len(ranked), args.world_size)
    with _as_it_trains(args):
        found = reference_logprobs(model, [ranked[i] for i in own], pad) if own else torch.empty(0)
    starts = RankedDataset(ranked).starts
    places = [place for i in own for place in range(starts[i], starts[i + 1])]
    sums = torch.zeros(starts[-1], dtype=torch.float64)
    sums[places] = found.double()
    whole: Any = reduce(sums.to(args.device), "sum")
    if args.process_index == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"about": about, "logprobs": whole.tolist()})
    return whole.cpu()  # type: ignore[no-any-return]


def _as_it_trains(args: TrainingArguments) -> torch.autocast:
    """The context in which the policy is trained: rounded alike, it starts at its reference."""
    return torch.autocast(args.device.type, torch.bfloat16, enabled=bool(args.bf16))


def _read_reference(
    path: Path, about: str, model: PreTrainedModel, first: RankedPrompt, pad: int
) -> list[float]:
    """What was kept for these texts under this model, which scores one prompt's responses again to
    tell; [] where that is not so.
    """
    held = read_json(path) if path.exists() else {}
    if held.get("about") != about:
        return []
    kept = torch.tensor(held["logprobs"], dtype=torch.float64)
    again = reference_logprobs(model, [first], pad)
    rounded = torch.bfloat16 if torch.is_autocast_enabled(model.device.type) else model.dtype
    near = torch.allclose(kept[: len(again)], again, rtol=TOLERANCE[rounded], atol=1e-3)
    return kept.tolist() if near else []
