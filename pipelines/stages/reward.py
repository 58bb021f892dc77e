"""The reward model: trained on the rankings of the train split, measured on prompts that it never
saw.
"""

from pipelines.artifacts import model_of, read_ranked_of
from pipelines.config import RunConfig
from pipelines.stage import Stage, Work
from pipelines.stages.monitor import is_monitors
from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import SPLITS

DEFAULTS: Json = {"num_train_epochs": 1, "adam_epsilon": 1e-5}
# 64 prompts a step, unless the config says otherwise: InstructGPT (Ouyang et al. 2022), appendix C.
BATCH: Json = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 8}


def settings(config: RunConfig) -> Json:
    return {
        "reward": config.reward.model_dump(),
        "model": config.model.model_dump(exclude={"path", "chat_template"}),
        "seed": config.seed,
        **({"monitor": True} if config.ppo.enabled and config.ppo.monitor else {}),
    }


def run(work: Work) -> Json:
    """Writes the reward model, and `scored-<split>.jsonl`: its score of every ranked response."""
    from pipelines.ranked import tokenise_ranked
    from rlhf.models.loading import load_tokenizer, pad_token_id
    from rlhf.models.training import trainer_settings
    from rlhf.reward.accuracy import measure, score_ranked, scored_rows
    from rlhf.reward.scorer import Scorer
    from rlhf.reward.trainer import train_reward

    model, reward = work.config.model, work.config.reward
    objective = reward.objective()
    tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
    data = {
        split: tokenise_ranked(
            read_ranked_of(work.inputs["preferences"], split),
            tokenizer,
            model.max_tokens,
            ties=objective.ties,
        )
        for split in SPLITS
    }
    ranked_train, dropped = data["train"]
    train = [one for one in ranked_train if not is_monitors(work.config, one.prompt_id)]
    trained = train_reward(
        model_of(work.inputs["sft"]),
        train,
        [(one.prompt, response) for one in train for response in one.responses],
        model_of(work.folder),
        trainer_settings(
            reward.trainer,
            folder=work.folder,
            seed=work.seed("reward"),
            dtype=model.dtype,
            defaults=DEFAULTS if BATCH.keys() & reward.trainer.keys() else DEFAULTS | BATCH,
        ),
        seed=work.seed("reward"),
        dtype=model.dtype,
        lora=model.lora,
        log=work.log,
        progress=work.progress,
        validation=data["validation"][0],
        objective=objective,
    )
    scorer = Scorer.load(model_of(work.folder), pad_token_id(tokenizer), model.dtype)
    result: Json = {
        "normalisation": {"mean": trained.mean, "std": trained.std},
        "steps": trained.steps,
        "prompts_read_once": trained.shared,
        "dropped": {name: getattr(dropped, name) for name in dropped.__dataclass_fields__},
    }
    if trained.nu is not None:
        result["nu"] = trained.nu
    for split in SPLITS:
        ranked = [one for one in data[split][0] if one.better]
        if ranked:
            scores = score_ranked(scorer, ranked)
            result[split] = measure(ranked, scores, scale=scorer.scale).to_json()
            rows = scored_rows(ranked, scores)
            write_jsonl(work.folder / f"scored-{split}.jsonl", rows)
    return result


STAGE = Stage(
    "reward", "Train the reward model", ("sft", "preferences"), 2, settings, run, kind="model"
)
