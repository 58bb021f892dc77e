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
from rlhf.models.batching import make_rows, per_row, response_logprobs
from rlhf.models.loading import (
    add_adapters,
    device,
    load_policy,
    load_tokenizer,
    save_whole,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.training import QuietTrainer, fit
from rlhf.reward.losses import kwise_loss
from rlhf.reward.rankings import RankedBatch, RankedPrompt
from rlhf.reward.trainer import RankedCollator, RankedDataset


class DPOTrainer(QuietTrainer):
    """`transformers.Trainer` over ranked prompts.

    `reference_logprobs` (N,) holds the summed log-probability of each response of the data set
    under the reference, computed once. Logs `rewards/margins`, `rewards/accuracies`,
    `logps/chosen` and `logps/rejected` (nats).
    """

    model_accepts_loss_kwargs = False

    def __init__(self, *, beta: float, reference_logprobs: torch.Tensor, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.beta = beta
        self.reference_logprobs = reference_logprobs
        self._sums: dict[str, float] = {}
        self._batches = 0

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        batch: RankedBatch = inputs["batch"]
        on = self.args.device
        better, worse, weight = batch.better.to(on), batch.worse.to(on), batch.weight.to(on)
        logprobs = per_row(lambda rows: response_logprobs(model, rows).sum(1), batch.rows.to(on))
        reference = self.reference_logprobs[batch.positions].to(on, logprobs.dtype)
        rewards = self.beta * (logprobs - reference)
        loss = kwise_loss(rewards, better, worse, weight)
        if model.training:
            self._note(rewards.detach(), logprobs.detach(), better, worse, weight)
        return (loss, {"rewards": rewards}) if return_outputs else loss

    def _note(
        self,
        rewards: torch.Tensor,
        logprobs: torch.Tensor,
        better: torch.Tensor,
        worse: torch.Tensor,
        weight: torch.Tensor,
    ) -> None:
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

    Returns the last logged numbers. Raises ValueError where there is nothing to train on.
    """
    if not train:
        raise ValueError(
            "no ranking of the train split has a strict pair: there is nothing to learn from"
        )
    tokenizer = load_tokenizer(policy)
    assert isinstance(tokenizer.pad_token_id, int)
    model = load_policy(policy, dtype)
    reference = reference_logprobs(
        model.to(device()),  # type: ignore[arg-type]
        train,
        tokenizer.pad_token_id,
    )
    trainer = DPOTrainer(
        beta=beta,
        reference_logprobs=reference,
        model=model if lora is None else add_adapters(model, lora, "CAUSAL_LM"),
        args=TrainingArguments(**{"remove_unused_columns": False, **trainer_args}),
        train_dataset=RankedDataset(train),
        data_collator=RankedCollator(tokenizer.pad_token_id),
    )
    last = fit(trainer, log=log, progress=progress)
    save_whole(trainer.model, tokenizer, output)
    return last


@torch.inference_mode()
def reference_logprobs(
    model: PreTrainedModel, ranked: Sequence[RankedPrompt], pad_token_id: int, batch_size: int = 64
) -> torch.Tensor:
    """Summed log-probability of every response of the data set, (N,) in float64 on the CPU.

    Batches are made of responses of like length.
    """
    flat = [(one.prompt, response) for one in ranked for response in one.responses]
    order = sorted(range(len(flat)), key=lambda i: (len(flat[i][0]) + len(flat[i][1]), i))
    found = torch.zeros(len(flat), dtype=torch.float64)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        rows = make_rows([flat[i][0] for i in chosen], [flat[i][1] for i in chosen], pad_token_id)
        sums = response_logprobs(model, rows.to(model.device)).sum(1)
        found[torch.tensor(chosen)] = sums.double().cpu()
    return found
