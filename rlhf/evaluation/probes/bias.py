"""Bias: requests in which a name or a role is exchanged and nothing else, answered from the same
noise.

Three things are compared: what the reward model gives for the same words with the other name in
them, what it gives each one's own answer, and how long that is. Differences are told in standard
deviations over SFT's answers to the held-out prompts ("spreads"), so that 0.2 is small wherever
one stands.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import fmean, stdev
from typing import Literal

import yaml

from rlhf.data.identity import Json, seed_from
from rlhf.data.records import Message, Prompt
from rlhf.evaluation.probes.bench import BASE, Bench, Reply
from rlhf.evaluation.probes.finding import Finding, NothingToProbeError
from rlhf.evaluation.probes.means import by_item, grouped, mean_of
from rlhf.evaluation.probes.measure import Measure

TITLE = "Bias by names and gender"
OWN = "the run's own prompts"
FEWEST = 6  # items below which an axis is not spoken of
PROMPTS_PER_REQUEST = 6
Axis = Literal["gender", "origin"]
AXES: tuple[Axis, ...] = ("gender", "origin")
KINDS = ("score", "reward", "length")  # each compared along each axis


@dataclass(frozen=True, slots=True)
class Pair:
    """Two prompts that differ in one word; `seed` makes both answers. `item`: what it belongs to,
    `slice`: what it is about.
    """

    axis: Axis
    item: str
    slice: str
    first: Prompt
    second: Prompt
    words: tuple[str, str]
    seed: int


def probe(bench: Bench) -> dict[str, Finding]:
    """The differences first less second: women less men, English names less others."""
    pairs = [*written_pairs(bench.seed, 2 * bench.limit // 3), *own_pairs(bench)]
    spreads = {
        "length": _spread(bench.tokens_of(BASE)),
        "reward": _spread([one.proxy[BASE] for one in bench.answered]),
    }
    return {policy: _found(bench, policy, pairs, spreads) for policy in bench.policies}


def written_pairs(seed: int, limit: int) -> list[Pair]:
    """Requests of our own for two women and two men, and once more for a role: six prompts each,
    `limit` in all (but no fewer requests than say something), of every subject in turn.
    """
    held = yaml.safe_load((files(__package__) / "bias.yaml").read_text(encoding="utf-8"))
    names, roles = held["names"], held["roles"]
    others = [one for one in names if one != "english"]
    made: list[Pair] = []
    rounds = zip(*held["requests"].values(), strict=True)
    asked = [pair for texts in rounds for pair in zip(held["requests"], texts, strict=True)]
    for place, (about, text) in enumerate(asked[: max(FEWEST, limit // PROMPTS_PER_REQUEST)]):
        english = names["english"][place % len(names["english"])]
        origin = names[others[place % len(others)]]
        other = origin[place // len(others) % len(origin)]
        role = tuple(f"my {one}" for one in roles[place % len(roles)])
        noise = seed_from("bias", seed, text)
        for axis, words in (
            ("gender", english),
            ("gender", other),
            ("gender", role),
            ("origin", (english[0], other[0])),
            ("origin", (english[1], other[1])),
        ):
            prompts = [Prompt.of(_filled(text, word)) for word in words]
            made.append(Pair(axis, text, about, prompts[0], prompts[1], tuple(words), noise))  # type: ignore[arg-type]
    return made


def own_pairs(bench: Bench) -> list[Pair]:
    """The held-out prompts that hold one of our names, and each with a name of the other gender
    that the run's prompts know as well; at most a third of the bench's limit.
    """
    held = yaml.safe_load((files(__package__) / "bias.yaml").read_text(encoding="utf-8"))
    texts = [one.prompt.text for one in bench.answered]
    said = {word for text in texts for word in re.findall(r"\w+", text)}
    couples = [couple for group in held["names"].values() for couple in group]
    women, men = ([one[side] for one in couples if one[side] in said] for side in (0, 1))
    if not women or not men:
        return []
    partner = {name: men[place % len(men)] for place, name in enumerate(women)}
    partner |= {name: women[place % len(women)] for place, name in enumerate(men)}
    made: list[Pair] = []
    for one in bench.answered:
        names = set(re.findall(r"\w+", one.prompt.text)) & partner.keys()
        if len(names) != 1 or len(made) == bench.limit // 3:
            continue
        name = names.pop()
        changed = _exchanged(one.prompt, name, partner[name])
        seed = bench.seed_of(one.prompt)
        sides = (one.prompt, changed) if name in women else (changed, one.prompt)
        words = (name, partner[name]) if name in women else (partner[name], name)
        made.append(Pair("gender", one.prompt.id, OWN, *sides, words, seed))
    return made


def _found(
    bench: Bench, policy: str, pairs: Sequence[Pair], spreads: Mapping[str, float]
) -> Finding:
    replies = _replies(bench, policy, pairs)
    sides = [[replies[(one.id, pair.seed)] for one in _both(pair)] for pair in pairs]
    rewards = bench.models.reward(
        [one for pair in pairs for one in _both(pair)], [reply for both in sides for reply in both]
    )
    ours, theirs = list(rewards[::2]), list(rewards[1::2])
    exchanged = [_as_if(reply, pair.words) for pair, (reply, _) in zip(pairs, sides, strict=True)]
    there = bench.models.reward([pair.second for pair in pairs], exchanged)
    differences = {
        "score": _differences(ours, there, spreads["reward"]),
        "reward": _differences(ours, theirs, spreads["reward"]),
        "length": _differences(
            [a.tokens for a, _ in sides], [b.tokens for _, b in sides], spreads["length"]
        ),
    }
    changed = [
        _as_if(ours, pair.words).text != theirs.text
        for pair, (ours, theirs) in zip(pairs, sides, strict=True)
    ]
    measures = _measures(pairs, differences)
    if not measures:
        raise NothingToProbeError(f"fewer than {FEWEST} requests could be asked in two ways")
    return Finding(measures, _details(pairs, differences, changed))


def _replies(bench: Bench, policy: str, pairs: Sequence[Pair]) -> dict[tuple[str, int], Reply]:
    """Every different prompt answered once; what the evaluation asked is not asked again."""
    known = {
        (one.prompt.id, bench.seed_of(one.prompt)): one.replies[policy] for one in bench.answered
    }
    wanted = {(one.id, pair.seed): one for pair in pairs for one in _both(pair)}
    new = {key: prompt for key, prompt in wanted.items() if key not in known}
    made = bench.models.respond(policy, list(new.values()), [seed for _, seed in new])
    return known | dict(zip(new, made, strict=True))


def _measures(
    pairs: Sequence[Pair], differences: Mapping[str, Sequence[float]]
) -> dict[str, Measure]:
    made: dict[str, Measure] = {}
    for axis in AXES:
        places = [place for place, pair in enumerate(pairs) if pair.axis == axis]
        for kind in KINDS:
            held = _per_item(pairs, differences[kind], places)
            if len(held) >= FEWEST:
                made[f"{axis}_{kind}"] = mean_of(held, comparisons=len(AXES) * len(KINDS))
    return made


def _per_item(pairs: Sequence[Pair], values: Sequence[float], places: Iterable[int]) -> list[float]:
    kept = list(places)
    return by_item(grouped([pairs[i].item for i in kept], [values[i] for i in kept]))


def _details(
    pairs: Sequence[Pair], differences: Mapping[str, Sequence[float]], changed: Sequence[bool]
) -> Json:
    """Per axis and slice: how many pairs, how often the text changed, and the mean differences."""
    rows: list[Json] = []
    for axis, about in dict.fromkeys((pair.axis, pair.slice) for pair in pairs):
        places = [i for i, one in enumerate(pairs) if (one.axis, one.slice) == (axis, about)]
        row: Json = {"axis": axis, "slice": about, "pairs": len(places)}
        row["changed"] = round(fmean(changed[i] for i in places), 4)
        for kind in KINDS:
            held = _per_item(pairs, differences[kind], places)
            if len(held) > 1:
                found = mean_of(held)
                row[kind] = [round(one, 4) for one in (found.value, found.low, found.high)]
        rows.append(row)
    return {"pairs": len(pairs), "changed": round(fmean(changed), 4), "slices": rows}


def _both(pair: Pair) -> Iterator[Prompt]:
    yield pair.first
    yield pair.second


def _differences(ours: Sequence[float], theirs: Sequence[float], spread: float) -> list[float]:
    return [(a - b) / spread for a, b in zip(ours, theirs, strict=True)]


def _as_if(reply: Reply, words: tuple[str, str]) -> Reply:
    """The same answer with the other name in it; names alone are exchanged, not he and she."""
    text = _swap(reply.text, *(one.removeprefix("my ") for one in words))
    return reply if text == reply.text else Reply(text, reply.tokens, reply.finished)


def _exchanged(prompt: Prompt, name: str, other: str) -> Prompt:
    turns = tuple(Message(one.role, _swap(one.content, name, other)) for one in prompt.messages)
    return Prompt.of(turns, family=prompt.family)


def _swap(text: str, word: str, other: str) -> str:
    """Both ways round, whole words only."""
    other_of = {word: other, other: word, word.capitalize(): other.capitalize()}
    other_of |= {other.capitalize(): word.capitalize()}
    pattern = r"\b(" + "|".join(map(re.escape, other_of)) + r")\b"
    return re.sub(pattern, lambda found: other_of[found[0]], text)


def _filled(text: str, word: str) -> str:
    said = text.replace("{x}", word)
    return said[0].upper() + said[1:]


def _spread(values: Sequence[float]) -> float:
    """The standard deviation; 1 where there is none, so that a difference stays what it is."""
    return (stdev(values) if len(values) > 1 else 0.0) or 1.0
