"""Training a reward model on rankings, and saving it as a plain sequence classifier."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, PreTrainedModel, TrainingArguments, set_seed

from rlhf.data.identity import Json
from rlhf.models.loading import (
    add_adapters,
    load_scorer,
    load_tokenizer,
    pad_apart_from_eos,
    pad_token_id,
    save_whole,
    score_head,
    torch_dtype,
    trained_dtype,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.packing import per_response, shares_prefix
from rlhf.models.parallel import as_forward, repeated_at_the_end
from rlhf.models.places import check_places
from rlhf.models.training import CHECKPOINTING, QuietTrainer, fit
from rlhf.reward.ensemble import ALONE, Ensemble
from rlhf.reward.heads import bootstrap_weight, widen
from rlhf.reward.losses import Rankings, ranking_loss, weight_of
from rlhf.reward.normalisation import References, normalise, normalise_heads
from rlhf.reward.objective import Objective
from rlhf.reward.rankings import RankedBatch, RankedPrompt, collate
from rlhf.reward.scorer import member_rows, score_rows

BRADLEY_TERRY = Objective()
LOG_NU = "log_nu"
NU_LEARNING_RATE = 0.02


@dataclass
class RewardArguments(TrainingArguments):
    """Arguments of the reward model's training: transformers' own, and when to stop early."""

    early_stopping_patience: int = field(
        default=0,
        metadata={
            "help": "Stop after so many evaluations on the validation split without a lower loss, "
            "and keep the best; 0 trains to the end."
        },
    )

    def __post_init__(self) -> None:
        if self.early_stopping_patience < 0:
            raise ValueError(
                f"early_stopping_patience must not be negative, got {self.early_stopping_patience}"
            )
        if self.early_stopping_patience:
            self.eval_strategy = self.save_strategy = "steps"
            self.eval_steps = self.eval_steps or self.save_steps
            self.save_steps = self.eval_steps
            self.load_best_model_at_end = True
            self.metric_for_best_model, self.greater_is_better = "eval_loss", False
        super().__post_init__()  # type: ignore[no-untyped-call]


class RankedDataset(torch.utils.data.Dataset[tuple[RankedPrompt, range]]):
    """Ranked prompts, each with the positions of its responses among all responses of the data
    set. Raises ValueError where there is none, for rows of another kind, and for one that
    contradicts itself.
    """

    def __init__(self, ranked: Sequence[RankedPrompt]) -> None:
        if not ranked:
            raise ValueError(
                "no ranking of the train split has a strict pair: there is nothing to learn from"
            )
        for one in ranked:
            if not isinstance(one, RankedPrompt):
                raise ValueError(
                    f"a row to train on is a {type(one).__name__} and must be a RankedPrompt: "
                    "`rlhf import` takes preference files, docs/guides/dpo.md shows rows"
                )
            wrong = _fault_of(one)
            if wrong is not None:
                raise ValueError(f"a ranking of {one.prompt_id} {wrong}")
        self.ranked = ranked
        self.starts = [0]
        for one in ranked:
            self.starts.append(self.starts[-1] + len(one.responses))

    def __len__(self) -> int:
        return len(self.ranked)

    def __getitem__(self, index: int) -> tuple[RankedPrompt, range]:
        return self.ranked[index], range(self.starts[index], self.starts[index + 1])


def _fault_of(one: RankedPrompt) -> str | None:
    """What is wrong with a ranking, where something is."""
    for weight in (one.share, *one.weight, *(order.weight for order in one.orders)):
        if not (math.isfinite(weight) and weight >= 0):
            return f"has the weight {weight}: it must be a number, 0 or more"
    if not all(one.responses):
        return "has a response without a token: leave it out"
    if not len(one.better) == len(one.worse) == len(one.weight):
        return "must have as many of `better`, `worse` and `weight`, one of each for a pair"
    if not all(0 <= place < len(one.responses) for place in (*one.better, *one.worse)):
        return f"names a response in its pairs that is none of its {len(one.responses)}"
    return None


def check_readable(model: PreTrainedModel, ranked: Sequence[RankedPrompt]) -> None:
    """Raises ValueError for a ranking that is longer than the model can read, and for a token that
    it does not know: on a GPU that would end in an assertion without a name.
    """
    check_places(model, max(one.longest_tokens for one in ranked))
    known = model.config.get_text_config().vocab_size
    for one in ranked:
        ids = [token for row in (one.prompt, *one.responses) for token in row]
        if not 0 <= min(ids) <= max(ids) < known:
            odd = next(token for token in ids if not 0 <= token < known)
            raise ValueError(
                f"a ranking of {one.prompt_id} holds the token {odd}, and the model knows {known}: "
                "make its ids with the model's own tokenizer"
            )


@dataclass(frozen=True, slots=True)
class RankedCollator:
    """Makes one batch of ranked prompts; with `shared`, prompts are read once where that pays."""

    pad_token_id: int
    shared: bool = False

    @classmethod
    def for_model(
        cls,
        model: PreTrainedModel,
        pad_token_id: int,
        ranked: Sequence[RankedPrompt],
        args: TrainingArguments,
    ) -> "RankedCollator":
        """The collator for this model and these lengths; recomputed activations and compiled layers
        share nothing.
        """
        widest = max(len(one.prompt) for one in ranked)
        widest += max(len(response) for one in ranked for response in one.responses)
        apart = bool(getattr(args, CHECKPOINTING)) or args.torch_compile
        return cls(pad_token_id, not apart and shares_prefix(model, widest))

    def __call__(self, elements: Sequence[tuple[RankedPrompt, range]]) -> dict[str, RankedBatch]:
        positions = [position for _, span in elements for position in span]
        ranked = [one for one, _ in elements]
        return {"batch": collate(ranked, positions, self.pad_token_id, shared=self.shared)}


class RankedTrainer(QuietTrainer):
    """`transformers.Trainer` over ranked prompts: each response encoded once, all its pairs in the
    loss. What a response is worth is for the kinds below to say. Raises ValueError for the
    Trainer's own label smoothing, which would do nothing.
    """

    def __init__(self, *, objective: Objective = BRADLEY_TERRY, **arguments: Any) -> None:
        if arguments["args"].label_smoothing_factor:
            raise ValueError(
                "label_smoothing_factor is of a loss over labels and would do nothing to one over "
                "rankings: set label_smoothing of the loss"
            )
        super().__init__(**arguments)
        self.objective: Objective = objective
        # The loss is this batch's share of its optimizer step: nothing is left to divide.
        self.model_accepts_loss_kwargs = True

    def scores(self, model: Any, batch: RankedBatch) -> torch.Tensor:
        """One number per response of the batch, (N,)."""
        raise NotImplementedError

    def log_nu(self) -> torch.Tensor | None:
        """How readily equals tie, for the losses that ask."""
        nu = self.objective.nu
        return None if nu is None else torch.tensor(math.log(nu), device=self.args.device)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        batch: RankedBatch = inputs["batch"].to(self.args.device)
        found = as_forward(model, self._loss_and_scores, batch)
        loss, scores = found[0], found[1:]
        if num_items_in_batch is not None:
            share = self._weight(batch) / num_items_in_batch
            loss = loss * share * self.args.world_size  # gradients are averaged over processes
        return (loss, {"scores": scores}) if return_outputs else loss

    def _loss_and_scores(self, model: Any, batch: RankedBatch) -> torch.Tensor:
        """The loss, then the scores, (1 + N,): all that reads a weight (nu too) is to be seen by
        what averages gradients over processes.
        """
        scores = self.scores(model, batch)
        return torch.cat([self.loss(scores, batch.rankings)[None].to(scores), scores])

    def loss(self, scores: torch.Tensor, rankings: Rankings) -> torch.Tensor:
        """The objective, a mean over the weight of `rankings`."""
        return ranking_loss(scores, rankings, self.objective, self.log_nu())

    def _weight(self, batch: RankedBatch) -> torch.Tensor:
        return weight_of(batch.rankings, self.objective) * batch.counted.any()

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, RankedBatch]], device: torch.device
    ) -> torch.Tensor:
        """The weight of an optimizer step: of all its micro-batches, in all processes. In the last
        of an epoch a prompt counts once, however often it stands there to end processes together.
        """
        again = repeated_at_the_end(self)
        if again and self.accelerator.gradient_state.end_of_dataloader:
            batch_samples[-1]["batch"] = batch_samples[-1]["batch"].counting_once(again)
        own = [self._weight(one["batch"]) for one in batch_samples]
        return self.accelerator.reduce(torch.stack(own).sum().to(device), "sum")  # type: ignore[no-any-return]


class RewardTrainer(RankedTrainer):
    """A ranking loss on the scores of a reward model; with ties in it, nu is learned beside the
    head where the objective gives none. With several `members`, each head has a loss of its own,
    in which every prompt weighs what the bootstrap drew for it.
    """

    def __init__(self, *, members: int = 1, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.members = members

    def scores(self, model: Any, batch: RankedBatch) -> torch.Tensor:
        """One number per response, (N,): with several heads, their mean."""
        if self.members == 1:
            return per_response(score_rows, model, batch.packs)
        return self.member_scores(model, batch).mean(1)

    def member_scores(self, model: Any, batch: RankedBatch) -> torch.Tensor:
        """What each head gives each response, (N, M)."""
        return per_response(member_rows, model, batch.packs)

    def _loss_and_scores(self, model: Any, batch: RankedBatch) -> torch.Tensor:
        if self.members == 1:
            return super()._loss_and_scores(model, batch)
        scores = self.member_scores(model, batch)
        whole = weight_of(batch.rankings, self.objective)
        losses = []
        for member in range(self.members):
            drawn = self._drawn(batch, member)
            share = weight_of(drawn, self.objective) / whole
            losses.append(self.loss(scores[:, member], drawn) * share)
        return torch.cat([torch.stack(losses).mean()[None].to(scores), scores.mean(1)])

    def _drawn(self, batch: RankedBatch, member: int) -> Rankings:
        """The rankings as this member learns from them."""
        times = [bootstrap_weight(self.args.seed, one, member) for one in batch.prompt_ids]
        return batch.weighed(times)

    def log_nu(self) -> torch.Tensor | None:
        learned = learned_log_nu(self.model)
        return super().log_nu() if learned is None else learned

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The Trainer's, with a learning rate of its own for nu, which the head's would not
        move.
        """
        optimizer = super().create_optimizer(model)
        log_nu = learned_log_nu(self.model)
        if log_nu is not None and not any(
            group.get("lr") == NU_LEARNING_RATE for group in optimizer.param_groups
        ):
            for group in optimizer.param_groups:
                group["params"] = [p for p in group["params"] if p is not log_nu]
            optimizer.add_param_group(
                {"params": [log_nu], "lr": NU_LEARNING_RATE, "weight_decay": 0.0}
            )
        return optimizer

    @torch.no_grad()
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Loss of the validation split, a mean over its prompts, each as often as it counts."""
        model: Any = self.model
        model.eval()
        data: Any = self.eval_dataset
        # The Trainer's own loader would give processes some prompts twice, to end them together.
        own = range(self.args.process_index, len(data), self.args.world_size)
        loader: Any = torch.utils.data.DataLoader(
            torch.utils.data.Subset(data, own),
            self.args.eval_batch_size,
            collate_fn=self.data_collator,
        )
        sums = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        for inputs in loader:
            batch: RankedBatch = inputs["batch"].to(self.args.device)
            weight = weight_of(batch.rankings, self.objective).double()
            with self.accelerator.autocast():
                scores = self.scores(model, batch)
            loss = self.loss(scores, batch.rankings).double()
            sums += torch.stack([loss * weight, weight])
        total, count = self.accelerator.reduce(sums, "sum").tolist()
        metrics = {"eval_loss": total / count}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


def learned_log_nu(model: Any) -> torch.nn.Parameter | None:
    """The log of nu that is trained with a reward model, if any."""
    named = model.named_parameters()
    return next((p for name, p in named if name.endswith(LOG_NU) and p.requires_grad), None)


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training beside the model. `mean` and `std`: of the raw scores of the
    reference responses, before normalisation. `nu`: how readily equals tie, for a loss that asks.
    `steps` were made; `shared`: whether prompts were read once for all their responses.
    """

    mean: float
    std: float
    nu: float | None
    steps: int
    shared: bool


