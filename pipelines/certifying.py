"""What certifying a reward model takes beside the pure measuring: texts as ids, scores of changed
answers, and trainings on parts of the rankings.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from pipelines.artifacts import RankedRow, model_of
from pipelines.labelers import LABELERS, read_labeler_weights_of
from pipelines.ranked import tokenise_ranked
from pipelines.reward_training import rankings_to_climb, train_on
from pipelines.stage import Work
from rlhf.data.jsonl import read_json, write_json
from rlhf.data.records import Split
from rlhf.models.conversation import response_ids
from rlhf.models.loading import load_tokenizer, pad_token_id
from rlhf.models.training import CHECKPOINTS
from rlhf.reward.accuracy import bootstrapped, score_ranked
from rlhf.reward.certificate import Curve, Disagreement, Point
from rlhf.reward.evidence import best_responses, without
from rlhf.reward.learning_curve import (
    LEAST_POINTS,
    Forecast,
    fit_law,
    forecast,
    nested_subset,
)
from rlhf.reward.probes import Answer, Case, Probed, cases_of, probed, shuffled, swapped
from rlhf.reward.rankings import Dropped, RankedPrompt
from rlhf.reward.scorer import Scorer
from rlhf.reward.votes import Votes, by_cluster, hits, votes_of

FEW = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reward model with all that was said about its responses, ready to be measured.

    `votes` are without those between responses that were too long; `scores` are those of the
    held-out prompts, and of as many of the train split as there are in the largest of the others.
    """

    scorer: Scorer
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int
    ranked: Mapping[Split, Sequence[RankedPrompt]]
    votes: Mapping[Split, Votes]
    scores: Mapping[str, float]
    texts: Mapping[str, str]
    finished: frozenset[str]
    dropped: dict[str, int]

    @classmethod
    def of(cls, work: Work, rows: Mapping[Split, Sequence[RankedRow]]) -> "Candidate":
        """From the ranked prompts by split."""
        model = work.config.model
        tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
        scorer = Scorer.load(model_of(work.inputs["reward"]), pad_token_id(tokenizer), model.dtype)
        ties = work.config.reward.objective().ties
        weights = read_labeler_weights_of(_who_weighed(work))
        made = {
            split: tokenise_ranked(
                rankings_to_climb(work.config, held) if split == "train" else held,
                tokenizer,
                model.max_tokens,
                ties=ties,
                labelers=None if split == "test" else weights,
            )
            for split, held in rows.items()
        }
        ranked = {
            split: [one for one in both[0] if one.better or split == "train"]
            for split, both in made.items()
        }
        known = {one for held in ranked.values() for row in held for one in row.response_ids}
        responses = [one for held in rows.values() for row in held for one in row.responses]
        return cls(
            scorer,
            tokenizer,
            model.max_tokens,
            ranked,
            {
                split: votes_of(one for row in held for one in row.rankings).among(known)
                for split, held in rows.items()
            },
            _scores(scorer, _to_score(ranked)),
            {one.id: one.text for one in responses},
            frozenset(one.id for one in responses if one.finished),
            _sum_of([dropped for _, dropped in made.values()]),
        )

    def probe(self, split: Split, count: int) -> tuple[tuple[Probed, ...], Disagreement | None]:
        """The probes on the best answers of up to `count` prompts, and how far the members of an
        ensemble differ on these and on what no answer looks like.
        """
        prompts = {one.prompt_id: one.prompt for one in self.ranked[split]}
        best = {
            prompt: response
            for prompt, response in best_responses(self.votes[split]).items()
            if self.texts[response].strip()
        }
        best = dict(list(best.items())[:count])
        answers = [
            Answer(prompt, self.texts[response], response in self.finished)
            for prompt, response in best.items()
        ]
        cases = [one for one in cases_of(answers) if self._fits(prompts, one)]
        spread = np.std([self.scores[one] for one in self._responses(split)])
        if not cases or not spread > 0:
            return (), None
        scores = self.scorer.score(
            [prompts[one.answer.prompt_id] for one in cases],
            [self._ids(one.changed, one.answer) for one in cases],
        )
        found = probed(
            (
                (case, self.scores[best[case.answer.prompt_id]], score)
                for case, score in zip(cases, scores, strict=True)
            ),
            asked=len(answers),
            std=float(spread),
        )
        return tuple(found), self._disagreement(prompts, answers, float(spread))

    def _responses(self, split: Split) -> list[str]:
        votes = self.votes[split]
        return sorted({*votes.better, *votes.worse})

    def _ids(self, text: str, answer: Answer) -> list[int]:
        return response_ids(self.tokenizer, text, finished=answer.finished)

    def _fits(self, prompts: Mapping[str, Sequence[int]], case: Case) -> bool:
        room = self.max_tokens - len(prompts[case.answer.prompt_id])
        return 0 < len(self._ids(case.changed, case.answer)) <= room

    def _disagreement(
        self, prompts: Mapping[str, Sequence[int]], answers: Sequence[Answer], spread: float
    ) -> Disagreement | None:
        """None for a reward model of one member."""
        members = self.scorer.ensemble.members
        if members == 1:
            return None
        others = swapped(answers)
        asked = [prompts[one.prompt_id] for one in answers]
        groups = (
            [one.text for one in answers],
            [shuffled(one.text, one.prompt_id) for one in answers],
            [
                other
                if other is not None and self._fits(prompts, Case("swap", one, other))
                else one.text
                for one, other in zip(answers, others, strict=True)
            ],
        )
        apart = []
        for texts in groups:
            ids = [self._ids(text, one) for text, one in zip(texts, answers, strict=True)]
            scores = np.array(self.scorer.score_members(asked, ids))  # (N, M)
            apart.append(float(scores.std(1).mean()) / spread)
        return Disagreement(members, *apart)


