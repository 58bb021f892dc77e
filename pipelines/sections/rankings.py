"""Who ranks, and how many."""

from typing import Self

from pydantic import Field, model_validator

from pipelines.sections.section import Section


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
    """

    store: str | None = None
    campaign: str | None = None
    overlap: int = Field(default=3, ge=1)
    overlap_share: float = Field(default=0.2, ge=0, le=1)
    min_rankings: int = Field(default=60, ge=1)
    guidelines: str = "Rank the answers from best to worst. Equal ranks are ties."
    crew: CrewConfig = CrewConfig()
    held_out_labelers: float = Field(default=0.0, ge=0, lt=1)
