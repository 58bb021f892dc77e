"""Training a reward model on rankings, and saving it as a plain sequence classifier."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, TrainingArguments

from rlhf.data.identity import Json
from rlhf.models.batching import per_row
from rlhf.models.loading import (
    add_adapters,
    load_scorer,
    load_tokenizer,
    pad_token_id,
    save_whole,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.training import QuietTrainer, fit
from rlhf.reward.losses import kwise_loss
from rlhf.reward.rankings import RankedBatch, RankedPrompt, collate
from rlhf.reward.scorer import SCALE, SHIFT, Scorer, score_head, score_rows


class RankedDataset(torch.utils.data.Dataset[tuple[RankedPrompt, range]]):
    """Ranked prompts, each with the positions of its responses among all responses of the data
    set. Raises ValueError where there is none.
    """

    def __init__(self, ranked: Sequence[RankedPrompt]) -> None:
        if not ranked:
            raise ValueError(
                "no ranking of the train split has a strict pair: there is nothing to learn from"
            )
        self.ranked = ranked
        self.starts = [0]
        for one in ranked:
            self.starts.append(self.starts[-1] + len(one.responses))

    def __len__(self) -> int:
        return len(self.ranked)

    def __getitem__(self, index: int) -> tuple[RankedPrompt, range]:
        return self.ranked[index], range(self.starts[index], self.starts[index + 1])


@dataclass(frozen=True, slots=True)
class RankedCollator:
    """Makes one flat batch of ranked prompts."""

    pad_token_id: int

    def __call__(self, elements: Sequence[tuple[RankedPrompt, range]]) -> dict[str, RankedBatch]:
        positions = [position for _, span in elements for position in span]
        return {"batch": collate([one for one, _ in elements], positions, self.pad_token_id)}


class RankedTrainer(QuietTrainer):
    """`transformers.Trainer` over ranked prompts: each response encoded once, all its pairs in the
    loss. What a response is worth is for the kinds below to say.
    """

    model_accepts_loss_kwargs = False

    def scores(self, model: Any, batch: RankedBatch) -> torch.Tensor:
        """One number per response of the batch, (N,)."""
        raise NotImplementedError

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        batch: RankedBatch = inputs["batch"].to(self.args.device)
        scores = self.scores(model, batch)
        loss = kwise_loss(scores, batch.better, batch.worse, batch.weight)
        return (loss, {"scores": scores}) if return_outputs else loss


class RewardTrainer(RankedTrainer):
    """The K-wise loss on the scores of a reward model."""

    def scores(self, model: Any, batch: RankedBatch) -> torch.Tensor:
        return per_row(lambda rows: score_rows(model, rows), batch.rows)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What was done to the raw scores: `mean` and `std` over the reference responses, before it."""

    mean: float
    std: float


def train_reward(
    base: str | Path,
    train: Sequence[RankedPrompt],
    references: Sequence[tuple[Sequence[int], Sequence[int]]],
    output: Path,
    trainer_args: Json,
    *,
    seed: int,
    dtype: str,
    lora: LoraSettings | None,
    log: Callable[[Json], None],
    progress: Callable[[int, int], None],
) -> Normalisation:
    """Trains a reward model from `base` and saves it in `output`.

    `references` are (prompt, response) ids that shall score 0 on average with standard deviation
    1. Raises ValueError where there is nothing to train on.
    """
    data = RankedDataset(train)
    tokenizer = load_tokenizer(base)
    pad = pad_token_id(tokenizer)
    model = load_scorer(base, pad, dtype)
    init_head(model, seed)
    trained: Any = model if lora is None else add_adapters(model, lora, "SEQ_CLS")
    trainer = RewardTrainer(
        model=trained,
        args=TrainingArguments(**{"remove_unused_columns": False, **trainer_args}),
        train_dataset=data,
        data_collator=RankedCollator(pad),
    )
    fit(trainer, log=log, progress=progress)
    plain: PreTrainedModel = trained if lora is None else trained.merge_and_unload()
    normalisation = normalise(plain, references, pad)
    save_whole(plain, tokenizer, output)
    return normalisation


def init_head(model: PreTrainedModel, seed: int) -> None:
    """Draws the score head from N(0, 1/(d+1)). Stiennon et al. (2020), appendix."""
    weight = score_head(model).weight
    drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        weight.copy_(drawn / math.sqrt(weight.shape[1] + 1))


def normalise(
    model: PreTrainedModel,
    references: Sequence[tuple[Sequence[int], Sequence[int]]],
    pad_token_id: int,
) -> Normalisation:
    """Folds the scale of the reference scores into the head; notes it and the mean in the config.

    The order of scores stays, and so do the probabilities of pairs, given the noted scale. Scores
    that are all alike are only shifted. Raises ValueError without references, and for scores that
    are not numbers.
    """
    if not references:
        raise ValueError("no reference response to set the zero and the unit of the reward by")
    setattr(model.config, SHIFT, 0.0)
    prompts, responses = zip(*references, strict=True)
    scores = torch.tensor(Scorer(model, pad_token_id).score(prompts, responses)).double()
    mean, std = float(scores.mean()), float(scores.std(correction=0))
    if not math.isfinite(std):
        raise ValueError(
            f"the reward model scores its reference responses {mean} on average: its training "
            "diverged; lower trainer.learning_rate"
        )
    scale = std if std > 1e-6 else 1.0
    with torch.no_grad():
        score_head(model).weight /= scale
    setattr(model.config, SHIFT, mean / scale)
    setattr(model.config, SCALE, scale)
    return Normalisation(mean, std)
