"""PPO from saved models to saved models."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rlhf.data.identity import Json
from rlhf.models.loading import (
    add_adapters,
    load_policy,
    load_scorer,
    load_tokenizer,
    pad_token_id,
    save_whole,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.training import fit
from rlhf.policy.ppo import PPOTrainer
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer


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
    actor, value = load_policy(policy, dtype), load_scorer(reward_model, pad, dtype)
    trainer = PPOTrainer(
        args=PPOConfig(**trainer_args),
        processing_class=tokenizer,
        model=actor if lora is None else add_adapters(actor, lora, "CAUSAL_LM"),
        value_model=value if lora is None else add_adapters(value, lora, "SEQ_CLS"),
        reward_model=Scorer(load_scorer(reward_model, pad, dtype), pad),
        train_dataset=prompts,
    )
    last = fit(trainer, log=log, progress=progress)
    trained = trainer.model
    save_whole(trained.policy, tokenizer, output)  # type: ignore[union-attr]
    save_whole(trained.value_model, tokenizer, output.parent / "value")  # type: ignore[union-attr]
    return last
