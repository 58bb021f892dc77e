"""Rankings to preferences: pairs are derived here, each with its weight and where it came from."""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rlhf.data.identity import content_id
from rlhf.data.jsonl import read_jsonl
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


class WeightedPair(NamedTuple):
    """A pair as ids; margin 0 is a tie."""

    prompt_id: str
    ranking_id: str
    better: str
    worse: str
    margin: int
    weight: float


@dataclass(frozen=True, slots=True)
class Voices:
    """How much the rankings of each prompt weigh together: 16 bytes a prompt, whatever its id.

    Prompts are told apart by 64 bits of a hash, as their ids are.
    """

    hashes: "array[int]"
    totals: "array[float]"

    @classmethod
    def of(cls, said: Iterable[tuple[str, float]]) -> "Voices":
        """From (prompt id, weight) of each ranking, in any order."""
        hashes, weights = array("q"), array("d")
        for prompt_id, weight in said:
            hashes.append(hash(prompt_id))
            weights.append(weight)
        known, places = np.unique(np.array(hashes, dtype=np.int64), return_inverse=True)
        totals = np.bincount(places, np.array(weights), len(known))
        return cls(array("q", known.tobytes()), array("d", totals.astype(np.float64).tobytes()))

    def of_prompt(self, prompt_id: str) -> float:
        """0 for a prompt without rankings."""
        wanted = hash(prompt_id)
        place = bisect_left(self.hashes, wanted)
        found = place < len(self.hashes) and self.hashes[place] == wanted
        return self.totals[place] if found else 0.0


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
    held = [
        (one, weight)
        for one in rankings
        if _trains(one.mode) and (weight := labeler_weight(labelers, one.labeler_id))
    ]
    voices = Voices.of((one.prompt_id, weight) for one, weight in held if len(one.groups) > 1)
    for ranking, voice in held:
        _check_known(ranking, prompts, responses)
        prompt = prompts[ranking.prompt_id]
        for chosen, rejected, margin, weight in _weighted(ranking, voice, voices):
            yield Preference(
                prompt=prompt.messages,
                chosen=responses[chosen].text,
                rejected=responses[rejected].text,
                prompt_id=prompt.id,
                ranking_id=ranking.id,
                group_id=content_id("group", [prompt.id, ranking.labeler_id]),
                weight=weight,
                margin=margin,
                tie=margin == 0,
            )


def stream_pairs(path: Path, labelers: Mapping[str, float] | None = None) -> Iterator[WeightedPair]:
    """The pairs of a file of rankings, as ids, with the weights that `preferences_from` gives them.

    Reads the file twice and holds 24 bytes a ranking. Raises ValueError for a row that is no
    ranking, or was altered.
    """
    voices = Voices.of(
        (row["prompt_id"], labeler_weight(labelers, row["labeler_id"]))
        for row in read_jsonl(path)
        if len(row.get("groups", ())) > 1 and _trains(row.get("mode", "rank"))
    )
    for row in read_jsonl(path):
        ranking = Ranking.from_json(row)
        voice = labeler_weight(labelers, ranking.labeler_id)
        if voice and _trains(ranking.mode):
            for pair in _weighted(ranking, voice, voices):
                yield WeightedPair(ranking.prompt_id, ranking.id, *pair)


def _trains(mode: str) -> bool:
    return mode_named(mode).feeds == "preferences"


def _weighted(
    ranking: Ranking, voice: float, voices: Voices
) -> Iterator[tuple[str, str, int, float]]:
    """(better, worse, margin, weight): a ranking's part of its prompt's vote, by the weight of its
    own voice, shared among its strict pairs.
    """
    pairs = list(comparisons(ranking))
    strict = sum(margin > 0 for _, _, margin in pairs)
    together = voices.of_prompt(ranking.prompt_id) or voice
    share = prompt_share(together) * voice / together
    for better, worse, margin in pairs:
        yield better, worse, margin, share / (strict or len(pairs))


def _check_known(
    ranking: Ranking, prompts: Mapping[str, Prompt], responses: Mapping[str, Response]
) -> None:
    if ranking.prompt_id not in prompts:
        raise ValueError(f"{ranking.id} ranks {ranking.prompt_id}, which is not among the prompts")
    ranked = [response for group in ranking.groups for response in group]
    missing = [response for response in ranked if response not in responses]
    if missing:
        raise ValueError(f"{ranking.id} ranks {missing[0]}, which is not among the responses")
