"""The monitor: a second reward model, trained on a fifth of the ranked train prompts, that PPO
never climbs and by which its checkpoint is chosen.
"""

from pipelines.artifacts import model_of, read_ranked_of
from pipelines.config import RunConfig
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json, seed_from

SHARE = 5  # one prompt in five


def is_monitors(config: RunConfig, prompt_id: str) -> bool:
    """Whether a train prompt's rankings go to the monitor, and so not to the reward model."""
    watched = config.ppo.enabled and config.ppo.monitor
    return watched and seed_from("monitor", config.seed, prompt_id) % SHARE == 0


def settings(config: RunConfig) -> Json:
    return {
        "reward": config.reward.model_dump(),
        "model": config.model.model_dump(exclude={"path", "chat_template"}),
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes the monitor, trained as the reward model is."""
    from pipelines.ranked import tokenise_ranked
    from pipelines.stages.reward import BATCH, DEFAULTS
    from rlhf.models.loading import load_tokenizer, pad_token_id
    from rlhf.models.training import trainer_settings
    from rlhf.reward.accuracy import measure, score_ranked
    from rlhf.reward.scorer import Scorer
    from rlhf.reward.trainer import train_reward

    model, reward = work.config.model, work.config.reward
    objective = reward.objective()
    tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
    held = {
        split: tokenise_ranked(
            read_ranked_of(work.inputs["preferences"], split),
            tokenizer,
            model.max_tokens,
            ties=objective.ties,
        )[0]
        for split in ("train", "validation")
    }
    train = [one for one in held["train"] if is_monitors(work.config, one.prompt_id)]
    if not train:
        raise ValueError("the monitor has no rankings to learn from: rank more, or turn it off")
    train_reward(
        model_of(work.inputs["sft"]),
        train,
        [(one.prompt, response) for one in train for response in one.responses],
        model_of(work.folder),
        trainer_settings(
            reward.trainer,
            folder=work.folder,
            seed=work.seed("monitor"),
            dtype=model.dtype,
            defaults=DEFAULTS if BATCH.keys() & reward.trainer.keys() else DEFAULTS | BATCH,
        ),
        seed=work.seed("monitor"),
        dtype=model.dtype,
        lora=model.lora,
        log=work.log,
        progress=work.progress,
        validation=held["validation"],
        objective=objective,
    )
    scorer = Scorer.load(model_of(work.folder), pad_token_id(tokenizer), model.dtype)
    result: Json = {"prompts": len(train)}
    ranked = [one for one in held["validation"] if one.better]
    if ranked:
        result["validation"] = measure(
            ranked, score_ranked(scorer, ranked), scale=scorer.scale
        ).to_json()
    return result


STAGE = Stage(
    "monitor",
    "Train the monitor",
    ("sft", "preferences"),
    1,
    settings,
    run,
    enabled=lambda config: config.ppo.enabled and config.ppo.monitor,
    kind="model",
)
