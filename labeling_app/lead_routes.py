"""What a lead sees, under `/api/lead`: for the role lead and above."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query

from labeling_app.desk import CampaignName
from labeling_app.lead_actions import campaign_json, lead_actions
from labeling_app.lead_json import item_json, item_rows
from labeling_app.lead_texts import LEAD_TEXTS
from labeling_app.visitors import CurrentVisitor, Visitor, only
from labeling_app.watching import Watch
from rlhf.data.identity import Json
from rlhf.feedback.overview import flags_of, pace, skips_by_reason, versions_of
from rlhf.feedback.store import Campaign, Store

ITEMS_PER_PAGE = 10
MAX_ITEM = 2**31 - 1  # the largest id that every database can look for


def lead_routes(
    store: Store,
    current_visitor: CurrentVisitor,
    clock: Callable[[], float] = time.time,
    *,
    opened: str = "",
) -> APIRouter:
    """The routes under `/api/lead`. Each takes the campaign's name as `campaign`, or means the
    `opened` one, else the newest.
    """
    router = APIRouter(prefix="/api/lead", tags=["lead"])
    lead = Annotated[Visitor, Depends(only("lead", current_visitor))]
    watch = Watch(store.database)

    def campaign_of(_lead: lead, campaign: CampaignName = opened) -> Campaign:
        held = store.campaigns()
        named = [one for one in held if one.name == campaign] if campaign else held[-1:]
        if not named:
            known = ", ".join(repr(one.name) for one in held) or "none yet"
            raise HTTPException(404, f"there is no campaign {campaign!r}; there are: {known}.")
        return named[0]

    asked = Annotated[Campaign, Depends(campaign_of)]
    router.include_router(lead_actions(store, lead, asked))

    @router.get("/overview")
    def overview(campaign: asked) -> Json:
        """Where the campaign stands: progress, flags, skips, versions."""
        progress = asdict(store.progress(campaign))
        with store.database.reading() as db:
            return {
                "campaigns": [one.name for one in store.campaigns()],
                "campaign": campaign_json(campaign),
                "progress": progress,
                "pace": asdict(pace(db, campaign, clock())),
                "skips": [
                    {"reason": reason, "count": count}
                    for reason, count in skips_by_reason(db, campaign)
                ],
                "flags": [asdict(flag) for flag in flags_of(db, campaign)],
                "versions": [asdict(one) for one in versions_of(db, campaign)],
            }

    @router.get("/quality")
    def quality(campaign: asked) -> Json:
        """Agreement, labelers with findings, disputes; `ready` is false while they are counted."""
        counted = watch.quality(campaign)
        return {"ready": counted is not None, **(counted or {})}

    @router.get("/texts")
    def texts(_lead: lead) -> Json:
        """Every text of the page."""
        return LEAD_TEXTS

    @router.get("/items")
    def list_items(
        campaign: asked,
        search: Annotated[str, Query(max_length=200)] = "",
        offset: Annotated[int, Query(ge=0, le=MAX_ITEM)] = 0,
    ) -> Json:
        """Items of work and gold whose prompt holds `search`, a page of them."""
        with store.database.reading() as db:
            number, rows = item_rows(db, campaign, search, offset, ITEMS_PER_PAGE)
        return {"count": number, "offset": offset, "items": rows}

    @router.get("/items/{item_id}")
    def item(item_id: int, campaign: asked) -> Json:
        """One item with its answers side by side, and who said what."""
        with store.database.reading() as db:
            found = item_json(db, campaign, item_id) if abs(item_id) <= MAX_ITEM else None
        if found is None:
            raise HTTPException(404, f"the campaign has no item {item_id} of work.")
        return found

    return router
