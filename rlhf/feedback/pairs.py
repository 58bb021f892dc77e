"""Rankings to preferences: pairs are derived here, each with its weight and where it came from."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from rlhf.data.identity import content_id
from rlhf.data.records import Preference, Prompt, Ranking, Response
from rlhf.feedback.modes import Pair, mode_named


def comparisons(ranking: Ranking) -> Iterator[Pair]:
    """Every pair of a ranking as (better, worse, margin), ids; margin 0 is a tie, in id order.

    What the margin means is for the ranking's mode to say: tie groups apart, the strength of a
    comparison, the difference of two ratings. A ranking without an order gives none.
    """
    return mode_named(ranking.mode).pairs(ranking)


def labeler_weight(labelers: Mapping[str, float] | None, labeler: str) -> float:
    """What this labeler's rankings weigh; 1 for who is not named. Raises ValueError for a weight
    that is not a number, or below 0.
    """
    weight = (labelers or {}).get(labeler, 1.0)
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"labeler {labeler} has the weight {weight}: it must be 0 or more")
    return weight


def prompt_share(weight: float) -> float:
    """How much a prompt counts whose rankings weigh this much together: once, however many ranked
    it, and less than once where they weigh less than one good ranking.
    """
    return min(1.0, weight)


def preferences_from(
    rankings: Iterable[Ranking],
    prompts: Mapping[str, Prompt],
    responses: Mapping[str, Response],
    labelers: Mapping[str, float] | None = None,
) -> Iterator[Preference]:
    """The pairs of `rankings`, in their order; `prompts` and `responses` are by id.

    Every prompt has one vote, whoever and however many ranked it: its rankings share it equally,
    and a ranking shares its part equally among its strict pairs. So the weights of the strict
    pairs of one prompt sum to 1. A tie weighs what a strict pair of its ranking weighs (in a
    ranking of ties alone, they share the part). With `labelers`, their weights by id, a ranking's
    part goes by its labeler's weight (`prompt_share` says what the prompt then counts), and a
    ranking of no weight gives no pair. Leave superseded rankings out.
    Raises ValueError for a ranking of a prompt or response that is not given. Rankings of a mode
    that feeds the evaluation are left out: what judges policies does not train them.
    """
    weighed = [
        (one, weight)
        for one in rankings
        if mode_named(one.mode).feeds == "preferences"
        and (weight := labeler_weight(labelers, one.labeler_id))
    ]
    voices: dict[str, float] = defaultdict(float)
    for ranking, weight in weighed:
        voices[ranking.prompt_id] += weight if len(ranking.groups) > 1 else 0.0
    for ranking, weight in weighed:
        _check_known(ranking, prompts, responses)
        prompt = prompts[ranking.prompt_id]
        pairs = list(comparisons(ranking))
        strict = sum(margin > 0 for _, _, margin in pairs)
        together = voices[ranking.prompt_id] or weight
        share = prompt_share(together) * weight / together
        for chosen, rejected, margin in pairs:
            yield Preference(
                prompt=prompt.messages,
                chosen=responses[chosen].text,
                rejected=responses[rejected].text,
                prompt_id=prompt.id,
                ranking_id=ranking.id,
                group_id=content_id("group", [prompt.id, ranking.labeler_id]),
                weight=share / (strict or len(pairs)),
                margin=margin,
                tie=margin == 0,
            )


def _check_known(
    ranking: Ranking, prompts: Mapping[str, Prompt], responses: Mapping[str, Response]
) -> None:
    if ranking.prompt_id not in prompts:
        raise ValueError(f"{ranking.id} ranks {ranking.prompt_id}, which is not among the prompts")
    ranked = [response for group in ranking.groups for response in group]
    missing = [response for response in ranked if response not in responses]
    if missing:
        raise ValueError(f"{ranking.id} ranks {missing[0]}, which is not among the responses")
