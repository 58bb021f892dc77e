"""Rankings as training data: a prompt once, each of its responses once, and the pairs between
them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from transformers import PreTrainedTokenizerBase

from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.pairs import comparisons
from rlhf.models.conversation import prompt_within, response_ids
from rlhf.models.packing import Pack, pack, pays
from rlhf.reward.losses import Choices, Pairs, Rankings


@dataclass(frozen=True, slots=True)
class Order:
    """One labeler's ranking of a prompt: tie groups of response numbers, best first, and its share
    of the prompt's vote.
    """

    groups: tuple[tuple[int, ...], ...]
    weight: float


@dataclass(frozen=True, slots=True)
class RankedPrompt:
    """All that was said about one prompt: one element of a batch, and one vote in the loss.

    `better[i]` and `worse[i]` index `responses`; the weights of the pairs sum to 1, a share for
    each ranking and in it for each strict pair, so that a prompt counts once however many labelers
    ranked it. `margin` is the strength of each pair (none: 1). `orders` holds the rankings whole,
    for losses that know ties; none: each pair is a ranking of two. `response_ids` names the
    responses where they are known by records.
    """

    prompt_id: str
    prompt: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]
    response_words: tuple[int, ...]
    better: tuple[int, ...]
    worse: tuple[int, ...]
    weight: tuple[float, ...]
    margin: tuple[int, ...] = ()
    orders: tuple[Order, ...] = ()
    response_ids: tuple[str, ...] = ()

    def all_orders(self) -> tuple[Order, ...]:
        """The rankings whole; where they are not known, each pair as a ranking of two."""
        pairs = zip(self.better, self.worse, self.weight, strict=True)
        return self.orders or tuple(Order(((b,), (w,)), weight) for b, w, weight in pairs)


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was left out of the training data, and what was cut: `prompts_cut` lost something on
    their left, `prompts_cut_in_message` of these within a message.
    """

    rankings_without_pair: int = 0
    responses_too_long: int = 0
    prompts_cut: int = 0
    prompts_cut_in_message: int = 0


@dataclass(frozen=True, slots=True)
class RankedBatch:
    """N responses, packed, and their rankings as indices into them; weights sum to the number of
    prompts. `positions` (N,) are the places of the responses in the whole data set, on the CPU.
    """

    packs: tuple[Pack, ...]
    rankings: Rankings
    positions: torch.Tensor

    def to(self, device: torch.device) -> "RankedBatch":
        """On `device`, but for the positions: they index what stays on the CPU."""
        packs = tuple(one.to(device) for one in self.packs)
        return RankedBatch(packs, self.rankings.to(device), self.positions)


def ranked_prompts(
    rankings: Iterable[Ranking],
    prompts: Mapping[str, Prompt],
    responses: Mapping[str, Response],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int,
    ties: bool = False,
) -> tuple[list[RankedPrompt], Dropped]:
    """Rankings grouped by prompt and tokenised, in the order of prompt ids.

    A prompt is cut on its left so that its longest response fits in `max_tokens`; a response that
    leaves no room for the prompt's last token is left out with its pairs. Both are counted. With
    `ties`, rankings that hold ties alone are kept, for a loss that learns from them.
    """
    by_prompt: dict[str, list[Ranking]] = defaultdict(list)
    without_pair = 0
    for ranking in rankings:
        if any(margin or ties for *_, margin in comparisons(ranking)):
            by_prompt[ranking.prompt_id].append(ranking)
        else:
            without_pair += 1
    made: list[RankedPrompt] = []
    too_long = cut = cut_in_message = 0
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
        orders = _orders(group, index, ties=ties)
        if not (pairs or orders):
            without_pair += len(group)
            continue
        longest = max(len(tokens[i]) for i in fitting)
        asked, lost = prompt_within(tokenizer, prompts[prompt_id].messages, max_tokens - longest)
        cut += lost is not None
        cut_in_message += lost == "tokens"
        better, worse, weight, margin = zip(*pairs, strict=True) if pairs else ((), (), (), ())
        made.append(
            RankedPrompt(
                prompt_id,
                tuple(asked),
                tuple(tokens[i] for i in fitting),
                tuple(len(responses[i].text.split()) for i in fitting),
                better,
                worse,
                weight,
                margin,
                orders,
                tuple(fitting),
            )
        )
    return made, Dropped(without_pair, too_long, cut, cut_in_message)


