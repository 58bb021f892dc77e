"""Supervised fine-tuning of the base model on the demonstrations of the train split."""

from pathlib import Path

from pipelines.artifacts import model_of, read_prompts_of
from pipelines.config import RunConfig
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json, tree_sha256
from rlhf.tracking.run_folder import outputs


def settings(config: RunConfig) -> Json:
    return {"sft": config.sft.model_dump(), "model": config.model.model_dump(), "seed": config.seed}


def outside(config: RunConfig, inputs: dict[str, Path]) -> Json:  # noqa: ARG001
    """The weights of a local base model; a hub name stands for itself."""
    path = Path(config.model.path or "")
    if config.model.path is None or not path.is_dir():
        return {}
    return {"model": tree_sha256(path, outputs(path))}


def run(work: Work) -> Json:
    """Writes the SFT policy: what is sampled, what DPO and PPO start from, what they are held
    close to.

    Where no prompt has a demonstration the base model itself, with its chat template, is that
    policy.
    """
    from rlhf.models.training import trainer_settings
    from rlhf.policy.sft import train_sft

    prompts = read_prompts_of(work.inputs["prompts"])
    model = work.config.model
    if not any(prompt.demonstration for prompt in prompts):
        return _adopt(work)
    return train_sft(
        work.base_model,
        [prompt for prompt in prompts if prompt.split == "train"],
        [prompt for prompt in prompts if prompt.split == "validation"],
        model_of(work.folder),
        trainer_settings(
            work.config.sft.trainer, folder=work.folder, seed=work.seed("sft"), dtype=model.dtype
        ),
        chat_template=model.chat_template,
        dtype=model.dtype,
        lora=model.lora,
        max_tokens=model.max_tokens,
        log=work.log,
        progress=work.progress,
    )


def _adopt(work: Work) -> Json:
    from rlhf.models.loading import load_policy, load_tokenizer, save_whole

    model = work.config.model
    tokenizer = load_tokenizer(work.base_model, model.chat_template)
    save_whole(load_policy(work.base_model, model.dtype), tokenizer, model_of(work.folder))
    return {"demonstrations": 0, "note": "no demonstrations: the base model is the policy"}


STAGE = Stage(
    "sft",
    "Fine-tune on demonstrations",
    ("prompts", "pretrain"),
    2,
    settings,
    run,
    outside=outside,
    kind="model",
)
