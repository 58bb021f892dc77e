"""Rejection sampling: the SFT policy, fine-tuned on the best of its own samples by the reward
model.
"""

from typing import TYPE_CHECKING

from pipelines.artifacts import model_of, read_prompts_of
from pipelines.config import RunConfig
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHOSEN = "chosen.json"


def settings(config: RunConfig) -> Json:
    return {
        "rejection": config.rejection.model_dump(),
        "sample": config.sample.model_dump(include={"max_new_tokens", "temperature", "top_p"}),
        "model": config.model.of_training(),
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes the fine-tuned policy, and `chosen.json`: prompt and response ids, and rewards."""
    from rlhf.models.loading import load_tokenizer
    from rlhf.models.training import trainer_settings
    from rlhf.policy.sft import answer_row, fine_tune

    model = work.config.model
    tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
    path = work.folder / CHOSEN
    if not path.exists():  # a training that goes on samples nothing again
        write_json(path, _choose(work, tokenizer))
    held = read_json(path)
    if not held["rows"]:
        raise ValueError(
            "rejection sampling chose nothing: no sampled response ended by itself; raise "
            "sample.max_new_tokens, or look at how the end of an answer is trained"
        )
    found = fine_tune(
        model_of(work.inputs["sft"]),
        tokenizer,
        [answer_row(row["prompt"], row["response"]) for row in held["rows"]],
        (),
        model_of(work.folder),
        trainer_settings(
            work.config.rejection.trainer,
            folder=work.folder,
            seed=work.seed("rejection"),
            dtype=model.dtype,
        ),
        dtype=model.dtype,
        lora=model.lora,
        log=work.log,
        progress=work.progress,
    )
    return {**held["figures"], **found}


def _choose(work: Work, tokenizer: "PreTrainedTokenizerBase") -> Json:
    from rlhf.models.conversation import prompts_within
    from rlhf.models.generation import Sampling
    from rlhf.models.loading import device, load_policy, pad_token_id
    from rlhf.policy.best_of_n import sample_and_choose
    from rlhf.policy.rollout import PromptIds
    from rlhf.reward.scorer import Scorer

    config, how = work.config, work.config.sample
    room = config.model.max_tokens - how.max_new_tokens
    held = [one for one in read_prompts_of(work.inputs["prompts"]) if one.split == "train"]
    asked, cut = prompts_within(tokenizer, (one.messages for one in held), room)
    prompts = [PromptIds(one.id, ids) for one, ids in zip(held, asked, strict=True)]
    dtype = config.model.dtype
    chosen, figures = sample_and_choose(
        load_policy(model_of(work.inputs["sft"]), dtype).to(device()),  # type: ignore[arg-type]
        tokenizer,
        Scorer.load(model_of(work.inputs["reward"]), pad_token_id(tokenizer), dtype),
        prompts,
        Sampling(how.max_new_tokens, how.temperature, how.top_p),
        num_samples=config.rejection.num_samples,
        quantile=config.rejection.quantile,
        seed=work.seed("rejection"),
        batch_size=how.batch_size,
        progress=work.progress,
    )
    rows = [
        {"prompt_id": one.prompt.id, "prompt": one.prompt.ids, "response": one.ids}
        | {"reward": one.reward}
        for one in chosen
    ]
    return {"figures": {**figures, "prompts_cut": cut}, "rows": rows}


STAGE = Stage(
    "rejection",
    "Fine-tune on the best samples",
    ("prompts", "sft", "reward"),
    1,
    settings,
    run,
    enabled=lambda config: config.rejection.enabled,
    kind="policy",
)
