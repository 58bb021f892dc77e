"""Evaluation: every policy answers the same held-out prompts, and a judge compares it with SFT.

Where the only judge is the reward model that PPO was trained on, the verdict is never "ship".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.artifacts import TRAINED, model_of, read_prompts_of, read_ranked_of
from pipelines.config import RunConfig
from pipelines.gold import preference_of
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, write_jsonl
from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.agreement import agreement_ceiling
from rlhf.feedback.pairs import comparisons
from rlhf.tracking.run_folder import MARKER

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rlhf.evaluation.answers import Answer, Asked
    from rlhf.evaluation.comparison import Contestant
    from rlhf.reward.scorer import Scorer


def settings(config: RunConfig) -> Json:
    return {
        "evaluate": config.evaluate.model_dump(exclude={"people_judgements", "guidelines"}),
        "sample": config.sample.model_dump(include={"max_new_tokens", "temperature", "top_p"}),
        "judge": judge_name(config),
        "model": config.model.model_dump(include={"max_tokens", "dtype"}),
        "seed": config.seed,
    }


def judge_name(config: RunConfig) -> str:
    """Who judges: the preference that the simulated crew follows, or the reward model where there
    is none.
    """
    asked = config.evaluate.judge
    if asked == "auto":
        world = config.prompts.source in {"built-in", "stories"}
        known = world and config.labelers != "imported"
        return config.label.crew.preference if known else "reward"
    return config.label.crew.preference if asked == "preference" else "reward"


def run(work: Work) -> Json:
    """Writes `answers.jsonl`: what each policy answered to each test prompt, judged.

    Returns the table of policies, the verdict on the best trained one, and the ceiling of the
    reward model's accuracy.
    """
    from rlhf.evaluation.comparison import figures
    from rlhf.evaluation.winrate import verdict

    bench = Bench.of(work)
    reference, *contestants = bench.sft_contestants()
    for name in TRAINED:
        if name in work.inputs:
            contestants.append(bench.trained(name))
    policies = {one.name: figures(one, reference.judged) for one in contestants}
    trained = [name for name in TRAINED if name in policies]
    best = max(trained, key=lambda name: policies[name]["win_rate_low"])
    write_jsonl(work.folder / "answers.jsonl", _answer_rows(bench, contestants, reference))
    work.table("answers", _shown(bench, contestants, work.config.evaluate.num_samples_shown))
    return {
        "judge": judge_name(work.config),
        "prompts": len(bench.prompts),
        "policies": policies,
        "best": best,
        "verdict": verdict(policies[best]["win_rate_low"], policies[best]["win_rate_high"])
        if judge_name(work.config) != "reward"
        else "not enough evidence",
        "ceiling": _ceiling(work),
    }


@dataclass(frozen=True, slots=True)
class Bench:
    """The held-out prompts, the judge, the reward model and the SFT policy, ready to compare
    policies.
    """

    work: Work
    prompts: tuple[Prompt, ...]
    asked: "tuple[Asked, ...]"
    tokenizer: "PreTrainedTokenizerBase"
    sft: "PreTrainedModel"
    scorer: "Scorer"

    @classmethod
    def of(cls, work: Work) -> "Bench":
        from rlhf.evaluation.answers import Asked
        from rlhf.models.conversation import fit_prompt, prompt_ids
        from rlhf.models.loading import device, load_policy, load_tokenizer, pad_token_id
        from rlhf.reward.scorer import Scorer

        config = work.config
        test = [p for p in read_prompts_of(work.inputs["prompts"]) if p.split == "test"]
        prompts = tuple(sorted(test, key=lambda p: p.id)[: config.evaluate.num_prompts])
        if not prompts:
            raise ValueError("the test split holds no prompt: raise prompts.shares.test")
        tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
        room = config.model.max_tokens - config.sample.max_new_tokens
        asked = tuple(
            Asked(p.id, tuple(fit_prompt(prompt_ids(tokenizer, p.messages), room)[0]))
            for p in prompts
        )
        sft: PreTrainedModel = load_policy(model_of(work.inputs["sft"]), config.model.dtype)
        sft.to(device())  # type: ignore[arg-type]
        scorer = Scorer.load(
            model_of(work.inputs["reward"]), pad_token_id(tokenizer), config.model.dtype
        )
        return cls(work, prompts, asked, tokenizer, sft, scorer)

    def draw(self, policy: "PreTrainedModel", numbers: Sequence[int]) -> "list[list[Answer]]":
        """Answers of a policy, one per number, a row per prompt."""
        from rlhf.evaluation.answers import answer
        from rlhf.models.generation import Sampling

        how = self.work.config.sample
        return answer(
            policy,
            self.tokenizer,
            self.asked,
            numbers,
            Sampling(how.max_new_tokens, how.temperature, how.top_p),
            seed=self.work.config.seed,
            batch_size=how.batch_size,
            progress=self.work.progress,
        )

    def proxy(self, rows: "Sequence[Sequence[Answer]]") -> list[list[float]]:
        """The reward model's score of every answer, a row per prompt."""
        prompts = [one.ids for one, row in zip(self.asked, rows, strict=True) for _ in row]
        flat = iter(self.scorer.score(prompts, [answer.ids for row in rows for answer in row]))
        return [[next(flat) for _ in row] for row in rows]

    def contestant(
        self,
        name: str,
        answers: "Sequence[Answer]",
        proxy: Sequence[float],
        **distance: tuple[float, ...] | float,
    ) -> "Contestant":
        """A policy's answers with what judge and reward model say of them."""
        from rlhf.evaluation.comparison import Contestant

        if judge_name(self.work.config) == "reward":
            judged = list(proxy)
        else:
            judge = preference_of(judge_name(self.work.config))
            judged = [
                judge(prompt, Response.of(prompt.id, one.text, finished=one.finished))
                for prompt, one in zip(self.prompts, answers, strict=True)
            ]
        return Contestant(name, tuple(answers), tuple(judged), tuple(proxy), **distance)  # type: ignore[arg-type]

    def sft_contestants(self) -> "list[Contestant]":
        """The SFT answers that all are compared with; then SFT drawn again, best of n, and longest
        of n.
        """
        from rlhf.evaluation.winrate import best_of_n_kl_bound

        most = max(self.work.config.evaluate.best_of, default=1)
        drawn = self.draw(self.sft, range(most + 1))
        proxy = self.proxy(drawn)
        pool, worth = [row[1:] for row in drawn], [row[1:] for row in proxy]
        lengths = [[len(answer.ids) for answer in row] for row in pool]
        made = [
            self.contestant("reference", [row[0] for row in drawn], [row[0] for row in proxy]),
            self.contestant(
                "sft",
                [row[0] for row in pool],
                [row[0] for row in worth],
                kl=(0.0,) * len(pool),
            ),
        ]
        choices: list[tuple[str, int, Sequence[Sequence[float]]]] = [
            (f"best_of_{n}", n, worth) for n in self.work.config.evaluate.best_of
        ]
        if most > 1:
            choices.append((f"longest_of_{most}", most, lengths))
        for name, n, by in choices:
            best = [max(range(n), key=lambda i, row=row: row[i]) for row in by]  # type: ignore[misc]
            made.append(
                self.contestant(
                    name,
                    [row[i] for row, i in zip(pool, best, strict=True)],
                    [row[i] for row, i in zip(worth, best, strict=True)],
                    kl_bound=best_of_n_kl_bound(n),
                )
            )
        return made

    def trained(self, name: str) -> "Contestant":
        """A trained policy, with its distance from SFT on its own answers."""
        from rlhf.evaluation.answers import kl_to
        from rlhf.models.loading import load_policy, pad_token_id

        policy = load_policy(model_of(self.work.inputs[name]), self.work.config.model.dtype)
        policy.to(self.sft.device)  # type: ignore[arg-type]
        drawn = self.draw(policy, [0])
        answers = [row[0] for row in drawn]
        kl = kl_to(
            policy,
            self.sft,
            self.asked,
            answers,
            pad_token_id(self.tokenizer),
            temperature=self.work.config.sample.temperature,
        )
        return self.contestant(name, answers, [row[0] for row in self.proxy(drawn)], kl=tuple(kl))


