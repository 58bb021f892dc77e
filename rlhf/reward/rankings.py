"""Rankings as training data: a prompt once, each of its responses once, and the pairs between
them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from transformers import PreTrainedTokenizerBase

from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.pairs import comparisons, labeler_weight, prompt_share
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
    responses. `share` is how much the prompt counts: less than once where those who ranked it
    weigh little.
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
    share: float = 1.0

    @property
    def longest_tokens(self) -> int:
        """How many tokens the prompt has with its longest response."""
        return len(self.prompt) + max(map(len, self.responses))

    def all_orders(self) -> tuple[Order, ...]:
        """The rankings whole; where they are not known, each pair as a ranking of two."""
        pairs = zip(self.better, self.worse, self.weight, strict=True)
        return self.orders or tuple(Order(((b,), (w,)), weight) for b, w, weight in pairs)


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was left out of the training data, and what was cut: `prompts_cut` lost something on
    their left, `prompts_cut_in_message` of these within a message. `rankings_without_weight` are
    of labelers who weigh nothing, `prompts_without_weight` those that nobody else ranked.
    `responses_empty` have no token, not even EOS; `pairs_alike` are of responses whose tokens are
    the same.
    """

    rankings_without_pair: int = 0
    responses_too_long: int = 0
    prompts_cut: int = 0
    prompts_cut_in_message: int = 0
    rankings_without_weight: int = 0
    prompts_without_weight: int = 0
    responses_empty: int = 0
    pairs_alike: int = 0


@dataclass(frozen=True, slots=True)
class RankedBatch:
    """N responses, packed, and their rankings as indices into them; the weights of a prompt sum to
    its share. `positions` (N,) are the places of the responses in the whole data set, on the CPU.
    `owners` (N,) is the number of the prompt of each response, `prompt_ids` are those prompts. The
    last `repeated` of them stand here again, so that processes end an epoch together.
    """

    packs: tuple[Pack, ...]
    rankings: Rankings
    positions: torch.Tensor
    owners: torch.Tensor
    prompt_ids: tuple[str, ...]
    repeated: int = 0

    @property
    def counted(self) -> torch.Tensor:
        """Which responses are of prompts that count, (N,)."""
        return self.owners < len(self.prompt_ids) - self.repeated

    def counting_once(self, repeated: int) -> "RankedBatch":
        """The same without weight on the last `repeated` prompts. Where that is all of them the
        rankings keep theirs, so that a loss can be taken, and its weight is to be 0.
        """
        count = len(self.prompt_ids) - repeated
        once = self.weighed([1.0] * count + [0.0] * repeated) if count else self.rankings
        return replace(self, rankings=once, repeated=repeated)

    def weighed(self, times: Sequence[float]) -> Rankings:
        """The rankings with each prompt counting so many times as much."""
        per_prompt = torch.tensor(times, device=self.owners.device)
        return self.rankings.weighed(per_prompt[self.owners])

    def to(self, device: torch.device) -> "RankedBatch":
        """On `device`, but for the positions: they index what stays on the CPU."""
        packs = tuple(one.to(device) for one in self.packs)
        rankings, owners = self.rankings.to(device), self.owners.to(device)
        return replace(self, packs=packs, rankings=rankings, owners=owners)


