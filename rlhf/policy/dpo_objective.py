"""DPO's losses by name; free of torch so that a config can be checked without it."""

from typing import Literal

from rlhf.reward.objective import Objective

DPOLossName = Literal["sigmoid", "robust", "ipo", "plackett-luce", "davidson"]
Implementation = Literal["kwise", "trl"]


def dpo_objective(
    loss: DPOLossName, *, beta: float, label_smoothing: float = 0.0, nu: float | None = None
) -> Objective:
    """What DPO with that loss asks of beta times the log-ratios to the reference.

    `sigmoid` is Bradley-Terry's loss; with `label_smoothing` it is conservative DPO. Raises
    ValueError for settings that the loss would not read.
    """
    name = "bradley-terry" if loss == "sigmoid" else loss
    tau = beta if loss == "ipo" else None
    try:
        return Objective(name, label_smoothing=label_smoothing, nu=nu, tau=tau)
    except ValueError as error:
        raise ValueError(str(error).replace("bradley-terry", "sigmoid")) from error


def trl_loss_type(loss: DPOLossName, *, label_smoothing: float, length_normalised: bool) -> str:
    """The name that TRL's DPOTrainer has for that loss.

    Raises ValueError where it has none: it knows no ties, ignores label smoothing with `sigmoid`,
    normalises `ipo` by length always and `robust` never.
    """
    if loss in {"plackett-luce", "davidson"}:
        raise ValueError(f"TRL has no {loss} loss: leave dpo.implementation at kwise")
    if loss == "sigmoid" and label_smoothing:
        raise ValueError("TRL ignores label_smoothing with sigmoid: use loss robust, or kwise")
    if loss == "ipo" and not length_normalised:
        raise ValueError("TRL's ipo is per token: set dpo.length_normalised: true, or use kwise")
    if loss == "robust" and length_normalised:
        raise ValueError("TRL's robust loss is not per token: leave out length_normalised")
    return "sigmoid_norm" if loss == "sigmoid" and length_normalised else loss