def _answer_rows(
    bench: Bench, contestants: "Sequence[Contestant]", reference: "Contestant"
) -> list[Json]:
    return [
        {
            "prompt_id": prompt.id,
            "prompt": [message.to_json() for message in prompt.messages],
            "family": prompt.family,
            "answers": {
                one.name: {
                    "text": one.answers[i].text,
                    "tokens": len(one.answers[i].ids),
                    "finished": one.answers[i].finished,
                    "gold_reward": round(one.judged[i], 6),
                    "proxy_reward": round(one.proxy[i], 6),
                    "kl": None if one.kl is None else round(one.kl[i], 6),
                }
                for one in (reference, *contestants)
            },
        }
        for i, prompt in enumerate(bench.prompts)
    ]


def _shown(bench: Bench, contestants: "Sequence[Contestant]", count: int) -> list[Json]:
    return [
        {"prompt": prompt.text, **{one.name: one.answers[i].text for one in contestants}}
        for i, prompt in enumerate(bench.prompts[:count])
    ]


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
        1.0 if worth(better) > worth(worse) else 0.5 if worth(better) == worth(worse) else 0.0
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
    ("prompts", "sft", "label", "preferences", "reward", *TRAINED),
    1,
    settings,
    run,
    outside=outside,
    kind="evaluation",
)
