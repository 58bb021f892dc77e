"""What all parts of the config have in common."""

from pydantic import BaseModel, ConfigDict, Field

from rlhf.data.identity import Json


class Section(BaseModel):
    """A part of the config: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainedSection(Section):
    """A stage that trains; `trainer` goes to the trainer's own config class."""

    trainer: Json = Field(default_factory=dict)
