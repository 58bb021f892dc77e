"""Evaluation: every policy answers the same held-out prompts, and a judge compares it with SFT.

Where the only judge is a reward model that training followed, the verdict is never "ship".
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.artifacts import read_ranked_of
from pipelines.bench import Bench, Scores, answer_rows, test_prompts
from pipelines.config import RunConfig
from pipelines.gold import preference_of
from pipelines.on_the_way import judged_on_the_way
from pipelines.opening import open_test_split
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, write_jsonl
from rlhf.data.policies import TRAINED
from rlhf.data.records import Ranking
from rlhf.evaluation.judges import ByScore, Judge
from rlhf.evaluation.openings import prompts_digest
from rlhf.evaluation.winrate import outcome
from rlhf.feedback.agreement import agreement_ceiling
from rlhf.feedback.pairs import comparisons
from rlhf.tracking.run_folder import MARKER

if TYPE_CHECKING:
    from rlhf.evaluation.comparison import Contestant

REPLIES = "judge-replies.jsonl"  # of an endpoint; in the run folder, so that nothing is paid twice
ELSEWHERE = {"people_judgements", "people_may_stop", "guidelines", "endpoint"}


def settings(config: RunConfig) -> Json:
    found: Json = {
        "evaluate": config.evaluate.model_dump(exclude=ELSEWHERE),
        "sample": config.sample.model_dump(include={"max_new_tokens", "temperature", "top_p"}),
        "judge": judge_name(config),
        "model": config.model.model_dump(include={"max_tokens", "dtype"}),
        "seed": config.seed,
    }
    if config.evaluate.endpoint is not None:
        asked = {"question": config.evaluate.guidelines}
        found["endpoint"] = config.evaluate.endpoint.settings() | asked
    return found


def judge_name(config: RunConfig) -> str:
    """Who judges: the preference that the simulated crew follows, or the reward model where there
    is none, or who was asked for.
    """
    asked = config.evaluate.judge
    if asked == "auto":
        world = config.prompts.source in {"built-in", "stories"}
        known = world and config.labelers != "imported"
        return config.label.crew.preference if known else "reward"
    if config.evaluate.endpoint is not None:
        return f"endpoint:{config.evaluate.endpoint.model}"
    return config.label.crew.preference if asked == "preference" else asked


def run(work: Work) -> Json:
    """Writes `answers.jsonl`: what each policy answered to each test prompt, judged.

    Returns the table of policies, which two of them can be told apart, what the intervals say of
    the best trained one, and the ceiling of the reward model's accuracy.
    """
    from rlhf.evaluation.comparison import differences, table
    from rlhf.evaluation.winrate import verdict

    prompts, scores = test_prompts(work), {name: Scores() for name in ("reward", "monitor")}
    judge = judge_of(work, scores)
    open_test_split(
        work,
        (one.id for one in prompts),
        policies=tuple(name for name in ("sft", *TRAINED) if name in work.inputs),
        judge=judge.name,
    )
    bench = Bench.of(work, prompts, judge, scores)
    reference, *contestants = bench.sft_contestants()
    trained = [bench.trained(one, reference.answers) for one in TRAINED if one in work.inputs]
    contestants += trained
    policies = table(contestants, reference)
    best = max((one.name for one in trained), key=lambda name: policies[name]["win_rate_low"])
    write_jsonl(work.folder / "answers.jsonl", answer_rows(bench, contestants, reference))
    work.table("answers", _shown(bench, contestants, work.config.evaluate.num_samples_shown))
    low, high = policies[best]["win_rate_low"], policies[best]["win_rate_high"]
    result: Json = {
        "judge": judge.name,
        "judge_independent": judge.independent,
        "prompts": len(prompts),
        "test": {"digest": prompts_digest(one.id for one in prompts)},
        "policies": policies,
        "differences": differences(trained, seed=work.config.seed),
        "best": best,
        "verdict": verdict(low, high) if judge.independent else "not enough evidence",
        "ceiling": _ceiling(work),
        "on_the_way": _on_the_way(work),
    }
    told = judge.told()
    return {**result, "judge_told": told} if told else result


def judge_of(work: Work, scores: dict[str, Scores]) -> Judge:
    """The judge that the config asks for; `scores` fill while policies are scored."""
    config, name = work.config, judge_name(work.config)
    if name in scores:
        return ByScore(name, independent=False, score=scores[name])
    if config.evaluate.endpoint is None:
        return ByScore(name, independent=True, score=preference_of(name))
    from rlhf.evaluation.endpoint import Endpoint
    from rlhf.evaluation.llm_judge import ByEndpoint

    asked = config.evaluate.endpoint
    endpoint = Endpoint(
        url=asked.url,
        model=asked.model,
        key_variable=asked.key_variable,
        temperature=asked.temperature,
        max_tokens=asked.max_tokens,
        timeout_seconds=asked.timeout_seconds,
        retries=asked.retries,
    )
    if asked.key_variable is not None:
        endpoint.key()  # missing: said before anything is computed
    return ByEndpoint(
        endpoint,
        config.evaluate.guidelines,
        config.folder / REPLIES,
        asked.concurrency,
        asked.max_unusable,
        work.progress,
    )


def _shown(bench: Bench, contestants: "Sequence[Contestant]", count: int) -> list[Json]:
    return [
        {"prompt": prompt.text, **{one.name: one.answers[i].text for one in contestants}}
        for i, prompt in enumerate(bench.prompts[:count])
    ]


def _on_the_way(work: Work) -> Json:
    """What the preference, where it is the judge, says of PPO's policy while it trained."""
    from pipelines.stages.ppo import DEFAULTS

    name = judge_name(work.config)
    if "ppo" not in work.inputs or name != work.config.label.crew.preference:
        return {}
    trainer = {**DEFAULTS, **work.config.ppo.trainer}
    folders = work.inputs["ppo"], work.inputs["prompts"]
    return {"ppo": judged_on_the_way(*folders, preference_of(name), trainer["response_length"])}


