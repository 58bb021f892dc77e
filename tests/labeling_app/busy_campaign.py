"""A campaign in full work: six simulated labelers, checks on, three of them with a known fault."""

import heapq
import random
import uuid
from dataclasses import dataclass

from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Campaign, Item, Judgement, Store, Task
from rlhf.simulation import gold, world

HOURS = 2.8  # what the crew takes
NAME = "Support replies, round 2"
GUIDELINES = "**Helpful first.** An answer that solves the problem beats one that is only polite."


@dataclass(frozen=True)
class Hand:
    """How a labeler works: noise on the gold reward, love of the first card and of length."""

    labeler_id: str
    noise: float = 0.35
    first_love: float = 0.0
    length_love: float = 0.0
    tie_width: float = 0.1
    seconds_per_word: float = 0.27


CREW = (
    Hand("labeler-1c77e0d2"),
    Hand("labeler-3a91f4b8", seconds_per_word=0.32),
    Hand("labeler-58d20c6e", noise=0.5),
    Hand("labeler-7be4419a", first_love=0.7),
    Hand("labeler-a06f3d15", length_love=0.12),
    Hand("labeler-e2c58b70", noise=9.0, seconds_per_word=0.07),
)


def seed_campaign(
    store: Store, *, now: float, prompts: int = 150, gold_items: int = 24, turns: int = 780
) -> Campaign:
    """Makes the campaign and lets the crew answer `turns` items, the last of them at `now`."""
    campaign = store.create_campaign(
        NAME,
        guidelines=GUIDELINES,
        settings={
            "overlap": 5,
            "overlap_share": 1.0,
            "gold_share": 0.17,
            "repeat_share": 0.17,
            "repeat_after": 10,
            "identical_share": 0.2,
            "pay_per_answer": 0.3,
            "currency": "EUR",
        },
    )
    made = [_item(prompt, seed) for seed, prompt in enumerate(world.requests(prompts, seed=7))]
    checks = [_gold(item) for item in made[:gold_items]]
    store.add_items(campaign, [*checks, *made[gold_items:]])
    _work(store, campaign, now, turns)
    return store.change_campaign(
        campaign,
        by="labeler-lead",
        guidelines=f"{GUIDELINES}\n\nTie only what you would not choose between.",
        note="Ties are for answers between which you would not choose.",
    )


def _item(prompt: Prompt, seed: int) -> Item:
    texts: list[str] = []
    attempt = 0
    while len(texts) < 4:
        text = world.write(prompt.text, world.ANYBODY, seed=100 * seed + attempt)
        texts += [text] if text not in texts else []
        attempt += 1
    return Item(prompt, tuple(Response.of(prompt.id, one, model="m") for one in texts), wanted=0)


def _gold(item: Item) -> Item:
    best = sorted(item.responses, key=lambda one: -_worth(item.prompt.text, one.text))
    return Item(item.prompt, item.responses, 1, 0.0, tuple((one.id,) for one in best))


def _worth(request: str, text: str) -> float:
    return gold.judge(request, text).reward


def _work(store: Store, campaign: Campaign, now: float, turns: int) -> None:
    draw = random.Random(11)
    made: list[tuple[float, Hand, Task, Judgement, float]] = []
    clocks = [(7.0 * place, place) for place in range(len(CREW))]
    begun = now - HOURS * 3600
    while clocks and len(made) < turns:
        clock, place = heapq.heappop(clocks)
        hand = CREW[place]
        task = store.claim(campaign, hand.labeler_id, now=begun + clock)
        if task is None:
            continue
        words = sum(len(one.text.split()) for one in task.responses)
        seconds = 6 + words * hand.seconds_per_word * draw.lognormvariate(0, 0.3)
        at = begun + clock + seconds
        if draw.random() < 0.02:
            reason = draw.choice(["", "It holds personal data", "The text is broken"])
            store.skip(task.item_id, hand.labeler_id, reason)
        else:
            said = _rank(hand, task, draw)
            store.submit(
                task.item_id,
                hand.labeler_id,
                said,
                submission_id=str(uuid.UUID(int=draw.getrandbits(128))),
                duration_seconds=seconds,
                rationale="Answers the question that was asked." if draw.random() < 0.2 else "",
                now=at,
            )
            made.append((at, hand, task, said, seconds))
        if draw.random() < 0.01:
            store.flag(task.item_id, hand.labeler_id, "personal_data", "A phone number, I think.")
        heapq.heappush(clocks, (clock + seconds + draw.expovariate(1 / 45), place))


def _rank(hand: Hand, task: Task, draw: random.Random) -> Judgement:
    worth = {
        one.id: _worth(task.prompt.text, one.text)
        - hand.first_love * place
        + hand.length_love * len(one.text.split())
        + hand.noise * draw.gauss(0, 1)
        for place, one in enumerate(task.responses)
    }
    groups: list[list[str]] = []
    for one in sorted(worth, key=lambda key: -worth[key]):
        if groups and worth[groups[-1][0]] - worth[one] <= hand.tie_width:
            groups[-1].append(one)
        else:
            groups.append([one])
    return Judgement(
        tuple(tuple(sorted(group)) for group in groups), none_acceptable=draw.random() < 0.06
    )
