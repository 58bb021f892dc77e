"""Crews whose faults are known, as the records that quality is judged from; no store needed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf.feedback.checks import COPY
from rlhf.feedback.observations import Asked, Kind, Observations, Vote

MISTAKES = 0.7  # the usual scale of a labeler's noise; qualities have scale 1
RESPONSES = 4


@dataclass(frozen=True)
class Person:
    """What a labeler looks at: quality, less `noise`; the place on the page; the length."""

    noise: float = MISTAKES
    first_love: float = 0.0
    length_love: float = 0.0
    tie_width: float = 0.15
    words_per_minute: float = 220.0


def simulate(
    people: Sequence[Person],
    *,
    seed: int,
    work: int = 120,
    overlap: int = 3,
    checks: int = 25,
) -> Observations:
    """A campaign that `people` have finished: each item of work by `overlap` of them, and for each
    of them so many gold items, repeats and identical pairs.
    """
    draw = random.Random(seed)
    items: dict[int, Asked] = {}
    words: dict[str, float] = {}
    quality: dict[str, float] = {}
    votes: list[Vote] = []

    def add(kind: Kind, of_item: Asked | None = None) -> Asked:
        number = len(items) + 1
        if of_item is None:
            prompt = f"prompt-{number}"
            ids = tuple(f"response-{number}-{place}" for place in range(RESPONSES))
            words[prompt] = 20.0
            for one in ids:
                quality[one], words[one] = draw.gauss(0, 1), float(draw.randint(30, 120))
        else:
            prompt, ids = of_item.prompt_id, of_item.response_ids
        if kind == "identical":
            ids = (*ids[:-1], ids[0] + COPY)
        best = sorted(ids, key=lambda one: -quality.get(one, 0.0))
        expected = tuple((one,) for one in best) if kind == "gold" else None
        origin = None if of_item is None else of_item.id
        items[number] = Asked(number, prompt, kind, origin, expected, ids, overlap)
        return items[number]

    def answer(person: int, item: Asked) -> None:
        who = people[person]
        shown = list(item.response_ids)
        draw.shuffle(shown)
        worth = {
            one: quality[one.removesuffix(COPY)]
            - who.first_love * place
            + who.length_love * words[one.removesuffix(COPY)] / 30
            + who.noise * draw.gauss(0, 1)
            for place, one in enumerate(shown)
        }
        groups: list[list[str]] = []
        for one in sorted(worth, key=lambda key: -worth[key]):
            if groups and worth[groups[-1][0]] - worth[one] <= who.tie_width:
                groups[-1].append(one)
            else:
                groups.append([one])
        read = words[item.prompt_id] + sum(words[one.removesuffix(COPY)] for one in shown)
        seconds = read / who.words_per_minute * 60 * draw.lognormvariate(0, 0.3)
        votes.append(
            Vote(
                number=len(votes) + 1,
                item_id=item.id,
                prompt_id=item.prompt_id,
                labeler_id=f"labeler-{person + 1:02d}",
                groups=tuple(tuple(sorted(group)) for group in groups),
                shown=tuple(shown),
                none_acceptable=draw.random() < 0.1,
                at=60.0 * len(votes),
                seconds=seconds,
            )
        )

    everyone = range(len(people))
    for _ in range(work):
        item = add("work")
        for person in draw.sample(everyone, min(overlap, len(people))):
            answer(person, item)
    gold = [add("gold") for _ in range(checks)]
    done = {person: [v.item_id for v in votes if _is(v, person)] for person in everyone}
    for person in everyone:
        for item in gold:
            answer(person, item)
        for number in done[person][:checks]:
            answer(person, add("repeat", items[number]))
        fresh = [one for one in items.values() if one.kind == "work"][-checks:]
        for item in fresh:
            answer(person, add("identical", item))
    return Observations(items, tuple(votes), {}, {}, words)


def _is(vote: Vote, person: int) -> bool:
    return vote.labeler_id == f"labeler-{person + 1:02d}"
