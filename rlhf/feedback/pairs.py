"""Rankings to preferences: pairs are derived here, each with its weight and where it came from."""

from collections import Counter
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


def preferences_from(
    rankings: Iterable[Ranking],
    prompts: Mapping[str, Prompt],
    responses: Mapping[str, Response],
) -> Iterator[Preference]:
    """The pairs of `rankings`, in their order; `prompts` and `responses` are by id.

    Every prompt has one vote, whoever and however many ranked it: its rankings share it equally,
    and a ranking shares its part equally among its strict pairs. So the weights of the strict
    pairs of one prompt sum to 1. A tie weighs what a strict pair of its ranking weighs (in a
    ranking of ties alone, they share the part). Leave superseded rankings out.
    Raises ValueError for a ranking of a prompt or response that is not given. Rankings of a mode
    that feeds the evaluation are left out: what judges policies does not train them.
    """
    held = [one for one in rankings if mode_named(one.mode).feeds == "preferences"]
    voices = Counter(ranking.prompt_id for ranking in held if len(ranking.groups) > 1)
    for ranking in held:
        _check_known(ranking, prompts, responses)
        prompt = prompts[ranking.prompt_id]
        pairs = list(comparisons(ranking))
        strict = sum(margin > 0 for _, _, margin in pairs)
        share = 1 / max(1, voices[ranking.prompt_id])
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
