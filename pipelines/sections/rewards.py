"""The reward model and its certificate."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.sections.section import Section, TrainedSection
from rlhf.reward.ensemble import Combine, Ensemble, Kind
from rlhf.reward.objective import LossName, Objective


class RewardConfig(TrainedSection):
    """The reward model: its loss and what is added to it; `trainer.early_stopping_patience` stops
    by the validation split. `labelers`: whose rankings weigh how much; everybody's `alike`, by
    `agreement` with the others, or as `learned` with the reward. `members`: how many reward models
    are asked together, `ensemble`: whether those are heads on one model or models from seeds of
    their own, `combine` and `caution`: what becomes of their scores.
    """

    labelers: Literal["alike", "agreement", "learned"] = "agreement"
    loss: LossName = "bradley-terry"
    margin: float = 0.0
    label_smoothing: float = 0.0
    centering: float = 0.0
    nu: float | None = None
    members: int = Field(default=1, ge=1, le=64)
    ensemble: Kind = "heads"
    combine: Combine = "mean"
    caution: float = 1.0

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        self.objective()
        self.of_members()
        return self

    def of_members(self) -> Ensemble:
        """How many are asked together; ValueError where the settings contradict one another."""
        return Ensemble(self.members, self.ensemble, self.combine, self.caution)

    def objective(self) -> Objective:
        """What to train for; ValueError where the settings contradict one another."""
        return Objective(self.loss, self.margin, self.label_smoothing, self.centering, self.nu)


class CertifyConfig(Section):
    """The certificate of the reward model: `probes` answers are changed and scored again; `curve`
    names the parts of the training prompts that it is trained on once more, for the learning curve
    (none: no curve, and no word on how many more rankings it would take).
    """

    enabled: bool = True
    probes: int = Field(default=200, ge=20)
    curve: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.125, 0.25, 0.5)
