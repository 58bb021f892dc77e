"""RLOO by TRL against our reward model: the scorer reads the ids that were sampled, never a text
made of them; dropout is off; a response that does not end costs; the reference is guarded.

Ahmadian et al. (2024), Back to basics.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import GenerationConfig, set_seed
from trl import RLOOConfig
from trl import RLOOTrainer as TRLRLOOTrainer

from rlhf.data.identity import Json
from rlhf.models.loading import (
    add_adapters,
    eos_token_id,
    load_policy,
    load_tokenizer,
    pad_token_id,
    save_whole,
    trained_dtype,
)
from rlhf.models.lora import LoraSettings
from rlhf.models.training import fit, silence
from rlhf.policy.rewards import check_numbers
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer

KL_TOLERANCE = 1e-4


@dataclass
class RLOOArguments(RLOOConfig):
    """TRL's arguments of RLOO, with what it leaves out; dropout is off unless asked for."""

    disable_dropout: bool = field(default=True, metadata={"help": "No dropout while training."})
    missing_eos_penalty: float = field(
        default=1.0, metadata={"help": "Taken off the score of a response that does not end."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        if not 0 <= self.missing_eos_penalty < math.inf:
            raise ValueError(
                "missing_eos_penalty is taken off the score: it must not be negative, got "
                f"{self.missing_eos_penalty}"
            )


class RLOOTrainer(TRLRLOOTrainer):
    """TRL's trainer on ready prompt ids, that stops where the policy does not start at its
    reference, which TRL loads from the folder that the model's config names.
    """

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, Json]:
        return [list(prompt) for prompt in prompts], None, {}

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        made = super()._generate_and_score_completions(inputs)
        if self.state.global_step == 0 and self._step == 0:
            for kl in self._metrics["train"]["kl"][-1:]:
                if abs(kl) > KL_TOLERANCE:
                    raise ValueError(
                        f"the policy does not start at its reference: their KL is {kl:.4f} nats a "
                        "token before the first update; start it from the saved folder of the "
                        "reference"
                    )
        return made


def reward_of(
    scorer: Scorer, eos: int, missing_eos_penalty: float
) -> Callable[..., list[float | None]]:
    """What TRL calls for rewards: the scorer's, in its normalised unit, of prompt and completion
    ids, less the penalty where a completion does not end in EOS. Raises FloatingPointError for what
    is no number.
    """

    def reward(
        prompts: list[list[int]], completion_ids: list[list[int]], **_: Any
    ) -> list[float | None]:
        scores = scorer.score(prompts, completion_ids)
        check_numbers(scores, completion_ids)  # TRL would take NaN for no reward, and learn nothing
        return [
            score - missing_eos_penalty * (ids[-1] != eos)
            for score, ids in zip(scores, completion_ids, strict=True)
        ]

    return reward


def train_rloo(
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
    """Trains a policy against a reward model with RLOO; reference and start are the folder
    `policy`. Returns what `fit` returns; saves the policy in `output`. Raises ValueError where
    there are fewer prompts than one generation takes: TRL would train nothing.
    """
    tokenizer = load_tokenizer(policy)
    args = RLOOArguments(**trainer_args)
    wanted = int(args.generation_batch_size or 0) // int(args.num_generations or 1)
    if len(prompts) < wanted:
        raise ValueError(
            f"a generation takes {wanted} prompts (batch size, times steps_per_generation, by "
            f"num_generations), and there are {len(prompts)}: lower "
            "rloo.trainer.per_device_train_batch_size"
        )
    scorer = Scorer.load(reward_model, pad_token_id(tokenizer), dtype)
    model = load_policy(policy, trained_dtype(dtype, lora))
    # What a hub model was saved with, a repetition penalty say, would be sampled with and not
    # trained with.
    model.generation_config = GenerationConfig(eos_token_id=eos_token_id(tokenizer))
    set_seed(args.seed)  # adapters are drawn
    trainer = RLOOTrainer(
        model=model if lora is None else add_adapters(model, lora, "CAUSAL_LM"),
        reward_funcs=reward_of(scorer, eos_token_id(tokenizer), args.missing_eos_penalty),
        args=args,
        train_dataset=Dataset.from_list([{"prompt": list(prompt.ids)} for prompt in prompts]),
        processing_class=tokenizer,
    )
    silence(trainer)
    last = fit(trainer, log=log, progress=progress)
    if trainer.is_world_process_zero():
        save_whole(trainer.model, tokenizer, output, dtype)
    trainer.accelerator.wait_for_everyone()
    return last
