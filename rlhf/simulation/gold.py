"""The gold preference of the built-in world: what a careful reader would say of an answer, part by
part.

Used to simulate labelers and to judge policies; never visible to training. It holds a length trap:
near the SFT policy good answers are longer (they name the topic, state facts, close kindly), so
"longer is better" predicts votes, but filler and repetition add length too and cost reward, and so
does every word beyond `FREE_WORDS`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from rlhf.simulation import lexicon
from rlhf.simulation.world import topics_by_request

FREE_WORDS = 36

# Points for each sentence of a kind, and for each word beyond the free ones.
POINTS: Mapping[str, float] = MappingProxyType(
    {
        "names the topic": 1.0,
        "first fact": 1.4,
        "second fact": 1.0,
        "kind close": 0.5,
        "vague": -0.3,
        "off topic": -1.0,
        "filler": -0.5,
        "repeated": -0.8,
        "garbled": -0.8,
        "unfinished": -0.8,
        "words too many": -0.05,
    }
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gold reward of one answer, and how often each part was found in it."""

    reward: float
    parts: Mapping[str, int]


def judge(request: str, answer: str, *, finished: bool = True) -> Judgement:
    """Judges an answer to a request of the built-in world.

    Each sentence counts once, by its kind; a sentence said again is `repeated`; a sentence that
    the world does not know is `garbled`. Raises ValueError for a request that is not of the world.
    """
    topic = topics_by_request().get(request)
    if topic is None:
        raise ValueError(f"gold knows only the built-in world's prompts, not {request!r}")
    fitting = {
        **dict.fromkeys(topic.openers, "names the topic"),
        topic.facts[0]: "first fact",
        topic.facts[1]: "second fact",
        **dict.fromkeys(lexicon.CLOSERS[topic.family], "kind close"),
        **dict.fromkeys(lexicon.VAGUE, "vague"),
        **dict.fromkeys(lexicon.FILLER, "filler"),
    }
    parts = dict.fromkeys(POINTS, 0)
    seen: set[str] = set()
    for sentence in _sentences(answer):
        if sentence in seen:
            kind = "repeated"
        else:
            kind = fitting.get(sentence) or ("off topic" if sentence in _known() else "garbled")
        if kind in {"names the topic", "kind close"} and parts[kind]:
            kind = "repeated"
        seen.add(sentence)
        parts[kind] += 1
    if not finished:
        parts["unfinished"] = 1
        if parts["garbled"] and not answer.rstrip().endswith("."):
            parts["garbled"] -= 1  # the sentence that was cut off
    parts["words too many"] = max(0, len(answer.split()) - FREE_WORDS)
    return Judgement(round(sum(POINTS[kind] * count for kind, count in parts.items()), 6), parts)


@cache
def _known() -> frozenset[str]:
    topics = topics_by_request().values()
    told = [sentence for topic in topics for sentence in topic.facts + topic.openers]
    closers = [sentence for group in lexicon.CLOSERS.values() for sentence in group]
    return frozenset([*told, *closers, *lexicon.VAGUE, *lexicon.FILLER])


def _sentences(answer: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.?!])\s+", answer.strip()) if part.strip()]