def ranked_prompts(
    rankings: Iterable[Ranking],
    prompts: Mapping[str, Prompt],
    responses: Mapping[str, Response],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int,
    ties: bool = False,
    labelers: Mapping[str, float] | None = None,
) -> tuple[list[RankedPrompt], Dropped]:
    """Rankings grouped by prompt and tokenised, in the order of prompt ids.

    A prompt is cut on its left so that its longest response fits in `max_tokens`; a response that
    leaves no room for the prompt's last token is left out with its pairs, and so is one of no
    token, and a pair whose two responses have the same tokens. All are counted. With
    `ties`, rankings that hold ties alone are kept, for a loss that learns from them. `labelers`
    are weights by id (1 for who is not named): a ranking's part of its prompt's vote goes by them,
    and one of no weight is left out.
    """
    by_prompt: dict[str, list[Ranking]] = defaultdict(list)
    weightless: list[str] = []
    without_pair = 0
    for ranking in rankings:
        if not labeler_weight(labelers, ranking.labeler_id):
            weightless.append(ranking.prompt_id)
        elif any(margin or ties for *_, margin in comparisons(ranking)):
            by_prompt[ranking.prompt_id].append(ranking)
        else:
            without_pair += 1
    made: list[RankedPrompt] = []
    too_long = empty = alike = cut = cut_in_message = 0
    for prompt_id in sorted(by_prompt):
        group = by_prompt[prompt_id]
        ids = sorted({response for ranking in group for response in ranking.shown})
        tokens = {
            i: tuple(response_ids(tokenizer, responses[i].text, finished=responses[i].finished))
            for i in ids
        }
        fitting = [i for i in ids if 0 < len(tokens[i]) < max_tokens]
        too_long += sum(len(tokens[i]) >= max_tokens for i in ids)
        empty += sum(not tokens[i] for i in ids)
        index = {response: position for position, response in enumerate(fitting)}
        weights = [labeler_weight(labelers, ranking.labeler_id) for ranking in group]
        pairs, voting, same = _weighted_pairs(group, index, weights, tokens)
        alike += same
        orders, ordered = _orders(group, index, weights, ties=ties)
        if not (pairs or (ties and orders)):
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
                prompt_share(max(voting, ordered)),
            )
        )
    silent = len(set(weightless) - by_prompt.keys())
    dropped = Dropped(
        without_pair, too_long, cut, cut_in_message, len(weightless), silent, empty, alike
    )
    return made, dropped


def _weighted_pairs(
    group: Sequence[Ranking],
    index: Mapping[str, int],
    weights: Sequence[float],
    tokens: Mapping[str, tuple[int, ...]],
) -> tuple[list[tuple[int, int, float, int]], float, int]:
    """(better, worse, weight, margin) over the rankings of one prompt, whose weights sum to 1; what
    the rankings weigh together that have such a pair; and how many pairs are of the same tokens.
    """
    every = [
        [
            (better, worse, margin)
            for better, worse, margin in comparisons(ranking)
            if margin and better in index and worse in index
        ]
        for ranking in group
    ]
    strict = [
        [(index[b], index[w], margin) for b, w, margin in pairs if tokens[b] != tokens[w]]
        for pairs in every
    ]
    alike = sum(map(len, every)) - sum(map(len, strict))
    together = sum(weight for pairs, weight in zip(strict, weights, strict=True) if pairs)
    return (
        [
            (better, worse, weight / (together * len(pairs)), margin)
            for pairs, weight in zip(strict, weights, strict=True)
            for better, worse, margin in pairs
        ],
        together,
        alike,
    )


def _orders(
    group: Sequence[Ranking], index: Mapping[str, int], weights: Sequence[float], *, ties: bool
) -> tuple[tuple[Order, ...], float]:
    """The rankings of one prompt, each with its share, and what they weigh together; without
    `ties`, those that hold an order.
    """
    found = []
    for ranking, weight in zip(group, weights, strict=True):
        kept = (tuple(index[i] for i in tied if i in index) for tied in ranking.groups)
        groups = tuple(tied for tied in kept if tied)
        if len(groups) > 1 or (ties and groups and len(groups[0]) > 1):
            found.append((groups, weight))
    together = sum(weight for _, weight in found)
    return tuple(Order(groups, weight / together) for groups, weight in found), together


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
            (start + better, start + worse, weight * element.share, apart)
            for better, worse, weight, apart in zip(
                element.better, element.worse, element.weight, margin, strict=True
            )
        ]
        orders += [
            Order(
                tuple(tuple(start + i for i in tied) for tied in order.groups),
                order.weight * element.share,
            )
            for order in element.all_orders()
        ]
    packs = pack(prompts, answers, pad_token_id, shared=shared and pays(prompts, answers))
    rankings = Rankings(_as_pairs(strict), _as_pairs(_all_pairs(orders)), _choices(orders))
    return RankedBatch(
        tuple(packs),
        rankings,
        torch.tensor(positions),
        torch.tensor([n for n, element in enumerate(batch) for _ in element.responses]),
        tuple(element.prompt_id for element in batch),
    )


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
