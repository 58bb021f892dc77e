"""What a reward model, or a policy with DPO, is trained for, by name; free of torch so that a
config can be checked without it.
"""

from dataclasses import dataclass
from typing import Literal, get_args

LossName = Literal["bradley-terry", "plackett-luce", "davidson"]
LOSSES = (*get_args(LossName), "robust", "ipo")
WITH_TIES = {"plackett-luce", "davidson"}


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss and what is added to it.

    `margin`: by how many nats a pair one step of strength apart must differ (bradley-terry).
    `label_smoothing`: the share of pairs taken to be the wrong way round (bradley-terry, robust).
    `centering`: weight of the squared sum of each pair's scores. `nu`: how readily equals tie
    (plackett-luce, davidson); none learns it. `tau`: of ipo, for which scores are tau times the
    log-ratio. Raises ValueError for values that make no sense, and for those that the loss would
    not read.
    """

    loss: Literal[LossName, "robust", "ipo"] = "bradley-terry"
    margin: float = 0.0
    label_smoothing: float = 0.0
    centering: float = 0.0
    nu: float | None = None
    tau: float | None = None

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"no loss {self.loss!r}: there are {', '.join(LOSSES)}")
        if self.margin < 0 or self.centering < 0:
            raise ValueError(
                f"margin and centering must not be negative, got {self.margin}, {self.centering}"
            )
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must lie in 0 to 0.5, got {self.label_smoothing}")
        if self.ties and (self.margin or self.label_smoothing):
            raise ValueError(f"margin and label_smoothing go with bradley-terry, not {self.loss}")
        if self.margin and self.loss != "bradley-terry":
            raise ValueError(f"margin goes with bradley-terry, not {self.loss}")
        if self.label_smoothing and self.loss == "ipo":
            raise ValueError("label_smoothing goes with bradley-terry and robust, not ipo")
        if self.nu is not None and not self.ties:
            raise ValueError(f"nu goes with plackett-luce and davidson: {self.loss} has no ties")
        if (self.loss == "ipo") != (self.tau is not None):
            raise ValueError("tau and ipo go together")
        if self.tau is not None and self.tau <= 0:
            raise ValueError(f"tau must be above 0, got {self.tau}")
        if self.nu is not None and self.nu <= 0:
            raise ValueError(f"nu must be above 0, got {self.nu}: with 0 no tie could ever happen")

    @property
    def ties(self) -> bool:
        """Whether ties carry loss."""
        return self.loss in WITH_TIES