def _ceiling(work: Work) -> Json:
    """The best accuracy that a reward model could have on the test votes, and how that is known.

    In a world whose preference is known: that preference's own accuracy on the same votes. With
    people: what their agreement allows, under the assumptions that `agreement_ceiling` states.
    """
    rows = list(read_ranked_of(work.inputs["preferences"], "test"))
    rankings = [ranking for row in rows for ranking in row.rankings]
    if work.config.labelers == "simulated" and rankings:
        prompts = {row.prompt.id: row.prompt for row in rows}
        responses = {one.id: one for row in rows for one in row.responses}
        judge = preference_of(work.config.label.crew.preference)
        worth = {one.id: judge(prompts[one.prompt_id], one) for one in responses.values()}
        return {
            "value": _vote_accuracy(rankings, worth.__getitem__),
            "from": "the preference itself",
        }
    strict = read_json(work.inputs["label"] / MARKER)["result"]["agreement"]["strict"]
    value = None if strict is None else agreement_ceiling(strict)
    return {"value": value, "from": "the labelers' agreement"}


def _vote_accuracy(rankings: Sequence[Ranking], worth: Callable[[str], float]) -> float | None:
    hits = [
        outcome(worth(better), worth(worse))
        for ranking in rankings
        for better, worse, margin in comparisons(ranking)
        if margin
    ]
    return sum(hits) / len(hits) if hits else None


def outside(config: RunConfig, inputs: dict[str, Path]) -> Json:
    """How well the labelers agreed, which stands in the label stage's marker."""
    if "label" not in inputs or config.labelers == "simulated":
        return {}
    return {"agreement": read_json(inputs["label"] / MARKER)["result"]["agreement"]["strict"]}


STAGE = Stage(
    "evaluate",
    "Compare the policies",
    ("prompts", "sft", "label", "preferences", "reward", "monitor", *TRAINED),
    3,
    settings,
    run,
    outside=outside,
    kind="evaluation",
)
