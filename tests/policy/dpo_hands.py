"""What the tests of DPO share: a few rankings, and a trainer on them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny_models import EOS, PAD, quiet_arguments
from transformers import PreTrainedModel, TrainingArguments

from rlhf.data.identity import Json
from rlhf.models.training import fit
from rlhf.policy.dpo import DPOTrainer, reference_logprobs
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.trainer import RankedCollator, RankedDataset

SGD: Json = {
    "max_steps": 1,
    "optim": "sgd",
    "learning_rate": 1.0,
    "max_grad_norm": 0.0,
    "lr_scheduler_type": "constant",
    "per_device_train_batch_size": 8,
}


def ranked(name: str, prompt: Sequence[int], *texts: Sequence[int]) -> RankedPrompt:
    """A strict ranking of texts, best first."""
    pairs = list(itertools.combinations(range(len(texts)), 2))
    better, worse = zip(*pairs, strict=True)
    answers = tuple((*text, EOS) for text in texts)
    share = (1 / len(pairs),) * len(pairs)
    return RankedPrompt(name, tuple(prompt), answers, (1,) * len(texts), better, worse, share)


DATA = [
    ranked("a", [5, 6], [7, 8], [9]),
    ranked("b", [6], [8, 8, 8], [9, 3], [4]),
    ranked("c", [12, 13, 14], [3], [4, 5, 6], [8, 2], [30]),
]


def trainer_in(
    folder: Path,
    data: Sequence[RankedPrompt],
    model: PreTrainedModel,
    reference: PreTrainedModel,
    *,
    beta: float = 0.1,
    **changes: Any,
) -> DPOTrainer:
    own = {name: changes.pop(name) for name in ("objective", "response_tokens") if name in changes}
    args = TrainingArguments(**quiet_arguments(folder, remove_unused_columns=False, **changes))
    return DPOTrainer(
        beta=beta,
        reference_logprobs=reference_logprobs(reference, data, PAD),
        model=model,
        args=args,
        train_dataset=RankedDataset(data),
        data_collator=RankedCollator.for_model(model, PAD, data, args),
        **own,
    )


def run(trainer: Any) -> list[Json]:
    logged: list[Json] = []
    fit(trainer, log=logged.append, progress=lambda *_: None)
    return logged
