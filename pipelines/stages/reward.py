"""The reward model: trained on the rankings of the train split, measured on prompts that it never
saw.
"""

from pipelines.artifacts import model_of, read_ranked_of
from pipelines.config import RunConfig
from pipelines.reward_training import train_on
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import SPLITS


def settings(config: RunConfig) -> Json:
    return {
        "reward": config.reward.model_dump(),
        "model": config.model.model_dump(exclude={"path", "chat_template"}),
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes the reward model, and `scored-<split>.jsonl`: its score of every ranked response."""
    from pipelines.ranked import tokenise_ranked
    from rlhf.models.loading import load_tokenizer, pad_token_id
    from rlhf.reward.accuracy import measure, score_ranked, scored_rows
    from rlhf.reward.scorer import Scorer

    model = work.config.model
    tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
    data = {
        split: tokenise_ranked(
            read_ranked_of(work.inputs["preferences"], split),
            tokenizer,
            model.max_tokens,
            ties=work.config.reward.objective().ties,
        )
        for split in SPLITS
    }
    train, dropped = data["train"]
    trained = train_on(
        work, train, data["validation"][0], work.folder, log=work.log, progress=work.progress
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