def train_reward(
    base: str | Path,
    train: Sequence[RankedPrompt],
    references: References,
    output: Path,
    trainer_args: Json,
    *,
    seed: int,
    dtype: str,
    lora: LoraSettings | None,
    log: Callable[[Json], None],
    progress: Callable[[int, int], None],
    validation: Sequence[RankedPrompt] = (),
    objective: Objective = BRADLEY_TERRY,
    ensemble: Ensemble = ALONE,
) -> Trained:
    """Trains a reward model from `base` and saves it in `output`, with the heads of an ensemble
    beside it (`rlhf.reward.seeds` trains whole models).

    `references` are (prompt, response) ids that shall score 0 on average with standard deviation
    1. `validation` decides when to stop where the arguments say so. Raises ValueError where there
    is nothing to train on, or to stop by, and for what is longer than the model can read.
    """
    data = RankedDataset(train)
    args = RewardArguments(**{"remove_unused_columns": False, **trainer_args})
    stops = args.early_stopping_patience > 0
    if stops and not validation:
        raise ValueError("early_stopping_patience is set, and no validation prompt has a ranking")
    tokenizer = load_tokenizer(base)
    pad = pad_token_id(tokenizer)
    model = load_scorer(base, pad, trained_dtype(dtype, lora))
    check_readable(model, [*train, *validation])
    assert ensemble.members == 1 or ensemble.kind == "heads"
    widen(model, ensemble.members, seed)
    if objective.ties and objective.nu is None:
        score_head(model).register_parameter(LOG_NU, first_log_nu(train))
    set_seed(seed)  # adapters are drawn
    trained: Any = model if lora is None else add_adapters(model, lora, "SEQ_CLS")
    collator = RankedCollator.for_model(trained, pad, [*train, *validation], args)
    trainer = RewardTrainer(
        model=trained,
        args=args,
        train_dataset=data,
        eval_dataset=RankedDataset(validation) if stops else None,
        data_collator=collator,
        objective=objective,
        members=ensemble.members,
        callbacks=[EarlyStoppingCallback(args.early_stopping_patience)] if stops else None,
    )
    fit(trainer, log=log, progress=progress)
    log_nu = trainer.log_nu()
    nu = None if log_nu is None else float(log_nu.detach().exp())
    plain: PreTrainedModel = trained if lora is None else trained.merge_and_unload()
    # What is saved is what gets its zero and its unit.
    plain.to(torch_dtype(dtype))  # type: ignore[arg-type]
    if hasattr(score_head(plain), LOG_NU):
        delattr(score_head(plain), LOG_NU)  # the saved model is plain
    if ensemble.members == 1:
        mean, std = normalise(plain, references, pad)
        heads = None
    else:
        mean, std, heads = normalise_heads(plain, ensemble, references, pad)
    if trainer.is_world_process_zero():
        pad_apart_from_eos(plain, tokenizer)
        save_whole(plain, tokenizer, output)
        if heads is not None:
            heads.save(output)
    trainer.accelerator.wait_for_everyone()
    return Trained(mean, std, nu, trainer.state.global_step, collator.shared)


def first_log_nu(ranked: Sequence[RankedPrompt]) -> torch.nn.Parameter:
    """Where nu starts: at the share of ties, were all scores equal; from one tie in 1,000 to nine
    in ten.
    """
    pairs = collate(ranked, [], 0).rankings.pairs
    share = float((pairs.weight * (pairs.margin == 0)).sum() / pairs.weight.sum())
    share = min(max(share, 0.001), 0.9)
    return torch.nn.Parameter(torch.tensor(math.log(2 * share / (1 - share))))


def init_head(model: PreTrainedModel, seed: int) -> None:
    """Draws the score head from N(0, 1/(d+1)), its bias 0. Stiennon et al. (2020), appendix."""
    widen(model, 1, seed)
