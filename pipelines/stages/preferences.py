"""Rankings as training data: ranked prompts for our trainers, pairs in TRL's shape for all, and
what each labeler's rankings weigh.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from pipelines.artifacts import read_prompts_of, read_responses_of
from pipelines.config import RunConfig
from pipelines.labelers import read_labeler_weights_of, write_labelers
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_jsonl, write_jsonl
from rlhf.data.records import SPLITS, Ranking, Response, Split
from rlhf.feedback.held_out import held_out_labelers
from rlhf.feedback.manners import labeler_weights
from rlhf.feedback.pairs import preferences_from
from rlhf.feedback.reliability import reliability_by_agreement


def settings(config: RunConfig) -> Json:
    return {
        "labelers": config.reward.labelers,
        "held_out_labelers": config.label.held_out_labelers,
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes `ranked.jsonl` (a prompt, its responses and all its rankings a line), `labelers.json`
    (what the rankings of each labeler weigh in training), and `pairs-<split>.jsonl`: weighted by
    labeler, but for the test split, where everybody counts alike.
    """
    prompts = {prompt.id: prompt for prompt in read_prompts_of(work.inputs["prompts"])}
    answers = read_responses_of(work.inputs["sample"])
    by_prompt: dict[str, list[Ranking]] = defaultdict(list)
    for row in read_jsonl(work.inputs["label"] / "rankings.jsonl"):
        ranking = Ranking.from_json(row)
        by_prompt[ranking.prompt_id].append(ranking)
    write_jsonl(
        work.folder / "ranked.jsonl",
        (
            {
                "prompt": prompts[prompt_id].to_json(),
                "responses": [response.to_json() for response in answers[prompt_id]],
                "rankings": [ranking.to_json() for ranking in rankings],
            }
            for prompt_id, rankings in sorted(by_prompt.items())
        ),
    )
    responses = {one.id: one for row in answers.values() for one in row}
    of_split = {
        split: [
            ranking
            for prompt_id, group in sorted(by_prompt.items())
            if prompts[prompt_id].split == split
            for ranking in group
        ]
        for split in SPLITS
    }
    result: Json = {"prompts": len(by_prompt), "labelers": _weigh(work, of_split, responses)}
    weights = read_labeler_weights_of(work.folder)
    for split, rankings in of_split.items():
        pairs = preferences_from(rankings, prompts, responses, None if split == "test" else weights)
        strict = [pair for pair in pairs if not pair.tie]
        write_jsonl(work.folder / f"pairs-{split}.jsonl", (pair.to_json() for pair in strict))
        result[split] = {"rankings": len(rankings), "pairs": len(strict)}
    return result


def _weigh(
    work: Work,
    of_split: Mapping[Split, Sequence[Ranking]],
    responses: Mapping[str, Response],
) -> Json:
    """Writes `labelers.json`: who is held out, how reliable the others are, and what they weigh.

    Reliability is judged without the test split, and without those held out: what a model is
    measured on has no say in its training. With `learned`, everybody weighs 1 here, and the reward
    stage finds weights of its own.
    """
    everybody = {one.labeler_id for rankings in of_split.values() for one in rankings}
    config = work.config
    held_out = held_out_labelers(everybody, config.label.held_out_labelers, seed=config.seed)
    heard = [
        one
        for split, rankings in of_split.items()
        if split != "test"
        for one in rankings
        if one.labeler_id not in held_out
    ]
    found = reliability_by_agreement(
        heard, {one.id: len(one.text.split()) for one in responses.values()}
    )
    by = config.reward.labelers
    judged = labeler_weights(found) if by == "agreement" else {}
    weights = {name: 0.0 if name in held_out else judged.get(name, 1.0) for name in everybody}
    return write_labelers(work.folder, by, weights, found, held_out)


STAGE = Stage(
    "preferences",
    "Derive preferences",
    ("prompts", "sample", "label"),
    2,
    settings,
    run,
    kind="preferences",
)