def _weighted_pairs(
    group: Sequence[Ranking], index: Mapping[str, int]
) -> list[tuple[int, int, float, int]]:
    """(better, worse, weight, margin) over the rankings of one prompt; weights sum to 1."""
    strict = [
        [
            (index[better], index[worse], margin)
            for better, worse, margin in comparisons(ranking)
            if margin and better in index and worse in index
        ]
        for ranking in group
    ]
    voting = [pairs for pairs in strict if pairs]
    return [
        (better, worse, 1 / (len(voting) * len(pairs)), margin)
        for pairs in voting
        for better, worse, margin in pairs
    ]


def _orders(group: Sequence[Ranking], index: Mapping[str, int], *, ties: bool) -> tuple[Order, ...]:
    """The rankings of one prompt with an equal share each; without `ties`, those that hold an
    order.
    """
    found = []
    for ranking in group:
        kept = (tuple(index[i] for i in tied if i in index) for tied in ranking.groups)
        groups = tuple(tied for tied in kept if tied)
        if len(groups) > 1 or (ties and groups and len(groups[0]) > 1):
            found.append(groups)
    return tuple(Order(groups, 1 / len(found)) for groups in found)


def collate(
    batch: Sequence[RankedPrompt],
    positions: Sequence[int],
    pad_token_id: int,
    *,
    shared: bool = False,
) -> RankedBatch:
    """One batch; `positions` are the indices of its responses in the whole data set, (N,). With
    `shared`, each prompt is read once where that pays.
    """
    prompts: list[Sequence[int]] = []
    answers: list[Sequence[int]] = []
    strict: list[tuple[int, int, float, int]] = []
    orders: list[Order] = []
    for element in batch:
        start = len(answers)
        prompts += [element.prompt] * len(element.responses)
        answers += element.responses
        margin = element.margin or (1,) * len(element.better)
        strict += [
            (start + better, start + worse, weight, apart)
            for better, worse, weight, apart in zip(
                element.better, element.worse, element.weight, margin, strict=True
            )
        ]
        orders += [
            Order(tuple(tuple(start + i for i in tied) for tied in order.groups), order.weight)
            for order in element.all_orders()
        ]
    packs = pack(prompts, answers, pad_token_id, shared=shared and pays(prompts, answers))
    rankings = Rankings(_as_pairs(strict), _as_pairs(_all_pairs(orders)), _choices(orders))
    return RankedBatch(tuple(packs), rankings, torch.tensor(positions))


def _all_pairs(orders: Iterable[Order]) -> Iterator[tuple[int, int, float, int]]:
    """(better, worse, weight, groups apart) of every pair of every ranking, ties included."""
    for order in orders:
        placed = [(level, one) for level, tied in enumerate(order.groups) for one in tied]
        share = order.weight / (len(placed) * (len(placed) - 1) / 2)
        for (high, better), (low, worse) in combinations(placed, 2):
            yield better, worse, share, low - high


def _as_pairs(rows: Iterable[tuple[int, int, float, int]]) -> Pairs:
    better, worse, weight, margin = zip(*rows, strict=True) if (rows := list(rows)) else ((),) * 4
    return Pairs(
        torch.tensor(better, dtype=torch.long),
        torch.tensor(worse, dtype=torch.long),
        torch.tensor(weight, dtype=torch.float32),
        torch.tensor(margin, dtype=torch.float32),
    )


def _choices(orders: Iterable[Order]) -> Choices:
    """Every choice of every ranking that had an alternative; the choices of a ranking share its
    weight.
    """
    made: list[tuple[tuple[int, ...], int, float]] = []
    for order in orders:
        remaining = [
            (tuple(one for tied in order.groups[level:] for one in tied), len(group))
            for level, group in enumerate(order.groups)
        ]
        real = [choice for choice in remaining if len(choice[0]) > 1]
        made += [(unplaced, size, order.weight / len(real)) for unplaced, size in real]
    width = max((len(unplaced) for unplaced, *_ in made), default=1)
    alternatives = torch.full((len(made), width), -1)
    chosen = torch.zeros((len(made), width), dtype=torch.bool)
    for row, (unplaced, size, _) in enumerate(made):
        alternatives[row, : len(unplaced)] = torch.tensor(unplaced)
        chosen[row, :size] = True
    return Choices(alternatives, chosen, torch.tensor([weight for *_, weight in made]))
