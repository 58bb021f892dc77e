"""The monitor: a second reward model, trained on a fifth of the ranked train prompts, that PPO
never climbs and by which its checkpoint is chosen.
"""

from pipelines.artifacts import model_of, read_ranked_of
from pipelines.config import RunConfig
from pipelines.labelers import read_labeler_weights_of
from pipelines.reward_training import is_monitors, train_on
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json


def settings(config: RunConfig) -> Json:
    return {
        "reward": config.reward.model_dump(),
        "model": config.model.of_training(),
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes the monitor, trained as the reward model is. Raises ValueError where PPO would never
    look at it.
    """
    if work.config.ppo.trainer.get("num_sample_generations") == 0:
        raise ValueError(
            "ppo.monitor is on and ppo.trainer.num_sample_generations is 0, so that nobody would "
            "look at it: raise the one, or turn the other off"
        )
    from pipelines.ranked import tokenise_ranked
    from rlhf.models.loading import load_tokenizer, pad_token_id
    from rlhf.reward.accuracy import measure, score_ranked
    from rlhf.reward.scorer import Scorer

    model, preferences = work.config.model, work.inputs["preferences"]
    tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
    own = [
        row
        for row in read_ranked_of(preferences, "train")
        if is_monitors(work.config, row.prompt.id)
    ]
    held = {
        split: tokenise_ranked(
            rows,
            tokenizer,
            model.max_tokens,
            ties=work.config.reward.objective().ties,
            labelers=read_labeler_weights_of(preferences),
        )[0]
        for split, rows in (
            ("train", own),
            ("validation", read_ranked_of(preferences, "validation")),
        )
    }
    if not held["train"]:
        raise ValueError("the monitor has no rankings to learn from: rank more, or turn it off")
    train_on(
        work,
        held["train"],
        held["validation"],
        work.folder,
        seed_name="monitor",
        log=work.log,
        progress=work.progress,
    )
    scorer = Scorer.load(model_of(work.folder), pad_token_id(tokenizer), model.dtype)
    result: Json = {"prompts": len(held["train"])}
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
    kind="reward-model",
)
