"""A campaign's rankings as rows that other trainers load: what they lose is counted."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import Preference, Prompt, Ranking, Response
from rlhf.feedback.modes import mode_named
from rlhf.feedback.pairs import preferences_from
from rlhf.feedback.store import Campaign, Store

Form = Literal["messages", "plain"]


@dataclass(frozen=True, slots=True)
class Preferences:
    """Rows with `prompt`, `chosen` and `rejected`, and what did not become one: what, how many."""

    rows: tuple[Json, ...]
    lost: dict[str, int]


def preferences_of(store: Store, campaign: Campaign, form: Form = "messages") -> Preferences:
    """The strict pairs of the rankings in force, as TRL loads them: conversations (`messages`), or
    texts (`plain`), which can say one turn only.

    Raises ValueError where the campaign's mode gives no preferences, or there are no pairs.
    """
    if mode_named(campaign.mode).feeds != "preferences":
        raise ValueError(
            f"campaign {campaign.name!r} has the mode {campaign.mode!r}, which gives no "
            "preferences: export it `--as rankings`"
        )
    held = store.rankings(campaign)
    prompts: dict[str, Prompt] = {}
    responses: dict[str, Response] = {}
    for item in store.items(campaign):
        prompts[item.prompt.id] = item.prompt
        responses.update((response.id, response) for response in item.responses)
    pairs = list(preferences_from(held, prompts, responses))
    strict = [pair for pair in pairs if not pair.tie]
    kept = [pair for pair in strict if form == "messages" or len(pair.prompt) == 1]
    if not kept:
        raise ValueError(f"campaign {campaign.name!r} has no pairs that could be exported yet")
    lost = {
        "ties": len(pairs) - len(strict),
        "pairs of conversations with several turns": len(strict) - len(kept),
        **_lost(held, store.rankings(campaign, with_superseded=True)),
    }
    return Preferences(tuple(_row(pair, form) for pair in kept), lost)


def _row(pair: Preference, form: Form) -> Json:
    row = pair.to_json()
    if form == "plain":
        row |= {
            "prompt": pair.prompt[-1].content,
            "chosen": pair.chosen,
            "rejected": pair.rejected,
        }
    del row["tie"]
    return row


def _lost(held: Iterable[Ranking], every: Iterable[Ranking]) -> dict[str, int]:
    """What a pair cannot say, by how many rankings said it."""
    rankings = list(held)
    return {
        "rankings without an order": sum(not one.groups for one in rankings),
        "judgements that none is acceptable": sum(one.none_acceptable for one in rankings),
        "orders shown, labelers and times": len(rankings),
        "rationales": sum(bool(one.rationale) for one in rankings),
        "details of the mode (ratings, flags, strengths)": sum(
            bool(one.details) for one in rankings
        ),
        "rankings that were corrected or settled by a review": len(list(every)) - len(rankings),
    }


def write_preferences(found: Preferences, path: Path) -> None:
    """Writes a JSONL file; ValueError where there is one already."""
    if path.exists():
        raise ValueError(f"{path} is there already: name another file")
    write_jsonl(path, found.rows)


def write_dataset(found: Preferences, folder: Path) -> None:
    """Writes a folder for `datasets.load_from_disk`; ValueError where there is one already."""
    if folder.exists():
        raise ValueError(f"{folder} is there already: name another folder")
    try:
        from datasets import Dataset
    except ModuleNotFoundError as error:
        raise ValueError("this needs Hugging Face datasets: pip install datasets") from error
    Dataset.from_list(list(found.rows)).save_to_disk(folder)
