"""PPO against a learned reward, on `transformers.Trainer`.

A dataloader batch of prompts becomes a rollout; the rollout is buffered and consumed in real
mini-batches over `num_ppo_epochs`; every mini-batch is one optimizer step of the Trainer, which
brings clipping, schedules, logging and checkpoints. Stiennon et al. (2020); Ouyang et al. (2022),
appendix C.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from rlhf.data.identity import Json, seed_from
from rlhf.models.batching import response_logprobs
from rlhf.models.generation import Sampling
from rlhf.models.loading import (
    add_adapters,
    load_policy,
    load_scorer,
    load_tokenizer,
    pad_token_id,
    save_whole,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.training import QuietTrainer, fit
from rlhf.policy.advantages import kl_k3, masked_mean, policy_loss, value_loss
from rlhf.policy.rollout import PromptIds, Roller, Rollout, state_values
from rlhf.reward.scorer import Scorer

WEIGHTS = "policy_and_value.pt"


@dataclass
class PPOConfig(TrainingArguments):
    """Arguments of PPO, by the names they had in TRL.

    A rollout holds `per_device_train_batch_size * gradient_accumulation_steps` episodes; it is
    consumed in `num_mini_batches` optimizer steps per epoch, each in forward passes of
    `per_device_train_batch_size`. `total_episodes` sets the length of the training; `save_steps`
    and `logging_steps` count rollouts.
    """

    total_episodes: int = field(default=2048, metadata={"help": "Responses to sample in all."})
    num_ppo_epochs: int = field(default=4, metadata={"help": "Passes over each rollout."})
    num_mini_batches: int = field(default=1, metadata={"help": "Optimizer steps per pass."})
    response_length: int = field(default=64, metadata={"help": "Longest response, in tokens."})
    temperature: float = field(default=1.0, metadata={"help": "Of sampling and of the loss."})
    kl_coef: float = field(default=0.05, metadata={"help": "Weight of the per-token KL (k1)."})
    cliprange: float = field(default=0.2, metadata={"help": "Clip of the policy ratio."})
    cliprange_value: float = field(default=0.2, metadata={"help": "Clip of the value change."})
    vf_coef: float = field(default=0.1, metadata={"help": "Weight of the value loss."})
    gamma: float = field(default=1.0, metadata={"help": "Discount."})
    lam: float = field(default=0.95, metadata={"help": "Lambda of GAE."})
    missing_eos_penalty: float = field(
        default=1.0, metadata={"help": "Taken off the score of a response that does not end."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        for name in (
            "num_ppo_epochs",
            "response_length",
            "temperature",
            "per_device_train_batch_size",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0 to 1, got {getattr(self, name)}")
        if self.kl_coef < 0:
            raise ValueError(f"kl_coef must not be negative, got {self.kl_coef}")
        self.rollout_size = self.per_device_train_batch_size * self.gradient_accumulation_steps
        if self.num_mini_batches < 1 or self.rollout_size % self.num_mini_batches:
            raise ValueError(
                f"a rollout of {self.rollout_size} episodes (per_device_train_batch_size * "
                f"gradient_accumulation_steps) does not divide into {self.num_mini_batches} "
                "mini-batches"
            )
        if self.total_episodes < self.rollout_size:
            raise ValueError(
                f"total_episodes is {self.total_episodes}, less than one rollout of "
                f"{self.rollout_size}"
            )


class PolicyAndValue(torch.nn.Module):
    """The two models that PPO trains, under one optimizer."""

    def __init__(self, policy: Any, value_model: Any) -> None:
        super().__init__()
        self.policy = policy
        self.value_model = value_model


class RolloutBatches(torch.utils.data.Sampler[list[int]]):
    """Batches of prompt indices: each is repeated for every update on its rollout; every pass is
    shuffled anew.
    """

    def __init__(self, count: int, size: int, repeats: int, rollouts: int, seed: int) -> None:
        self.count, self.size, self.repeats, self.rollouts = count, size, repeats, rollouts
        self.seed = seed

    def __len__(self) -> int:
        return self.rollouts * self.repeats

    def __iter__(self) -> Iterator[list[int]]:
        waiting: list[int] = []
        epoch = 0
        for _ in range(self.rollouts):
            while len(waiting) < self.size:
                generator = torch.Generator().manual_seed(seed_from("prompts", self.seed, epoch))
                waiting += torch.randperm(self.count, generator=generator).tolist()
                epoch += 1
            batch, waiting = waiting[: self.size], waiting[self.size :]
            for _ in range(self.repeats):
                yield batch


class PPOTrainer(QuietTrainer):
    """PPO with a separate value model that starts as a copy of the reward model."""

    def __init__(
        self,
        *,
        args: PPOConfig,
        processing_class: PreTrainedTokenizerBase,
        model: Any,
        value_model: Any,
        ref_model: PreTrainedModel,
        scorer: Scorer,
        train_dataset: Sequence[PromptIds],
    ) -> None:
        self.config = args
        self.updates_per_rollout = args.num_ppo_epochs * args.num_mini_batches
        self.rollouts = args.total_episodes // args.rollout_size
        # The Trainer counts optimizer steps, one a mini-batch; micro-batches are made in
        # training_step.
        inner = replace(
            args,
            max_steps=self.rollouts * self.updates_per_rollout,
            gradient_accumulation_steps=1,
            per_device_train_batch_size=args.rollout_size,
            save_steps=max(1, int(args.save_steps)) * self.updates_per_rollout,
            logging_steps=self.updates_per_rollout,
            logging_first_step=False,
            remove_unused_columns=False,
        )
        self.ref_model = ref_model.eval().requires_grad_(False)
        self.roller = Roller(
            tokenizer=processing_class,
            reference=self.ref_model,
            scorer=scorer,
            sampling=Sampling(args.response_length, args.temperature),
            seed=args.seed,
            kl_coef=args.kl_coef,
            gamma=args.gamma,
            lam=args.lam,
            missing_eos_penalty=args.missing_eos_penalty,
        )
        super().__init__(
            model=PolicyAndValue(model, value_model),
            args=inner,
            train_dataset=train_dataset,
            data_collator=list,
        )
        if self.args.world_size > 1:
            raise ValueError(
                f"PPO runs in one process, and there are {self.args.world_size}: start it without "
                "torchrun or accelerate launch"
            )
        for frozen in (self.ref_model, scorer.model):
            frozen.to(self.args.device)
        self._rollout: Rollout | None = None
        self._numbers: dict[str, list[float]] = {}

    def get_train_dataloader(self) -> Any:
        dataset: Any = self.train_dataset
        batches = RolloutBatches(
            len(dataset),
            self.config.rollout_size,
            self.updates_per_rollout,
            self.rollouts,
            self.config.seed,
        )
        loader: Any = torch.utils.data.DataLoader(dataset, batch_sampler=batches, collate_fn=list)
        return self.accelerator.prepare(loader)

    def training_step(
        self,
        model: Any,
        inputs: Any,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """One mini-batch: a new rollout where the last is used up, then forward and backward in
        micro-batches.
        """
        model.train()
        number, update = divmod(self.state.global_step, self.updates_per_rollout)
        inner = self.accelerator.unwrap_model(model)
        if update == 0 or self._rollout is None:
            self._rollout = self.roller.roll(inner.policy, inner.value_model, inputs, number)
            self._note(_rollout_numbers(self._rollout))
        chosen = self._mini_batch(number, update, len(inputs))
        tokens = self._rollout.rows.response_mask[chosen].sum()
        total = torch.zeros((), device=self.args.device)
        lengths = self._rollout.rows.attention_mask.sum(1)[chosen]
        in_order = chosen[lengths.sort(stable=True).indices]
        for micro in in_order.split(self.config.per_device_train_batch_size):
            loss = self._loss(inner, self._rollout[micro].trimmed(), tokens)
            self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _mini_batch(self, number: int, update: int, episodes: int) -> torch.Tensor:
        """Indices into the rollout; each epoch is a new permutation, a function of (seed, rollout,
        epoch).
        """
        epoch, part = divmod(update, self.config.num_mini_batches)
        seed = seed_from("mini-batches", self.config.seed, number, epoch)
        order = torch.randperm(episodes, generator=torch.Generator().manual_seed(seed))
        return order.chunk(self.config.num_mini_batches)[part].to(self.args.device)

    def _loss(self, model: PolicyAndValue, batch: Rollout, tokens: torch.Tensor) -> torch.Tensor:
        """This micro-batch's share of the mini-batch's token mean: policy loss + vf_coef * value
        loss.
        """
        mask = batch.rows.response_mask
        logprobs = response_logprobs(model.policy, batch.rows, self.config.temperature)
        values = state_values(model.value_model, batch.rows, self.roller.scorer.shift)
        surrogate, clipped = policy_loss(
            logprobs, batch.logprobs, batch.advantages, mask, self.config.cliprange
        )
        errors = value_loss(values, batch.values, batch.returns, self.config.cliprange_value)
        surrogate_sum = torch.where(mask.bool(), surrogate, 0.0).sum()
        errors_sum = torch.where(mask.bool(), errors, 0.0).sum()
        with torch.no_grad():
            change = kl_k3(batch.logprobs, logprobs)
            self._note(
                {
                    "policy/approxkl_avg": masked_mean(change, mask),
                    "policy/clipfrac_avg": masked_mean(clipped.float(), mask),
                    "loss/policy_avg": masked_mean(surrogate, mask),
                    "loss/value_avg": masked_mean(errors, mask),
                }
            )
        return (surrogate_sum + self.config.vf_coef * errors_sum) / tokens

    def _note(self, numbers: dict[str, torch.Tensor]) -> None:
        for name, value in numbers.items():
            self._numbers.setdefault(name, []).append(float(value))

    def log(self, logs: dict[str, float], *arguments: Any, **named: Any) -> None:
        means = {name: sum(values) / len(values) for name, values in self._numbers.items()}
        self._numbers = {}
        super().log({**logs, **means}, *arguments, **named)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.config.output_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state_dict or self.model.state_dict(), folder / WEIGHTS)  # type: ignore[union-attr]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        target: Any = model or self.model
        saved = torch.load(Path(resume_from_checkpoint) / WEIGHTS, weights_only=True)
        target.load_state_dict(saved)


def _rollout_numbers(rollout: Rollout) -> dict[str, torch.Tensor]:
    mask = rollout.rows.response_mask
    residual = masked_mean((rollout.returns - rollout.values) ** 2, mask)
    spread = masked_mean((rollout.returns - masked_mean(rollout.returns, mask)) ** 2, mask)
    return {
        "objective/kl": (rollout.kl * mask).sum(1).mean(),
        "objective/entropy": -(rollout.logprobs * mask).sum(1).mean(),
        "objective/scores": rollout.scores.mean(),
        "objective/finished": rollout.finished.mean(),
        "objective/response_tokens": mask.sum(1).float().mean(),
        "val/explained_variance": 1 - residual / spread.clamp(min=1e-8),
    }


def train_ppo(
    policy: str | Path,
    reward_model: str | Path,
    prompts: Sequence[PromptIds],
    output: Path,
    trainer_args: Json,
    *,
    dtype: str,
    lora: LoraSettings | None,
    log: Callable[[Json], None],
    progress: Callable[[int, int], None],
) -> Json:
    """Trains a policy against a reward model with PPO; reference and start are the folder `policy`.

    Returns what `fit` returns; saves the policy in `output` and the value model in
    `value` beside it.
    """
    tokenizer = load_tokenizer(policy)
    pad = pad_token_id(tokenizer)
    config = PPOConfig(**trainer_args)
    actor = load_policy(policy, dtype)
    value = load_scorer(reward_model, pad, dtype)
    if not hasattr(value, "score"):
        raise ValueError(
            f"PPO's value model starts as the reward model and needs a decoder that scores every "
            f"token; {type(value).__name__} scores whole texts"
        )
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=actor if lora is None else add_adapters(actor, lora, "CAUSAL_LM"),
        value_model=value if lora is None else add_adapters(value, lora, "SEQ_CLS"),
        ref_model=load_policy(policy, dtype),
        scorer=Scorer.load(reward_model, pad, dtype),
        train_dataset=prompts,
    )
    last = fit(trainer, log=log, progress=progress)
    trained: Any = trainer.model
    save_whole(trained.policy, tokenizer, output)
    save_whole(trained.value_model, tokenizer, output.parent / "value")
    return last
