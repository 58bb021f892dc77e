"""Rankings as training data: a prompt once, each of its responses once, and the pairs between
them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.pairs import comparisons
from rlhf.models.batching import Rows, make_rows
from rlhf.models.conversation import fit_prompt, prompt_ids, response_ids


@dataclass(frozen=True, slots=True)
class RankedPrompt:
    """All that was said about one prompt: one element of a batch, and one vote in the loss.

    `better[i]` and `worse[i]` index `responses`; the weights of the pairs sum to 1, a share for
    each ranking and in it for each strict pair, so that a prompt counts once however many labelers
    ranked it.
    """

    prompt_id: str
    prompt: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]
    response_words: tuple[int, ...]
    better: tuple[int, ...]
    worse: tuple[int, ...]
    weight: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was left out of the training data, and what was cut."""

    rankings_without_pair: int = 0
    responses_too_long: int = 0
    prompts_cut: int = 0


@dataclass(frozen=True, slots=True)
class RankedBatch:
    """A flat batch: `rows` of N responses, pairs as indices into them, weights summing to the
    number of prompts.
    """

    rows: Rows
    better: torch.Tensor
    worse: torch.Tensor
    weight: torch.Tensor
    positions: torch.Tensor

    def to(self, device: torch.device) -> "RankedBatch":
        """On `device`, but for the positions: they index what stays on the CPU."""
        return RankedBatch(
            self.rows.to(device),
            self.better.to(device),
            self.worse.to(device),
            self.weight.to(device),
            self.positions,
        )


def ranked_prompts(
    rankings: Iterable[Ranking],
    prompts: Mapping[str, Prompt],
    responses: Mapping[str, Response],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int,
) -> tuple[list[RankedPrompt], Dropped]:
    """Rankings grouped by prompt and tokenised, in the order of prompt ids.

    A prompt is cut on its left so that its longest response fits in `max_tokens`; a response that
    leaves no room for the prompt's last token is left out with its pairs. Both are counted.
    """
    by_prompt: dict[str, list[Ranking]] = defaultdict(list)
    without_pair = 0
    for ranking in rankings:
        if any(margin for *_, margin in comparisons(ranking)):
            by_prompt[ranking.prompt_id].append(ranking)
        else:
            without_pair += 1
    made: list[RankedPrompt] = []
    too_long = cut = 0
    for prompt_id in sorted(by_prompt):
        group = by_prompt[prompt_id]
        ids = sorted({response for ranking in group for response in ranking.shown})
        tokens = {
            i: tuple(response_ids(tokenizer, responses[i].text, finished=responses[i].finished))
            for i in ids
        }
        fitting = [i for i in ids if 0 < len(tokens[i]) < max_tokens]
        too_long += len(ids) - len(fitting)
        index = {response: position for position, response in enumerate(fitting)}
        pairs = _weighted_pairs(group, index)
        if not pairs:
            without_pair += len(group)
            continue
        longest = max(len(tokens[i]) for i in fitting)
        asked, was_cut = fit_prompt(
            prompt_ids(tokenizer, prompts[prompt_id].messages), max_tokens - longest
        )
        cut += was_cut
        better, worse, weight = zip(*pairs, strict=True)
        made.append(
            RankedPrompt(
                prompt_id,
                tuple(asked),
                tuple(tokens[i] for i in fitting),
                tuple(len(responses[i].text.split()) for i in fitting),
                better,
                worse,
                weight,
            )
        )
    return made, Dropped(without_pair, too_long, cut)


def _weighted_pairs(
    group: Sequence[Ranking], index: Mapping[str, int]
) -> list[tuple[int, int, float]]:
    """(better, worse, weight) over the rankings of one prompt; weights sum to 1."""
    strict = [
        [
            (index[better], index[worse])
            for better, worse, margin in comparisons(ranking)
            if margin and better in index and worse in index
        ]
        for ranking in group
    ]
    voting = [pairs for pairs in strict if pairs]
    return [(b, w, 1 / (len(voting) * len(pairs))) for pairs in voting for b, w in pairs]


def collate(
    batch: Sequence[RankedPrompt], positions: Sequence[int], pad_token_id: int
) -> RankedBatch:
    """One flat batch; `positions` are the indices of the batch's responses in the whole data set,
    (N,).
    """
    prompts: list[Sequence[int]] = []
    answers: list[Sequence[int]] = []
    better: list[int] = []
    worse: list[int] = []
    weight: list[float] = []
    for element in batch:
        start = len(answers)
        prompts += [element.prompt] * len(element.responses)
        answers += element.responses
        better += [start + i for i in element.better]
        worse += [start + i for i in element.worse]
        weight += element.weight
    return RankedBatch(
        make_rows(prompts, answers, pad_token_id),
        torch.tensor(better),
        torch.tensor(worse),
        torch.tensor(weight),
        torch.tensor(positions),
    )
