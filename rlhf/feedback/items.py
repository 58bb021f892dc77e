"""Items: one prompt with its responses, added to a campaign and read from it.

Each function works inside the caller's transaction.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    insert,
    select,
    true,
    union_all,
)

from rlhf.data.identity import Json, content_id, seed_from
from rlhf.data.records import Prompt, Response
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.modes import mode_named
from rlhf.feedback.progress import count_wanted
from rlhf.feedback.recording import iso_time, item_key
from rlhf.feedback.schema import campaigns, items, prompts, responses
from rlhf.feedback.seals import seal_gold

_TEXTS = union_all(
    select(prompts.c.id, prompts.c.body).where(prompts.c.id == bindparam("prompt")),
    select(responses.c.id, responses.c.body).where(
        responses.c.id.in_(bindparam("responses", expanding=True))
    ),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt with its responses, to be judged by `wanted` labelers (0: by the campaign's
    overlap).

    A `gold` item holds the `expected` answer: tie groups of response ids.
    """

    prompt: Prompt
    responses: tuple[Response, ...]
    wanted: int = 1
    priority: float = 0.0
    expected: tuple[tuple[str, ...], ...] | None = None


def add_items(db: Connection, campaign: Campaign, new: Iterable[Item]) -> int:
    """Adds the items that the campaign does not hold yet; returns how many were added."""
    fewest, most = mode_named(campaign.mode).responses
    if campaign.mode == "rank":  # longer lists can be imported, though no page shows them
        most = sys.maxsize
    of_campaign = items.c.campaign_id == campaign.id
    # One at a time, so that positions and keys are counted once.
    held_campaign = select(campaigns.c.id).where(campaigns.c.id == campaign.id)
    db.execute(held_campaign.with_for_update(key_share=True))
    held = set(db.execute(select(items.c.key).where(of_campaign)).scalars())
    position = db.execute(select(func.count()).select_from(items).where(of_campaign)).scalar_one()
    known_prompts = set(db.execute(select(prompts.c.id)).scalars())
    known_responses = set(db.execute(select(responses.c.id)).scalars())
    prompt_rows: list[Json] = []
    response_rows: list[Json] = []
    item_rows: list[Json] = []
    for item in new:
        key = item_key(item.prompt.id, [response.id for response in item.responses])
        if key in held:
            continue
        _check_item(item, fewest, most)
        held.add(key)
        if item.prompt.id not in known_prompts:
            known_prompts.add(item.prompt.id)
            prompt_rows.append({"id": item.prompt.id, "body": item.prompt.to_json()})
        for response in item.responses:
            if response.id not in known_responses:
                known_responses.add(response.id)
                row: Json = {"id": response.id, "prompt_id": item.prompt.id}
                response_rows.append({**row, "body": response.to_json()})
        item_rows.append(
            {
                "campaign_id": campaign.id,
                "prompt_id": item.prompt.id,
                "key": key,
                "response_ids": [response.id for response in item.responses],
                "position": position + len(item_rows),
                "wanted": item.wanted or _overlap(campaign, key),
                "kind": "work" if item.expected is None else "gold",
                "expected": item.expected,
                "priority": item.priority,
            }
        )
    for table, rows in ((prompts, prompt_rows), (responses, response_rows), (items, item_rows)):
        if rows:
            db.execute(insert(table), rows)
    count_wanted(db, campaign.id)
    gold = [row["key"] for row in item_rows if row["kind"] == "gold"]
    if gold:
        seal_gold(db, iso_time(time.time()), campaign.id, gold)
    return len(item_rows)


def items_of(db: Connection, campaign: Campaign) -> Iterator[Item]:
    """The work and gold items of a campaign, in their order."""
    kept = and_(items.c.campaign_id == campaign.id, items.c.kind.in_(("work", "gold")))
    for row in db.execute(select(items).where(kept).order_by(items.c.position)).all():
        prompt, answers = load_texts(db, row.prompt_id, row.response_ids)
        expected = row.expected and tuple(tuple(group) for group in row.expected)
        yield Item(prompt, answers, row.wanted, row.priority, expected)


def load_texts(
    db: Connection, prompt_id: str, response_ids: Sequence[str]
) -> tuple[Prompt, tuple[Response, ...]]:
    """A prompt and responses to it, in the order of their ids as given."""
    rows = db.execute(_TEXTS, {"prompt": prompt_id, "responses": list(response_ids)})
    by_id = {row.id: row.body for row in rows}
    answers = tuple(Response.from_json(by_id[response]) for response in response_ids)
    return Prompt.from_json(by_id[prompt_id]), answers


def of_length(most: int | None) -> ColumnElement[bool]:
    """Items with at most `most` responses."""
    return true() if most is None else func.json_array_length(items.c.response_ids) <= most


def _overlap(campaign: Campaign, key: str) -> int:
    """The campaign's overlap for a share of items chosen by content, else one."""
    drawn = seed_from("overlap", campaign.name, key) / (1 << 63)
    return campaign.settings.overlap if drawn < campaign.settings.overlap_share else 1


def _check_item(item: Item, fewest: int, most: int) -> None:
    ids = [response.id for response in item.responses]
    if len(set(ids)) < fewest or len(set(ids)) < len(ids):
        needs = "at least two different responses" if fewest == 2 else f"{fewest} response"
        raise ValueError(f"{item.prompt.id} needs {needs} to be ranked, got {len(set(ids))}")
    if len(ids) > most:
        raise ValueError(f"{item.prompt.id} has {len(ids)} responses: at most {most} can be shown")
    strangers = [response.id for response in item.responses if response.prompt_id != item.prompt.id]
    if strangers:
        raise ValueError(f"{strangers[0]} does not answer {item.prompt.id}")
    if item.wanted < 0:
        raise ValueError(f"{item.prompt.id} wants {item.wanted} labelers: at least 1")
    if item.expected is not None:
        expected = [response for group in item.expected for response in group]
        if sorted(expected) != sorted(ids):
            raise ValueError(f"the expected order of {item.prompt.id} is not over its responses")


def review_key(key: str) -> str:
    """The key of the item that reviews the item of this key."""
    return content_id("item", ["review", key])
