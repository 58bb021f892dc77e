"""What a lead does to a campaign while it runs. Each action is logged under the lead's pseudonym.

Each function works inside the caller's transaction: all of it is done, or nothing.
"""

import time
from collections.abc import Mapping

from sqlalchemy import Connection, and_, func, insert, select, update

from rlhf.data.identity import Json
from rlhf.data.records import Response
from rlhf.feedback import campaigns, reviewing
from rlhf.feedback.audit import Entry, append
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.items import Item, add_items, items_of, review_key
from rlhf.feedback.leases import count_places
from rlhf.feedback.modes import CAMPAIGN_MODES, mode_named
from rlhf.feedback.progress import count_wanted, recount
from rlhf.feedback.recording import iso_time
from rlhf.feedback.schema import answers, items
from rlhf.feedback.schema import campaigns as campaign_rows
from rlhf.feedback.seals import gold_entry
from rlhf.feedback.uploads import Groups, Lines, checked_priority, item_of, prompt_and_response


def log(db: Connection, by: str, action: str, subject: str) -> None:
    """Notes what a lead did; do this last."""
    append(db, iso_time(time.time()), [Entry(by, action, subject[:200])])


def make_campaign(
    db: Connection, by: str, name: str, mode: str, guidelines: str, settings: Json
) -> None:
    """Makes a new campaign, empty; ValueError where there is one of this name, or for a mode that
    is none.
    """
    if mode not in CAMPAIGN_MODES:
        raise ValueError(f"{mode!r} is no mode of a campaign: {', '.join(CAMPAIGN_MODES)}")
    if not campaigns.create(db, name, mode, guidelines, settings, by=by):
        raise ValueError(f"there is a campaign {name!r} already: choose another name")


def add_lines(db: Connection, campaign: Campaign, by: str, text: str) -> int:
    """Adds the items of a JSON Lines text (`uploads.item_of`), all or none; returns how many are
    new. ValueError names the first line that does not fit.
    """
    most = mode_named(campaign.mode).responses[1]
    lines = Lines(text)
    with lines.named():
        added = add_items(db, campaign, (item_of(row, most) for row in lines))
    log(db, by, "items added", f"{campaign.name}: {added}")
    return added


def add_model(db: Connection, campaign: Campaign, by: str, model: str, text: str) -> int:
    """Adds one model's responses to prompts that the campaign holds, all or none; returns how many
    items are new. A line: `prompt` (as it was added) or `prompt_id`, and `response`.

    Each becomes an item beside the responses that the prompt's first item holds, as many as the
    campaign's mode can ask about, first come first kept. ValueError names the first line that does
    not fit.
    """
    if not model.strip():
        raise ValueError("the responses need the name of the model that wrote them")
    most = mode_named(campaign.mode).responses[1]
    first: dict[str, Item] = {}
    for item in items_of(db, campaign):
        first.setdefault(item.prompt.id, item)

    def beside(row: Json) -> Item:
        prompt_id, text = prompt_and_response(row)
        if prompt_id not in first:
            raise ValueError("the campaign holds no such prompt")
        held = first[prompt_id]
        new = Response.of(prompt_id, text, model=model)
        others = tuple(one for one in held.responses if one.id != new.id)[: most - 1]
        return Item(held.prompt, (*others, new), wanted=0, priority=held.priority)

    lines = Lines(text)
    with lines.named():
        added = add_items(db, campaign, (beside(row) for row in lines))
    log(db, by, "model added", f"{campaign.name}: {added} items of {model}")
    return added


def mark_gold(
    db: Connection, campaign: Campaign, by: str, item_id: int, expected: Groups | None
) -> None:
    """Makes an item a gold one with the `expected` order, or (None) an item of work again.

    Raises ValueError where it is a check or a review, or the order is not over its responses.
    """
    held = select(campaign_rows.c.id).where(campaign_rows.c.id == campaign.id)
    db.execute(held.with_for_update(key_share=True))  # before the item: the order of locks
    row = _own_item(db, campaign, item_id)
    if expected is not None:
        ids = [one for group in expected for one in group]
        if sorted(ids) != sorted(row[1]) or not all(expected):
            raise ValueError(f"the expected order of item {item_id} is not over its responses")
        if len(expected) < 2:
            raise ValueError("an expected order in which all tie checks nothing")
    kind = "work" if expected is None else "gold"
    db.execute(update(items).where(items.c.id == item_id).values(kind=kind, expected=expected))
    # Gold counts neither as work done nor as places taken: both are counted anew.
    count_places(db, [item_id])
    answered = select(answers.c.labeler_id).where(answers.c.item_id == item_id).distinct()
    recount(db, campaign.id, sorted(db.execute(answered).scalars()))
    count_wanted(db, campaign.id)
    action = "gold marked" if expected else "gold unmarked"
    append(db, iso_time(time.time()), [gold_entry(by, action, item_id, expected)])


def set_priorities(
    db: Connection, campaign: Campaign, by: str, priorities: Mapping[int, float]
) -> int:
    """Items with the highest numbers come first; returns how many items were set."""
    for item_id, priority in sorted(priorities.items()):
        _own_item(db, campaign, item_id)
        value = checked_priority(priority)
        db.execute(update(items).where(items.c.id == item_id).values(priority=value))
    log(db, by, "priorities set", f"{campaign.name}: {len(priorities)}")
    return len(priorities)


def ask_reviews(db: Connection, campaign: Campaign, by: str, below: float) -> int:
    """Asks for a review of the items on which labelers agree on less than `below` of the pairs;
    returns how many are new.
    """
    asked = reviewing.open_reviews(db, campaign, below)
    log(db, by, "reviews asked", f"{campaign.name}: {asked} below {below:g}")
    return asked


def ask_review(db: Connection, campaign: Campaign, by: str, item_id: int) -> bool:
    """Asks for a review of one item; False where that was asked for before. ValueError in a
    campaign whose answers are no orders to train on.
    """
    reviewing.check_reviewable(campaign)
    _own_item(db, campaign, item_id)
    item = db.execute(select(items).where(items.c.id == item_id)).one()
    key = review_key(item.key)
    same = and_(items.c.campaign_id == campaign.id, items.c.key == key)
    if db.execute(select(func.count()).select_from(items).where(same)).scalar_one():
        return False
    db.execute(
        insert(items).values(
            campaign_id=campaign.id,
            prompt_id=item.prompt_id,
            key=key,
            response_ids=item.response_ids,
            position=item.position,
            wanted=1,
            kind="review",
            of_item=item_id,
            priority=1.0,
        )
    )
    log(db, by, "review asked", f"item {item_id}")
    return True


def _own_item(db: Connection, campaign: Campaign, item_id: int) -> tuple[str, list[str]]:
    """Kind and responses of an item of work or gold; ValueError for any other."""
    mine = and_(items.c.id == item_id, items.c.campaign_id == campaign.id)
    columns = select(items.c.kind, items.c.response_ids)
    row = db.execute(columns.where(mine).with_for_update()).first()
    if row is None:
        raise ValueError(f"campaign {campaign.name!r} has no item {item_id}")
    if row.kind not in ("work", "gold"):
        raise ValueError(
            f"item {item_id} is a {row.kind} item: only work can be marked or reviewed"
        )
    return row.kind, list(row.response_ids)
