"""PPO from saved models to saved models."""

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from transformers import set_seed

from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.models.loading import (
    add_adapters,
    device,
    load_policy,
    load_scorer,
    load_tokenizer,
    pad_token_id,
    save_whole,
    trained_dtype,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.training import fit
from rlhf.policy.adapters import one_base
from rlhf.policy.held_out import HeldOut, Watch
from rlhf.policy.ppo import BEST, SAMPLES, PPOTrainer
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.ppo_models import PolicyAndValue, SharedTrunk, load_trained_state, values_state
from rlhf.policy.ppo_setup import value_model_of
from rlhf.policy.ptx import PtxRows
from rlhf.policy.rewards import RewardFunction, Rewards
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer

Memory = Literal["separate", "shared", "adapters"]
HELD_OUT = "held-out.jsonl"

logger = logging.getLogger(__name__)


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
    memory: Memory = "separate",
    function: RewardFunction | None = None,
    function_alone: bool = False,
    held_out: Sequence[PromptIds] = (),
    monitor: str | Path | None = None,
    ptx: PtxRows | None = None,
) -> tuple[Json, Watch]:
    """Trains a policy against a reward model with PPO; reference and start are the folder `policy`.

    Returns what `fit` returns, and what was found on `held_out` prompts. Saves the policy in
    `output` and what gives its values in `value` beside it. With a `monitor`, a reward model that
    is only looked at, `output` holds the policy that it liked best and `last` the last one. Raises
    ValueError for a monitor that has nothing to look at.
    """
    tokenizer = load_tokenizer(policy)
    pad = pad_token_id(tokenizer)
    args = PPOConfig(**trainer_args)
    if monitor is not None and not (held_out and args.num_sample_generations):
        raise ValueError(
            "a monitor chooses among evaluations on held-out prompts, and there would be none: set "
            "num_sample_generations above 0 and give prompts to the validation split, or turn the "
            "monitor off"
        )
    set_seed(args.seed)  # adapters are drawn
    models, rewards = _models(policy, reward_model, pad, dtype, lora, memory)
    watcher = None if monitor is None else _scorer(monitor, pad, dtype)
    trainer = PPOTrainer(
        args=args,
        processing_class=tokenizer,
        model=models,
        reward_model=None if function_alone else rewards,
        reward_function=function,
        train_dataset=prompts,
        held_out=HeldOut(held_out, watcher) if held_out else None,
        ptx_dataset=ptx,
    )
    try:
        last = fit(trainer, log=log, progress=progress)
    finally:
        trainer.close()  # what comes next needs the memory
    if trainer.args.should_save:
        _save(trainer, output, dtype, best=monitor is not None)
    trainer.accelerator.wait_for_everyone()
    return last, trainer.watch


def _models(
    policy: str | Path,
    reward_model: str | Path,
    pad: int,
    dtype: str,
    lora: LoraSettings | None,
    memory: Memory,
) -> tuple[Any, Rewards]:
    held = trained_dtype(dtype, lora)
    actor = load_policy(policy, held)
    if memory == "adapters":
        if lora is None:
            raise ValueError("ppo.memory: adapters needs model.lora: set it, or memory: separate")
        joint = one_base(actor, load_scorer(reward_model, pad, dtype, trained=True), lora)
        return joint, joint
    rewards = _scorer(reward_model, pad, dtype)
    adapted = actor if lora is None else add_adapters(actor, lora, "CAUSAL_LM")
    if memory == "shared":
        return SharedTrunk(adapted), rewards
    value = value_model_of(load_scorer(reward_model, pad, held, trained=True))
    if lora is not None:
        value = add_adapters(value, lora, "SEQ_CLS")
    return PolicyAndValue(adapted, value), rewards


def _scorer(folder: str | Path, pad: int, dtype: str) -> Scorer:
    return Scorer(load_scorer(folder, pad, dtype, trained=True).to(device()), pad)  # type: ignore[arg-type]


def _save(trainer: PPOTrainer, output: Path, dtype: str, *, best: bool) -> None:
    """The policy that is kept, and what gives its values. Merging its adapters uses a model up, so
    that what it is asked for comes before.
    """
    tokenizer, models = trainer.tokenizer_of_policy, trainer.trained
    if trainer.watch.samples:
        write_jsonl(output.parent / SAMPLES, trainer.watch.samples)
        write_jsonl(output.parent / HELD_OUT, trainer.watch.history)
    kept = Path(trainer.args.output_dir or ".") / BEST
    if best and kept.exists():
        save_whole(copy.deepcopy(models.policy), tokenizer, output.parent / "last", dtype)
        load_trained_state(models, torch.load(kept, weights_only=True))
    elif best:
        logger.warning("%s is gone, so the policy that is kept is the last one.", kept)
    values = output.parent / "value"
    if isinstance(models, PolicyAndValue):
        save_whole(models.value_model, tokenizer, values, dtype)
    else:
        values.mkdir(exist_ok=True)
        save_file(values_state(models), values / "value.safetensors")
    save_whole(models.policy, tokenizer, output, dtype)
