"""What a lead's page or program sends, checked."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rlhf.data.identity import Json
from rlhf.feedback.modes import MAX_RESPONSES

Note = Annotated[str, Field(max_length=1_000)]
ResponseId = Annotated[str, Field(max_length=64)]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class ChangeSent(_Sent):
    """Other guidelines, or settings laid over those there are; `note` is what labelers are told.
    Without one they are told what concerns them (`membership.TOLD`, the guidelines) and no more.

    `version` is the one that was changed: if somebody else was faster, nothing is.
    """

    version: int
    note: Note = ""
    guidelines: str | None = Field(default=None, max_length=50_000)
    settings: Json = Field(default_factory=dict, max_length=40)


class CampaignSent(_Sent):
    """A new campaign, empty; items are added to it afterwards."""

    name: str = Field(min_length=1, max_length=200)
    mode: str = Field(max_length=40)
    guidelines: str = Field(default="", max_length=50_000)
    settings: Json = Field(default_factory=dict, max_length=40)


class GoldSent(_Sent):
    """Tie groups of response ids, best first; none to make it an item of work again."""

    item_id: int
    expected: list[Annotated[list[ResponseId], Field(max_length=MAX_RESPONSES)]] | None = Field(
        max_length=MAX_RESPONSES
    )


class PrioritySent(_Sent):
    """Items with the highest numbers come first."""

    item_id: int
    priority: float = Field(strict=False, ge=-1e9, le=1e9, allow_inf_nan=False)


class PrioritiesSent(_Sent):
    """Many priorities at once."""

    priorities: list[PrioritySent] = Field(min_length=1, max_length=500)


class ReviewSent(_Sent):
    """One item that a reviewer should settle."""

    item_id: int


class ReviewsSent(_Sent):
    """A review of each item on which labelers agree on less than `below` of the pairs."""

    below: float = Field(strict=False, gt=0, le=1)
