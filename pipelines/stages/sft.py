"""Supervised fine-tuning of the base model on the demonstrations of the train split."""

from dataclasses import replace
from pathlib import Path

from pipelines.artifacts import WRITTEN, model_of, read_prompts_of
from pipelines.campaigns import writing_name
from pipelines.config import RunConfig
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json, content_id, tree_sha256
from rlhf.data.jsonl import write_json
from rlhf.data.records import Demonstration
from rlhf.feedback.store import Store
from rlhf.tracking.run_folder import outputs


def settings(config: RunConfig) -> Json:
    section = config.sft.model_dump(exclude={"guidelines"})
    if not config.sft.written:  # said only where it is so: what was trained before stays valid
        del section["written"]
    model = {**config.model.model_dump(), **config.model.of_training()}
    return {"sft": section, "model": model, "seed": config.seed}


def outside(config: RunConfig, inputs: dict[str, Path]) -> Json:  # noqa: ARG001
    """The weights of a local base model (a hub name stands for itself), and what people wrote."""
    path = Path(config.model.path or "")
    state: Json = {}
    if config.model.path is not None and path.is_dir():
        state["model"] = tree_sha256(path, outputs(path))
    if config.sft.written:
        texts = {prompt_id: one.text for prompt_id, one in _written(config).items()}
        state["written"] = content_id("written", texts)
    return state


def _written(config: RunConfig) -> dict[str, Demonstration]:
    """Prompt id -> the demonstration that people wrote for it; the last of several."""
    with Store(config.store) as store:
        name = writing_name(config)
        held = [campaign for campaign in store.campaigns() if campaign.name == name]
        return {one.prompt_id: one for each in held for one in store.demonstrations(each)}


def run(work: Work) -> Json:
    """Writes the SFT policy: what is sampled, what DPO and PPO start from, what they are held
    close to.

    Where no prompt has a demonstration the base model itself, with its chat template, is that
    policy.
    """
    from rlhf.models.training import trainer_settings
    from rlhf.policy.sft import train_sft

    prompts = read_prompts_of(work.inputs["prompts"])
    if work.config.sft.written:
        written = _snapshot(work)
        prompts = [
            replace(prompt, demonstration=written.get(prompt.id, prompt.demonstration))
            for prompt in prompts
        ]
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


def _snapshot(work: Work) -> dict[str, str]:
    """Prompt id -> what people wrote for it, as it was in the store: `written.json`, and who wrote
    it: `writers.json`.
    """
    held = _written(work.config)
    written = {prompt_id: one.text for prompt_id, one in held.items()}
    write_json(work.folder / WRITTEN, written)
    rows = [
        {"id": one.id, "labeler_id": one.labeler_id, "prompt_id": prompt_id}
        for prompt_id, one in held.items()
    ]
    write_json(work.folder / "writers.json", rows)
    return written


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
    kind="policy",
)
