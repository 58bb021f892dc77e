"""DPO on rankings as rankings: each response passes through the policy once, all pairs of its
prompt share it.

The implicit reward of a response is beta times its log-ratio to the reference; the loss is the
reward model's K-wise loss on those. At K = 2 that is DPO. Rafailov et al. (2023), equation 7.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, TrainingArguments

from rlhf.data.identity import Json
from rlhf.models.batching import sequence_logprobs
from rlhf.models.loading import (
    add_adapters,
    device,
    load_policy,
    load_tokenizer,
    pad_token_id,
    save_whole,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.packing import in_batches, per_response
from rlhf.models.training import fit
from rlhf.reward.rankings import RankedBatch, RankedPrompt
from rlhf.reward.trainer import RankedCollator, RankedDataset, RankedTrainer


class DPOTrainer(RankedTrainer):
    """The K-wise loss on implicit rewards.

    `reference_logprobs` (N,) holds the summed log-probability of each response of the data set
    under the reference, computed once. Logs `rewards/margins`, `rewards/accuracies`,
    `logps/chosen` and `logps/rejected` (nats).
    """

    def __init__(self, *, beta: float, reference_logprobs: torch.Tensor, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.beta = beta
        self.reference_logprobs = reference_logprobs
        self._sums: dict[str, float] = {}
        self._batches = 0

    def scores(self, model: Any, batch: RankedBatch) -> torch.Tensor:
        """beta * (log policy - log reference) of each response, (N,)."""
        logprobs = per_response(sequence_logprobs, model, batch.packs)
        reference = self.reference_logprobs[batch.positions].to(logprobs.device, logprobs.dtype)
        rewards = self.beta * (logprobs - reference)
        if model.training:
            self._note(rewards.detach(), logprobs.detach(), batch)
        return rewards

    def _note(self, rewards: torch.Tensor, logprobs: torch.Tensor, batch: RankedBatch) -> None:
        pairs = batch.rankings.strict
        better, worse, weight = pairs.better, pairs.worse, pairs.weight
        margins = rewards[better] - rewards[worse]
        share = weight / weight.sum()
        numbers = {
            "rewards/margins": (share * margins).sum(),
            "rewards/accuracies": (share * (margins > 0)).sum(),
            "logps/chosen": (share * logprobs[better]).sum(),
            "logps/rejected": (share * logprobs[worse]).sum(),
        }
        for name, value in numbers.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._batches += 1

    def log(self, logs: dict[str, float], *arguments: Any, **named: Any) -> None:
        if self._batches:
            logs = {**logs, **{name: total / self._batches for name, total in self._sums.items()}}
            self._sums, self._batches = {}, 0
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
) -> Json:
    """Trains a policy, started from `policy` with that same folder as reference, and saves it in
    `output`.

    Returns what `fit` returns. Raises ValueError where there is nothing to train on.
    """
    data = RankedDataset(train)
    tokenizer = load_tokenizer(policy)
    pad = pad_token_id(tokenizer)
    model = load_policy(policy, dtype)
    reference = reference_logprobs(
        model.to(device()),  # type: ignore[arg-type]
        train,
        pad,
    )
    args = TrainingArguments(**{"remove_unused_columns": False, **trainer_args})
    trained = model if lora is None else add_adapters(model, lora, "CAUSAL_LM")
    trainer = DPOTrainer(
        beta=beta,
        reference_logprobs=reference,
        model=trained,
        args=args,
        train_dataset=data,
        data_collator=RankedCollator.for_model(trained, pad, train, args),
    )
    last = fit(trainer, log=log, progress=progress)
    save_whole(trainer.model, tokenizer, output)
    return last


def reference_logprobs(
    model: PreTrainedModel, ranked: Sequence[RankedPrompt], pad: int
) -> torch.Tensor:
    """Summed log-probability of every response of the data set, (N,) in float64 on the CPU."""
    pairs = [(one.prompt, response) for one in ranked for response in one.responses]
    prompts, responses = zip(*pairs, strict=True)
    sums = in_batches(sequence_logprobs, model, prompts, responses, pad)
    return torch.tensor(sums, dtype=torch.float64)
