"""The bench on which policies are compared: held-out prompts, SFT, the reward model, the monitor,
and a judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.artifacts import model_of, read_prompts_of
from pipelines.stage import Work
from rlhf.data.identity import Json
from rlhf.data.records import Prompt, Response
from rlhf.evaluation.judges import Judge, Matchup

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rlhf.evaluation.answers import Answer, Asked
    from rlhf.evaluation.comparison import Contestant
    from rlhf.reward.scorer import Scorer

FEWEST_DRAWN = 4  # SFT answers to choose the longest from, where best_of asks for none


def test_prompts(work: Work) -> tuple[Prompt, ...]:
    """The prompts of the test split that policies are compared on. Raises ValueError where it is
    empty.
    """
    test = [p for p in read_prompts_of(work.inputs["prompts"]) if p.split == "test"]
    prompts = tuple(sorted(test, key=lambda p: p.id)[: work.config.evaluate.num_prompts])
    if not prompts:
        raise ValueError("the test split holds no prompt: raise prompts.shares.test")
    return prompts


class Scores:
    """What a reward model gave to each answer so far, for judges that read texts."""

    def __init__(self) -> None:
        self.known: dict[str, float] = {}

    def note(self, response: Response, score: float) -> None:
        """An answer that was written twice in other tokens keeps the score it got first."""
        self.known.setdefault(response.id, score)

    def __call__(self, prompt: Prompt, response: Response) -> float:  # noqa: ARG002
        return self.known[response.id]


@dataclass(frozen=True, slots=True)
class Bench:
    """Ready to compare policies. `scores` holds what the reward model and the monitor gave."""

    work: Work
    prompts: tuple[Prompt, ...]
    asked: "tuple[Asked, ...]"
    tokenizer: "PreTrainedTokenizerBase"
    sft: "PreTrainedModel"
    scorer: "Scorer"
    monitor: "Scorer | None"
    judge: Judge
    scores: dict[str, Scores]

    @classmethod
    def of(
        cls, work: Work, prompts: tuple[Prompt, ...], judge: Judge, scores: dict[str, Scores]
    ) -> "Bench":
        from rlhf.evaluation.answers import Asked
        from rlhf.models.conversation import prompts_within
        from rlhf.models.loading import device, load_policy, load_tokenizer, pad_token_id
        from rlhf.reward.scorer import Scorer

        config = work.config
        tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
        room = config.model.max_tokens - config.sample.max_new_tokens
        fitting, _ = prompts_within(tokenizer, (p.messages for p in prompts), room)
        asked = tuple(Asked(p.id, ids) for p, ids in zip(prompts, fitting, strict=True))
        sft: PreTrainedModel = load_policy(model_of(work.inputs["sft"]), config.model.dtype)
        sft.to(device())  # type: ignore[arg-type]
        scorers = {
            name: Scorer.load(
                model_of(work.inputs[name]), pad_token_id(tokenizer), config.model.dtype
            )
            for name in ("reward", "monitor")
            if name in work.inputs
        }
        monitor = scorers.get("monitor")
        return cls(work, prompts, asked, tokenizer, sft, scorers["reward"], monitor, judge, scores)

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
        return self._scored(self.scorer, rows)

    def _scored(self, scorer: "Scorer", rows: "Sequence[Sequence[Answer]]") -> list[list[float]]:
        prompts = [one.ids for one, row in zip(self.asked, rows, strict=True) for _ in row]
        flat = iter(scorer.score(prompts, [answer.ids for row in rows for answer in row]))
        return [[next(flat) for _ in row] for row in rows]

    def contestant(
        self,
        name: str,
        answers: "Sequence[Answer]",
        proxy: Sequence[float],
        reference: "Sequence[Answer] | None" = None,
        **distance: tuple[float, ...] | float,
    ) -> "Contestant":
        """A policy's answers with what the judge says of them beside the reference's (its own,
        where it is the reference), and what reward model and monitor give.
        """
        from rlhf.evaluation.comparison import Contestant

        said, given = self._responses(answers), self._responses(reference or answers)
        scored = {"reward": list(proxy)}
        if self.monitor is not None:
            scored["monitor"] = [
                row[0] for row in self._scored(self.monitor, [[a] for a in answers])
            ]
        for model, worth in scored.items():
            for response, score in zip(said, worth, strict=True):
                self.scores[model].note(response, score)
        matchups = [Matchup(*row) for row in zip(self.prompts, said, given, strict=True)]
        monitor = tuple(scored["monitor"]) if "monitor" in scored else None
        judged = tuple(self.judge.compare(matchups))
        return Contestant(name, tuple(answers), judged, tuple(proxy), monitor, **distance)  # type: ignore[arg-type]

    def _responses(self, answers: "Sequence[Answer]") -> list[Response]:
        return [
            Response.of(prompt.id, one.text, finished=one.finished)
            for prompt, one in zip(self.prompts, answers, strict=True)
        ]

    def sft_contestants(self) -> "list[Contestant]":
        """The SFT answers that all are compared with; then SFT drawn again, best of n, longest of
        n, and one answer to everything.
        """
        from rlhf.evaluation.winrate import best_of_n_kl_bound

        wanted = self.work.config.evaluate.best_of
        most = max(wanted, default=FEWEST_DRAWN)
        drawn = self.draw(self.sft, range(most + 1))
        proxy = self.proxy(drawn)
        first = [row[0] for row in drawn]
        pool, worth = [row[1:] for row in drawn], [row[1:] for row in proxy]
        lengths = [[len(answer.ids) for answer in row] for row in pool]
        made = [
            self.contestant("reference", first, [row[0] for row in proxy]),
            self.contestant(
                "sft",
                [row[0] for row in pool],
                [row[0] for row in worth],
                first,
                kl=(0.0,) * len(pool),
            ),
        ]
        choices: list[tuple[str, int, Sequence[Sequence[float]]]] = [
            *((f"best_of_{n}", n, worth) for n in wanted),
            (f"longest_of_{most}", most, lengths),
        ]
        for name, n, by in choices:
            best = [max(range(n), key=lambda i, row=row: row[i]) for row in by]  # type: ignore[misc]
            made.append(
                self.contestant(
                    name,
                    [row[i] for row, i in zip(pool, best, strict=True)],
                    [row[i] for row, i in zip(worth, best, strict=True)],
                    first,
                    kl_bound=best_of_n_kl_bound(n),
                )
            )
        return [*made, self._null(pool, worth, first)]

    def _null(
        self,
        pool: "Sequence[Sequence[Answer]]",
        worth: Sequence[Sequence[float]],
        reference: "Sequence[Answer]",
    ) -> "Contestant":
        """One answer to every prompt: of all SFT answers the one that the reward model liked best
        where it belongs. A judge that reads the question does not fall for it (Zheng et al. 2024,
        "Cheating automatic LLM benchmarks").
        """
        _, answer = max(
            (
                (score, one)
                for row, scores in zip(pool, worth, strict=True)
                for one, score in zip(row, scores, strict=True)
            ),
            key=lambda found: found[0],
        )
        same = [answer] * len(self.prompts)
        return self.contestant(
            "null", same, [row[0] for row in self.proxy([[a] for a in same])], reference
        )

    def trained(self, name: str, reference: "Sequence[Answer]") -> "Contestant":
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
        proxy = [row[0] for row in self.proxy(drawn)]
        return self.contestant(name, answers, proxy, reference, kl=tuple(kl))


def answer_rows(
    bench: Bench, contestants: "Sequence[Contestant]", reference: "Contestant"
) -> list[Json]:
    """What stands in `answers.jsonl`, a row per prompt. An answer of which the judge said nothing
    usable is marked `unusable`, and has the worth of the reference.
    """
    return [
        {
            "prompt_id": prompt.id,
            "prompt": [message.to_json() for message in prompt.messages],
            "family": prompt.family,
            "answers": {one.name: _answer(one, i) for one in (reference, *contestants)},
        }
        for i, prompt in enumerate(bench.prompts)
    ]


def _answer(one: "Contestant", i: int) -> Json:
    judged = one.judged[i]
    row: Json = {
        "text": one.answers[i].text,
        "tokens": len(one.answers[i].ids),
        "finished": one.answers[i].finished,
        "gold_reward": 0.0 if judged is None else round(judged.ours, 6),
        "proxy_reward": round(one.proxy[i], 6),
        "kl": None if one.kl is None else round(one.kl[i], 6),
    }
    if one.monitor is not None:
        row["monitor_reward"] = round(one.monitor[i], 6)
    return row if judged is not None else {**row, "unusable": True}
