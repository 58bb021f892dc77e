"""Simulated labelers: people with an id, a temper and a clock, who rank through the store as
people do.
"""

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlhf.data.identity import seed_from, seeded_uuid
from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Campaign, Judgement, Store, Task

Temper = Literal["careful", "careless", "hurried"]

# The simulated clock starts on a Monday at nine in the morning, UTC.
CLOCK_START_SECONDS = 1_767_603_600.0


@dataclass(frozen=True, slots=True)
class Labeler:
    """One simulated labeler.

    A response's worth to them is its gold reward, plus `length_love` per word, plus Gumbel noise
    of scale `noise`: without the love of length that is a Plackett-Luce ranking of gold. Worths
    within `tie_width` of the best of a group are tied. `seconds_per_word` is the reading speed.
    """

    id: str
    temper: Temper
    noise: float
    length_love: float
    tie_width: float
    seconds_per_word: float


def crew(careful: int, careless: int, hurried: int) -> list[Labeler]:
    """That many labelers of each temper, with stable ids that do not tell the temper."""
    kinds: list[tuple[Temper, int, tuple[float, float, float, float]]] = [
        ("careful", careful, (0.3, 0.0, 0.2, 0.30)),
        ("careless", careless, (1.6, 0.0, 0.2, 0.18)),
        ("hurried", hurried, (0.6, 0.06, 0.5, 0.09)),
    ]
    made = [(temper, traits) for temper, count, traits in kinds for _ in range(count)]
    return [
        Labeler(f"labeler-{number:02d}", temper, *traits)
        for number, (temper, traits) in enumerate(made, 1)
    ]


def rank(
    labeler: Labeler,
    prompt: Prompt,
    responses: Sequence[Response],
    gold: Callable[[Prompt, Response], float],
    *,
    seed: int,
) -> tuple[tuple[str, ...], ...]:
    """The labeler's tie groups, best first; depends on (seed, labeler, prompt) alone, not on what
    came before.
    """
    draw = random.Random(seed_from("rank", seed, labeler.id, prompt.id))
    worth = {}
    for response in sorted(responses, key=lambda r: r.id):
        gumbel = -math.log(-math.log(draw.random() or 1e-300))
        love = labeler.length_love * len(response.text.split())
        worth[response.id] = gold(prompt, response) + love + labeler.noise * gumbel
    groups: list[list[str]] = []
    for response_id in sorted(worth, key=lambda key: -worth[key]):
        if groups and worth[groups[-1][0]] - worth[response_id] <= labeler.tie_width:
            groups[-1].append(response_id)
        else:
            groups.append([response_id])
    return tuple(tuple(group) for group in groups)


def label(
    store: Store,
    campaign: Campaign,
    labelers: Sequence[Labeler],
    gold: Callable[[Prompt, Response], float],
    *,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """The crew ranks until nothing is left to rank; returns how many rankings the campaign holds.

    The labeler whose clock is earliest goes next. Clocks are rebuilt from the rankings in the
    store, so that a crew that was stopped half-way goes on as if it had not been.
    """
    held = store.rankings(campaign)
    clocks = {one.id: CLOCK_START_SECONDS + 7.0 * index for index, one in enumerate(labelers)}
    for ranking in held:
        clocks[ranking.labeler_id] = _after(clocks[ranking.labeler_id], ranking.duration_seconds)
    queue = [(clocks[labeler.id], index) for index, labeler in enumerate(labelers)]
    heapq.heapify(queue)
    done = len(held)
    while queue:
        clock, index = heapq.heappop(queue)
        labeler = labelers[index]
        task = store.claim(campaign, labeler.id, now=clock)
        if task is None:
            continue
        seconds = _seconds(labeler, task, seed)
        store.submit(
            task.item_id,
            labeler.id,
            Judgement(rank(labeler, task.prompt, task.responses, gold, seed=seed)),
            submission_id=seeded_uuid(
                "submission", campaign.name, seed, labeler.id, task.prompt.id
            ),
            duration_seconds=seconds,
            now=round(clock + seconds, 3),
        )
        done += 1
        progress(done)
        heapq.heappush(queue, (_after(clock, seconds), index))
    return done


def _after(clock: float, seconds: float) -> float:
    return round(clock + seconds + 2.0, 3)


def _seconds(labeler: Labeler, task: Task, seed: int) -> float:
    draw = random.Random(seed_from("seconds", seed, labeler.id, task.prompt.id))
    words = len(task.prompt.text.split()) + sum(len(r.text.split()) for r in task.responses)
    return round(4.0 + words * labeler.seconds_per_word * math.exp(draw.gauss(0.0, 0.35)), 3)
