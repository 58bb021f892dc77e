"""What the page sends, checked (nothing from a browser is believed), and what it is told."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from labeling_app.item_names import BITS
from labeling_app.rendering import inert_markdown
from rlhf.data.identity import Json, canonical, content_id
from rlhf.data.records import Demonstration, Prompt, Ranking
from rlhf.feedback.answering import MAX_DRAFT_CHARACTERS
from rlhf.feedback.checks import COPY
from rlhf.feedback.modes import MAX_RESPONSES
from rlhf.feedback.store import Campaign, Change, Progress, Task

MAX_ITEMS_IN_HAND = 20
MOST_SECONDS = 86_400.0  # a page left open for longer is no longer work
MAX_TITLE_CHARACTERS = 90
HEARTBEAT_SECONDS = 60.0  # at most; leases that are short are renewed more often


def _without_nul(text: str) -> str:
    return text.replace("\x00", "\ufffd").strip()  # PostgreSQL holds no NUL


def _at_most_a_day(seconds: float) -> float:
    return min(seconds, MOST_SECONDS)


def _of_a_size(draft: Json) -> Json:
    if len(canonical(draft)) > MAX_DRAFT_CHARACTERS:
        raise ValueError(f"a draft has at most {MAX_DRAFT_CHARACTERS} characters")
    return draft


Number = Annotated[int, Field(ge=0, lt=2**31)]  # what PostgreSQL can count
ItemName = Annotated[int, Field(ge=0, lt=2**BITS)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(_at_most_a_day)]
Words = Annotated[str, AfterValidator(_without_nul)]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SubmittedAnswer(_Sent):
    """An answer as sent: `answer` is what the item's mode asks for (`rlhf.feedback.modes`).

    `duration_seconds` is the time for which the item was in view; above a day it counts as a day.
    """

    submission_id: UUID = Field(strict=False)
    item_id: ItemName
    answer: Json
    duration_seconds: Seconds
    rationale: Words = Field(default="", max_length=4_000)


class SkipAnswer(_Sent):
    """An item that a labeler passes on, with a reason or without one."""

    item_id: ItemName
    reason: Words = Field(default="", max_length=1_000)


class FlaggedItem(_Sent):
    """Something wrong with an item, told to the lead; `kind` as in `answering.FLAG_KINDS`."""

    item_id: ItemName
    kind: str
    note: Words = Field(default="", max_length=1_000)


class SavedDraft(_Sent):
    """What a labeler has begun to answer, in the page's own form."""

    item_id: ItemName
    draft: Annotated[Json, AfterValidator(_of_a_size)]


class ItemsInHand(_Sent):
    """The items that a labeler still has before them."""

    item_ids: list[ItemName] = Field(max_length=MAX_ITEMS_IN_HAND)


class Consent(_Sent):
    """The version of the guidelines that a labeler accepts."""

    guidelines_version: Number


class Told(_Sent):
    """The version of the campaign up to which a labeler has read of the changes."""

    version: Number


def task_json(task: Task, name: int, votes: list[Ranking] | None = None) -> Json:
    """What the browser may know of a task: its `name`, ids and texts, in this labeler's order; no
    model names, and nothing that tells a check from work. `votes` are shown as orders with
    reasons, without who gave them.

    Raises ValueError where the item has more responses than the page has letters.
    """
    if len(task.responses) > MAX_RESPONSES:
        raise ValueError(
            f"this item has {len(task.responses)} responses; the page shows up to "
            f"{MAX_RESPONSES}: add the item again with fewer"
        )
    names = {real: name for name, real in names_of_copies(task.shown).items()}
    row: Json = {
        "item_id": name,
        "mode": task.mode,
        "turns": [{"role": turn.role, **_text(turn.content)} for turn in task.prompt.messages],
        "responses": [
            {"id": names.get(response.id, response.id), **_text(response.text)}
            for response in task.responses
        ],
        "draft": task.draft,
    }
    if votes is not None:
        row["votes"] = [
            {
                "groups": [list(group) for group in vote.groups],
                "none": vote.none_acceptable,
                "rationale": vote.rationale,
            }
            for vote in votes
        ]
    return row


def _text(text: str) -> Json:
    return {"text": text, "markdown": inert_markdown(text)}


def names_of_copies(shown: Sequence[str]) -> dict[str, str]:
    """Name on the wire -> id, for responses that a check shows twice: their ids would tell."""
    return {content_id("response", one): one for one in shown if one.endswith(COPY)}


def renamed(value: Any, names: dict[str, str]) -> Any:
    """A JSON value with other names for responses, in keys and in values."""
    if not names:
        return value
    if isinstance(value, dict):
        return {names.get(key, key): renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def answer_json(answer: Ranking | Demonstration) -> Json:
    """An answer in the form in which its mode was sent it."""
    if isinstance(answer, Demonstration):
        return {"text": answer.text}
    none, details = answer.none_acceptable, answer.details
    better = answer.groups[0][0] if len(answer.groups) > 1 else None
    match answer.mode:
        case "compare":
            return {"better": better, "strength": details["strength"], "both_bad": none}
        case "evaluate":
            return {"better": better, "both_bad": none}
        case "rate":
            return {"ratings": details["ratings"], "flags": details.get("flags", {})}
        case _:
            ranks = {response: level + 1 for response, level in answer.positions().items()}
            return {"ranks": ranks, "none_acceptable": none}


def own_answer_json(name: int, answer: Ranking | Demonstration, prompt: Prompt) -> Json:
    """One line of a labeler's own answers."""
    words = " ".join(prompt.text.split())
    cut = words if len(words) <= MAX_TITLE_CHARACTERS else f"{words[: MAX_TITLE_CHARACTERS - 1]}…"
    return {"item_id": name, "answered_at": answer.submitted_at, "title": cut}


def change_json(change: Change) -> Json:
    """A change of the campaign as its labelers are told of it."""
    return {
        "version": change.version,
        "at": change.changed_at,
        "note": change.note,
        "guidelines_changed": change.guidelines_changed,
    }


def progress_json(progress: Progress, campaign: Campaign) -> Json:
    """How far the campaign is. Where checks are mixed in they count like work, or the count that
    stands still would tell them: the figures are scaled by the share of checks to be expected.
    """
    settings = campaign.settings
    shares = settings.gold_share + settings.repeat_share + settings.identical_share
    scale = 1 / (1 - min(shares, 0.9))
    work = progress.mine - progress.checks
    # Without checks mixed in, what is no work is reviews: they are not among what is wanted.
    counted = progress.mine if shares else work
    wanted = round(progress.wanted * scale)
    done = min(round((progress.done - work) * scale) + counted, wanted)
    return {"mine": progress.mine, "done": done, "wanted": wanted}


def heartbeat_seconds(campaign: Campaign) -> float:
    """How often the page says that it is still at an item: three times in a lease."""
    return min(HEARTBEAT_SECONDS, campaign.settings.lease_minutes * 60 / 3)
