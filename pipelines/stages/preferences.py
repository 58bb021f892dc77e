"""Rankings as training data: ranked prompts for our trainers, pairs in TRL's shape for all."""

from collections import defaultdict

from pipelines.artifacts import read_prompts_of, read_responses_of
from pipelines.config import RunConfig
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_jsonl, write_jsonl
from rlhf.data.records import SPLITS, Ranking
from rlhf.feedback.pairs import preferences_from


def settings(config: RunConfig) -> Json:  # noqa: ARG001
    return {}


def run(work: Work) -> Json:
    """Writes `ranked.jsonl` (a prompt, its responses and all its rankings a line) and
    `pairs-<split>.jsonl`.
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
    result: Json = {"prompts": len(by_prompt)}
    for split in SPLITS:
        rankings = [
            ranking
            for prompt_id, group in sorted(by_prompt.items())
            if prompts[prompt_id].split == split
            for ranking in group
        ]
        strict = [pair for pair in preferences_from(rankings, prompts, responses) if not pair.tie]
        write_jsonl(work.folder / f"pairs-{split}.jsonl", (pair.to_json() for pair in strict))
        result[split] = {"rankings": len(rankings), "pairs": len(strict)}
    return result


STAGE = Stage("preferences", "Derive preferences", ("prompts", "sample", "label"), 1, settings, run)
