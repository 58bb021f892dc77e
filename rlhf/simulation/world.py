"""The built-in world: requests, and answers of every quality, made from the lexicon.

Deterministic in the seed. Nothing here knows how answers are judged: that is
`rlhf.simulation.gold`.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from rlhf.data.identity import seed_from
from rlhf.data.records import Prompt
from rlhf.simulation import lexicon


@dataclass(frozen=True, slots=True)
class Topic:
    """What a request is about: its family, the sentences that answer it, and those that open an
    answer to it.
    """

    family: str
    key: str
    facts: tuple[str, str]
    openers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Writer:
    """How somebody writes answers: chances of each good part and of each fault."""

    opener: float
    fact: float
    second_fact: float
    wrong_fact: float
    closer: float
    filler: float
    repeat: float


# People who write demonstrations: right more often than not, wordy, not tidy.
DEMONSTRATOR = Writer(
    opener=0.5, fact=0.6, second_fact=0.45, wrong_fact=0.12, closer=0.45, filler=0.12, repeat=0.05
)
# The text a base model reads: everything, good and bad.
ANYBODY = Writer(
    opener=0.8, fact=0.85, second_fact=0.7, wrong_fact=0.05, closer=0.5, filler=0.12, repeat=0.04
)


@cache
def topics_by_request() -> dict[str, Topic]:
    """Every request of the world, with its topic."""
    return {text: topic for topic, texts in _topics() for text in texts}


def requests(count: int, *, seed: int) -> list[Prompt]:
    """`count` different prompts, an equal share of each family, each with a written demonstration.

    Raises ValueError where the world holds fewer than `count` requests.
    """
    by_family: dict[str, list[str]] = {}
    for text, topic in topics_by_request().items():
        by_family.setdefault(topic.family, []).append(text)
    chosen: list[str] = []
    draw = random.Random(seed_from("requests", seed))
    families = sorted(by_family.items(), key=lambda pair: len(pair[1]))
    for index, (_, texts) in enumerate(families):
        share = (count - len(chosen)) // (len(families) - index)
        chosen += draw.sample(texts, min(share, len(texts)))
    if len(chosen) < count:
        held = len(topics_by_request())
        raise ValueError(f"the built-in world holds {held} prompts, {count} were asked for")
    draw.shuffle(chosen)
    return [
        Prompt.of(
            text,
            family=topics_by_request()[text].family,
            demonstration=write(text, DEMONSTRATOR, seed=seed),
        )
        for text in chosen
    ]


def documents(count: int, *, seed: int) -> Iterator[str]:
    """`count` plain texts for pretraining: a request and somebody's answer to it, a line each."""
    texts = sorted(topics_by_request())
    draw = random.Random(seed_from("documents", seed))
    for number in range(count):
        text = draw.choice(texts)
        yield f"{text}\n{write(text, ANYBODY, seed=seed_from(seed, number))}"


def write(request: str, writer: Writer, *, seed: int) -> str:
    """One answer to a request of the world, as this writer would write it."""
    topic = topics_by_request()[request]
    draw = random.Random(seed_from("answer", request, seed))
    sentences: list[str] = []
    if draw.random() < writer.opener:
        sentences.append(draw.choice(topic.openers))
    if draw.random() < writer.filler:
        sentences.append(draw.choice(lexicon.FILLER))
    if draw.random() < writer.fact:
        sentences.append(topic.facts[0])
        if draw.random() < writer.second_fact:
            sentences.append(topic.facts[1])
    elif draw.random() < writer.wrong_fact / (1 - writer.fact):
        sentences.append(draw.choice(draw.choice(_topic_list(topic.family)).facts))
    else:
        sentences.append(draw.choice(lexicon.VAGUE))
    while draw.random() < writer.filler:
        sentences.append(draw.choice(lexicon.FILLER))
    if draw.random() < writer.repeat:
        sentences.append(draw.choice(sentences))
    if draw.random() < writer.closer:
        sentences.append(draw.choice(lexicon.CLOSERS[topic.family]))
    return " ".join(sentences)


@cache
def _topic_list(family: str) -> tuple[Topic, ...]:
    return tuple(topic for topic, _ in _topics() if topic.family == family)


def _topics() -> Iterator[tuple[Topic, list[str]]]:
    for product in lexicon.PRODUCTS:
        for problem, (complaint, *solution) in lexicon.PROBLEMS.items():
            first, second = (fact.format(x=product) for fact in solution)
            openers = _openers("support", x=product)
            framed = [f.format(c=complaint.format(x=product)) for f in lexicon.SUPPORT_FRAMES]
            yield Topic("support", f"{product}/{problem}", (first, second), openers), framed
    for thing, facts in lexicon.THINGS.items():
        framed = [_article(f.format(x=thing), thing) for f in lexicon.EXPLAIN_FRAMES]
        yield Topic("explain", thing, facts, _openers("explain", x=thing)), framed
    for task, facts in lexicon.TASKS.items():
        framed = [f.format(x=task) for f in lexicon.TIPS_FRAMES]
        yield Topic("tips", task, facts, _openers("tips", x=task)), framed
    for person in lexicon.PEOPLE:
        for gift, facts in lexicon.GIFTS.items():
            framed = [_article(f.format(p=person, x=gift), gift) for f in lexicon.THANKS_FRAMES]
            openers = _openers("thanks", p=person, x=gift)
            yield Topic("thanks", f"{person}/{gift}", facts, openers), framed


def _openers(family: str, **words: str) -> tuple[str, ...]:
    return tuple(opener.format(**words) for opener in lexicon.OPENERS[family])


def _article(text: str, noun: str) -> str:
    if noun == "flowers":
        return text.replace("a flowers", "some flowers")
    return text.replace(f" a {noun}", f" an {noun}") if noun[0] in "aeiou" else text
