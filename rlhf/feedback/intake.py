"""Imported preferences into the store, beside what people rank here."""

from collections import Counter
from dataclasses import dataclass

from rlhf.data.importing import Imported
from rlhf.feedback.recording import item_key
from rlhf.feedback.store import Item, Store


@dataclass(frozen=True, slots=True)
class IntakeReport:
    """What an import added to a campaign; `already_there` counts rankings that it held before."""

    campaign: str
    items_added: int
    rankings_added: int
    already_there: int


def save_import(store: Store, campaign_name: str, imported: Imported) -> IntakeReport:
    """Saves what was imported in the campaign of this name, made where it is not there yet.

    An item wants as many labelers as ranked it, so that nobody is asked again. Saving the same
    import twice adds nothing; cut short, it is completed by saving it again.
    """
    campaign = store.create_campaign(campaign_name)
    ranked_by = {
        (item_key(ranking.prompt_id, ranking.shown), ranking.labeler_id)
        for ranking in imported.rankings
    }
    wanted = Counter(key for key, _ in ranked_by)
    items = store.add_items(
        campaign,
        [
            Item(prompt, answers, wanted[item_key(prompt.id, [answer.id for answer in answers])])
            for prompt, answers in imported.items
        ],
    )
    added = store.record(campaign, imported.rankings)
    return IntakeReport(campaign_name, items, added, len(imported.rankings) - added)
