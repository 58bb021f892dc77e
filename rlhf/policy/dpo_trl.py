"""TRL's DPOTrainer on the pairs of the same rankings, on the same ids, its reference guarded.

For comparison, and for those who want its options. It sees every pair apart: a prompt that several
people ranked counts several times, ties and labelers' weights are not read.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed
from trl import DPOConfig
from trl import DPOTrainer as TRLDPOTrainer

from rlhf.data.identity import Json
from rlhf.models.loading import (
    add_adapters,
    load_policy,
    load_tokenizer,
    save_whole,
    trained_dtype,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.training import fit, silence
from rlhf.reward.rankings import RankedPrompt

REWARD_TOLERANCE = 1e-4


class GuardedDPOTrainer(TRLDPOTrainer):
    """TRL's trainer on ready ids, that stops where the policy does not start at its reference.

    TRL takes the reference from `config._name_or_path`, which after an SFT in memory names the
    pretrained base. Raises ValueError in the first step where a reward is not 0.
    """

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset  # the ids are made where all ids are made

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        loss = super().compute_loss(*arguments, **named)  # type: ignore[no-untyped-call]
        if self.state.global_step == 0:
            for name in ("rewards/chosen", "rewards/rejected"):
                for reward in self._metrics["train"][name][-1:]:
                    _check_start(name, reward)
        return loss


def _check_start(name: str, reward: float) -> None:
    if abs(reward) > REWARD_TOLERANCE:
        raise ValueError(
            f"the policy does not start at its reference: {name} is {reward:.4f} before the first "
            "update; start it from the saved folder of the reference"
        )


def pairs_of(ranked: Sequence[RankedPrompt]) -> list[Json]:
    """A row of ids for every strict pair, as TRL's collator reads it. Raises ValueError where
    there is none.
    """
    rows = [
        {
            "prompt_ids": list(one.prompt),
            "chosen_ids": list(one.responses[better]),
            "rejected_ids": list(one.responses[worse]),
        }
        for one in ranked
        for better, worse in zip(one.better, one.worse, strict=True)
    ]
    if not rows:
        raise ValueError(
            "no ranking of the train split has a strict pair: there is nothing to learn from"
        )
    return rows


def train_dpo_with_trl(
    policy: str | Path,
    train: Sequence[RankedPrompt],
    output: Path,
    trainer_args: Json,
    *,
    beta: float,
    loss_type: str,
    label_smoothing: float,
    dtype: str,
    lora: LoraSettings | None,
    log: Callable[[Json], None],
    progress: Callable[[int, int], None],
) -> Json:
    """What `train_dpo` does, by TRL; a batch holds pairs, not prompts.

    `loss_type` is TRL's name for the loss. Returns what `fit` returns.
    """
    rows = pairs_of(train)
    tokenizer = load_tokenizer(policy)
    held = trained_dtype(dtype, lora)
    model = load_policy(policy, held)
    args = DPOConfig(
        **{
            "max_length": None,
            **trainer_args,
            "beta": beta,
            "loss_type": loss_type,
            "label_smoothing": label_smoothing,
        }
    )
    set_seed(args.seed)  # adapters are drawn
    trainer = GuardedDPOTrainer(
        model=model if lora is None else add_adapters(model, lora, "CAUSAL_LM"),
        ref_model=load_policy(policy, held) if lora is None else None,  # else: the adapter off
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    silence(trainer)
    last = fit(trainer, log=log, progress=progress)
    if trainer.is_world_process_zero():
        save_whole(trainer.model, tokenizer, output, dtype)
    trainer.accelerator.wait_for_everyone()
    return last
