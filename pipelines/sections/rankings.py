"""Who ranks, and how many."""

from typing import Self

from pydantic import Field, model_validator

from pipelines.sections.section import Section
from rlhf.data.identity import Json


class CrewConfig(Section):
    """Simulated labelers by temper, and the preference that they follow."""

    preference: str = "built-in"
    careful: int = Field(default=8, ge=0)
    careless: int = Field(default=2, ge=0)
    hurried: int = Field(default=2, ge=0)

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.careful + self.careless + self.hurried < 1:
            raise ValueError("a crew needs at least one labeler")
        return self


class LabelConfig(Section):
    """The store of rankings, who fills it, and how many labelers see each prompt.

    `campaign` names the one to use where the labelers are `imported`. The rankings of about
    `held_out_labelers` of the labelers train nothing: the reward model is measured on them.
    `groups` names groups of labelers, by their pseudonyms: where people compare policies, the
    report says what each group makes of them.
    """

    store: str | None = None
    campaign: str | None = None
    overlap: int = Field(default=3, ge=1)
    overlap_share: float = Field(default=0.2, ge=0, le=1)
    min_rankings: int = Field(default=60, ge=1)
    guidelines: str = "Rank the answers from best to worst. Equal ranks are ties."
    crew: CrewConfig = CrewConfig()
    held_out_labelers: float = Field(default=0.0, ge=0, lt=1)
    groups: dict[str, list[str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_group_each(self) -> Self:
        members = [one for group in self.groups.values() for one in group]
        twice = next((one for one in members if members.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} stands in groups twice: a labeler belongs to one group")
        return self

    def grouped(self) -> Json:
        """The groups as part of a fingerprint; nothing where there are none."""
        return {"groups": self.groups} if self.groups else {}