def _who_weighed(work: Work) -> Path:
    """The folder that says what each labeler's rankings weighed in the training."""
    learned = work.inputs["reward"] / LABELERS
    return work.inputs["reward" if learned.exists() else "preferences"]


def _to_score(ranked: Mapping[Split, Sequence[RankedPrompt]]) -> list[RankedPrompt]:
    held_out = [*ranked["validation"], *ranked["test"]]
    most = max(len(ranked["validation"]), len(ranked["test"]))
    share = min(1.0, most / max(1, len(ranked["train"])))
    kept = nested_subset((one.prompt_id for one in ranked["train"]), share)
    return [*held_out, *(one for one in ranked["train"] if one.prompt_id in kept)]


def _scores(scorer: Scorer, ranked: Sequence[RankedPrompt]) -> dict[str, float]:
    """The score of every response, by id."""
    rows = zip(ranked, score_ranked(scorer, ranked), strict=True)
    return {
        name: score for one, row in rows for name, score in zip(one.response_ids, row, strict=True)
    }


def _sum_of(dropped: Sequence[Dropped]) -> dict[str, int]:
    names = [field.name for field in fields(Dropped)]
    return {name: sum(getattr(one, name) for one in dropped) for name in names}


def learning_curve(
    work: Work,
    candidate: Candidate,
    split: Split,
    strangers: Collection[str],
    target: float | None,
) -> tuple[Curve | None, Forecast | None]:
    """Accuracy on `split` after training on the parts that `certify.curve` names and on all, and
    when the `target` would be reached. The votes of `strangers` do not count.
    """
    train, shares = candidate.ranked["train"], sorted(work.config.certify.curve)
    if not shares or not train:
        return None, None
    held = without(candidate.votes[split], strangers)
    rankings = _rankings_by_prompt(without(candidate.votes["train"], strangers))
    kept = [nested_subset((one.prompt_id for one in train), share) for share in shares]
    scores = [
        *(
            _scores_after(work, candidate, split, one, number, kept)
            for number, one in enumerate(kept)
        ),
        candidate.scores,
    ]
    kept.append(frozenset(one.prompt_id for one in train))
    clustered = [by_cluster(hits(held.gaps(one)), held.prompt) for one in scores]
    points = tuple(
        Point(sum(rankings[one] for one in prompts), len(prompts), bootstrapped(*found))
        for prompts, found in zip(kept, clustered, strict=True)
    )
    sizes = [one.rankings for one in points]
    if len(set(sizes)) < LEAST_POINTS:
        return Curve(points, None), None
    law = fit_law(sizes, np.array([one.accuracy.value for one in points]))
    if target is None:
        return Curve(points, law), None
    right, votes = np.stack([found for found, _ in clustered]), clustered[-1][1]
    return Curve(points, law), forecast(sizes, right, votes, target)


def _rankings_by_prompt(votes: Votes) -> Counter[str]:
    pairs = set(zip(votes.prompt.tolist(), votes.labeler.tolist(), strict=True))
    return Counter(prompt for prompt, _ in pairs)


def _scores_after(
    work: Work,
    candidate: Candidate,
    split: Split,
    kept: frozenset[str],
    number: int,
    parts: Sequence[frozenset[str]],
) -> dict[str, float]:
    """Scores of the held-out responses by a model trained on the `kept` prompts, of which nothing
    else stays; a stage that was cut short takes up what it had.
    """
    folder = work.folder / CHECKPOINTS / f"{len(kept)}-prompts"
    written = folder / "scores.json"
    if not written.exists():
        before, all_prompts = sum(map(len, parts[:number])), sum(map(len, parts))
        train = [one for one in candidate.ranked["train"] if one.prompt_id in kept]
        train_on(
            work,
            train,
            candidate.ranked["validation"],
            folder,
            references=train[:FEW],  # zero and unit move no accuracy
            log=lambda _: None,
            progress=lambda now, total: work.progress(
                round(before + len(kept) * now / total), all_prompts
            ),
        )
        scorer = Scorer.load(
            model_of(folder), candidate.scorer.pad_token_id, work.config.model.dtype
        )
        write_json(written, _scores(scorer, candidate.ranked[split]))
    return dict(read_json(written))
