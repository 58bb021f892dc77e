"""Runs on rankings that exist already: prompts, responses and rankings come from a campaign in a
store.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pipelines.config import RunConfig
from rlhf.data.identity import Json, content_id
from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.modes import mode_named
from rlhf.feedback.store import Campaign, Store


@contextmanager
def imported_campaign(config: RunConfig) -> Iterator[tuple[Store, Campaign]]:
    """The store and the campaign that the config names; ValueError where there is none, and for one
    of a mode that trains nothing: what judges policies is not what they learn from.
    """
    with Store(config.store) as store:
        campaign = store.campaign(config.label.campaign or "")
        if mode_named(campaign.mode).feeds != "preferences":
            raise ValueError(
                f"campaign {campaign.name!r} has the mode {campaign.mode!r}, which gives no "
                "preferences to train on: name another as label.campaign"
            )
        yield store, campaign


def state(config: RunConfig) -> Json:
    """What a stage that reads the campaign depends on: its items and its rankings as they stand."""
    if config.labelers != "imported":
        return {}
    with imported_campaign(config) as (store, campaign):
        items = [(item.prompt.id, [r.id for r in item.responses]) for item in store.items(campaign)]
        return {"items": content_id("items", items), "rankings": store.digest(campaign)}


def prompts(config: RunConfig) -> list[Prompt]:
    """The prompts of the campaign; a reply that somebody ranked first, alone, is the
    demonstration.
    """
    with imported_campaign(config) as (store, campaign):
        preferred: dict[str, str] = {}
        for ranking in store.rankings(campaign):
            if ranking.groups and len(ranking.groups) > 1 and len(ranking.groups[0]) == 1:
                preferred.setdefault(ranking.prompt_id, ranking.groups[0][0])
        found: dict[str, Prompt] = {}
        for item in store.items(campaign):
            texts = {response.id: response.text for response in item.responses}
            best = texts.get(preferred.get(item.prompt.id, ""))
            if item.prompt.id not in found or best is not None:
                found[item.prompt.id] = replace(item.prompt, demonstration=best)
    return list(found.values())


def responses(config: RunConfig) -> dict[str, list[Response]]:
    """Prompt id -> every different response of the campaign to it."""
    with imported_campaign(config) as (store, campaign):
        found: dict[str, dict[str, Response]] = {}
        for item in store.items(campaign):
            row = found.setdefault(item.prompt.id, {})
            row.update((response.id, response) for response in item.responses)
    return {prompt_id: list(row.values()) for prompt_id, row in found.items()}


def rankings(config: RunConfig) -> list[Ranking]:
    """The rankings of the campaign that are in force."""
    with imported_campaign(config) as (store, campaign):
        return store.rankings(campaign)
