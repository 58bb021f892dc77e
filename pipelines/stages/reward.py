"""The reward model: trained on the rankings of the train split, measured on prompts that it never
saw.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.artifacts import RankedRow, model_of, read_ranked_of
from pipelines.config import RunConfig
from pipelines.labelers import read_held_out_of, read_labeler_weights_of, write_labelers
from pipelines.opening import open_test_split
from pipelines.reward_training import rankings_to_climb, train_on
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import SPLITS, Split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rlhf.reward.rankings import Dropped, RankedPrompt
    from rlhf.reward.scorer import Scorer
    from rlhf.reward.trainer import Trained

    Data = Mapping[Split, tuple[list[RankedPrompt], Dropped]]


def settings(config: RunConfig) -> Json:
    return {
        "reward": config.reward.model_dump(),
        "model": config.model.of_training(),
        "seed": config.seed,
        **({"monitor": True} if config.ppo.enabled and config.ppo.monitor else {}),
    }


def run(work: Work) -> Json:
    """Writes the reward model, and `scored-<split>.jsonl`: its score of every ranked response; with
    `reward.labelers: learned`, also `labelers.json`: the weights that it was trained with.
    """
    from rlhf.models.loading import load_tokenizer, pad_token_id
    from rlhf.reward.scorer import Scorer

    preferences = work.inputs["preferences"]
    tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
    rows = {split: list(read_ranked_of(preferences, split)) for split in SPLITS}
    open_test_split(work, (row.prompt.id for row in rows["test"]), "reward model")
    weights = read_labeler_weights_of(preferences)
    data = _tokenised(work.config, rows, tokenizer, weights)
    trained = _train(work, data)
    result: Json = {}
    if work.config.reward.labelers == "learned":
        scorer = Scorer.load(
            model_of(work.folder), pad_token_id(tokenizer), work.config.model.dtype
        )
        weights, result["labelers"] = _learned_weights(work, rows, data, scorer, weights)
        if result["labelers"]["aware"]:
            data = _tokenised(work.config, rows, tokenizer, weights)
            trained = _train(work, data, steps_before=trained.steps)
    scorer = Scorer.load(model_of(work.folder), pad_token_id(tokenizer), work.config.model.dtype)
    dropped = data["train"][1]
    result |= {
        "normalisation": {"mean": trained.mean, "std": trained.std},
        "steps": trained.steps,
        "prompts_read_once": trained.shared,
        "members": scorer.ensemble.members,
        "dropped": {name: getattr(dropped, name) for name in dropped.__dataclass_fields__},
    }
    if trained.nu is not None:
        result["nu"] = trained.nu
    return result | _measured(work, data, scorer)


def _tokenised(
    config: RunConfig,
    rows: Mapping[Split, Sequence[RankedRow]],
    tokenizer: "PreTrainedTokenizerBase",
    weights: Mapping[str, float],
) -> "Data":
    """Ranked prompts of every split, without the monitor's. On the test split everybody counts
    alike.
    """
    from pipelines.ranked import tokenise_ranked

    return {
        split: tokenise_ranked(
            rankings_to_climb(config, held) if split == "train" else held,
            tokenizer,
            config.model.max_tokens,
            ties=config.reward.objective().ties,
            labelers=None if split == "test" else weights,
        )
        for split, held in rows.items()
    }


def _train(work: Work, data: "Data", *, steps_before: int = 0) -> "Trained":
    train, validation = data["train"][0], data["validation"][0]
    return train_on(
        work,
        train,
        validation,
        work.folder,
        steps_before=steps_before,
        log=work.log,
        progress=work.progress,
    )


def _learned_weights(
    work: Work,
    rows: Mapping[Split, Sequence[RankedRow]],
    data: "Data",
    scorer: "Scorer",
    weights: Mapping[str, float],
) -> tuple[dict[str, float], Json]:
    """What each labeler's rankings weigh by how far they follow the scores of a reward model that
    believed everybody alike; who is held out stays out. Judged by the validation split alone: the
    votes of the train split are what made the scores. Writes `labelers.json`.
    """
    from rlhf.reward.accuracy import score_ranked
    from rlhf.reward.labelers import learn_from, weights_of

    scores: dict[str, tuple[float]] = {}
    words: dict[str, int] = {}
    ranked = data["validation"][0]
    for one, values in zip(ranked, score_ranked(scorer, ranked), strict=True):
        scores |= {name: (score,) for name, score in zip(one.response_ids, values, strict=True)}
        words |= dict(zip(one.response_ids, one.response_words, strict=True))
    heard = [
        ranking
        for row in rows["validation"]
        for ranking in row.rankings
        if weights[ranking.labeler_id] and scores.keys() >= set(ranking.shown)
    ]
    learned, names = learn_from(heard, scores, words)
    found = {**weights, **weights_of(learned, names)}
    reliability = dict(zip(names, learned.reliability, strict=True))
    held_out = read_held_out_of(work.inputs["preferences"])
    figures = write_labelers(work.folder, "learned", found, reliability, held_out)
    gate = {
        "aware": learned.aware,
        "gain_nats": learned.gain,
        "gain_standard_error": learned.gain_standard_error
        if math.isfinite(learned.gain_standard_error)
        else None,
    }
    return found, figures | gate


def _measured(work: Work, data: "Data", scorer: "Scorer") -> Json:
    """The figures of each split that has votes; writes the scores."""
    from rlhf.reward.accuracy import measure, score_ranked, scored_rows

    result: Json = {}
    for split in SPLITS:
        ranked = [one for one in data[split][0] if one.better]
        if ranked:
            scores = score_ranked(scorer, ranked)
            result[split] = measure(ranked, scores, scale=scorer.scale).to_json()
            write_jsonl(work.folder / f"scored-{split}.jsonl", scored_rows(ranked, scores))
    return result


STAGE = Stage(
    "reward",
    "Train the reward model",
    ("sft", "preferences"),
    3,
    settings,
    run,
    kind="reward-model",
)
