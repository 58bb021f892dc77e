"""The ways to train a policy."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.sections.section import TrainedSection
from rlhf.data.identity import Json
from rlhf.policy.dpo_objective import DPOLossName, Implementation, dpo_objective, trl_loss_type
from rlhf.reward.objective import Objective


class DPOSection(TrainedSection):
    """DPO on the rankings: its loss, and whether a log-ratio is taken per token. `implementation:
    trl` is TRL's trainer on their pairs.
    """

    enabled: bool = True
    beta: float = Field(default=0.1, gt=0)
    loss: DPOLossName = "sigmoid"
    label_smoothing: float = 0.0
    nu: float | None = None
    length_normalised: bool = False
    implementation: Implementation = "kwise"

    @model_validator(mode="after")
    def _objective_makes_sense(self) -> Self:
        self.objective()
        if self.implementation == "trl":
            self.trl_loss_type()
        return self

    def objective(self) -> Objective:
        """What to train for; ValueError where the settings contradict one another."""
        return dpo_objective(
            self.loss, beta=self.beta, label_smoothing=self.label_smoothing, nu=self.nu
        )

    def trl_loss_type(self) -> str:
        """TRL's name for the loss; ValueError where it has none."""
        return trl_loss_type(
            self.loss,
            label_smoothing=self.label_smoothing,
            length_normalised=self.length_normalised,
        )

    def settings(self) -> Json:
        """What decides the outcome; what was added later is said only where it is used, so that
        what was trained before stays valid.
        """
        first = self.model_dump(include={"enabled", "beta", "trainer"})
        return first | self.model_dump(exclude_defaults=True)


class PPOSection(TrainedSection):
    """PPO against the reward model; against one that is not certified to be fit for RL only with
    `allow_unfit_reward`.

    `memory`: a value model of its own, a value head on the policy (`shared`), or `adapters` for all
    on one frozen base (with `model.lora`). `reward` names a function of yours that scores texts
    (`package.module:function`), added to the reward model, or with `reward_alone` in its place.
    `monitor` trains a second reward model on a fifth of the ranked train prompts, which the first
    then does not see: it chooses the checkpoint. `held_out_prompts` of the validation split are
    answered `num_sample_generations` times while PPO trains.
    """

    enabled: bool = True
    allow_unfit_reward: bool = False
    memory: Literal["separate", "shared", "adapters"] = "separate"
    reward: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    reward_alone: bool = False
    monitor: bool = False
    held_out_prompts: int = Field(default=32, ge=0)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.reward_alone and self.reward is None:
            raise ValueError("reward_alone needs the function that stands alone: set reward")
        if self.monitor and self.held_out_prompts == 0:
            raise ValueError("a monitor needs prompts to look at: set held_out_prompts")
        return self


class RLOOSection(TrainedSection):
    """RLOO against the reward model, by TRL; against one that is not certified to be fit for RL
    only with `allow_unfit_reward`.
    """

    enabled: bool = False
    allow_unfit_reward: bool = False


class RejectionSection(TrainedSection):
    """SFT on the best of `num_samples` samples of each prompt, by the reward model, without the
    lowest share `quantile` of those.
    """

    enabled: bool = False
    num_samples: int = Field(default=16, ge=2)
    quantile: float = Field(default=0.0, ge=0, lt=1)
