"""What a PPO training leaves on disk: checkpoints that it goes on from to the bit, and the policy
as anything can load it.
"""

import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, TrainingArguments

from rlhf.data.identity import Json
from rlhf.models.training import QuietTrainer
from rlhf.policy.held_out import Watch
from rlhf.policy.kl import KLController
from rlhf.policy.ppo_config import COMPUTED, PPOConfig
from rlhf.policy.ppo_models import all_finite, load_trained_state, trained_state
from rlhf.policy.training_log import Averages

WEIGHTS = "policy_and_value.pt"
STATE = "ppo_state.json"
SCHEDULE = "scheduler.pt"  # of the Trainer
PATHS = ("sft_model_path", "reward_model_path", "vllm_server_base_url")  # may have moved

log = logging.getLogger(__name__)


def rescale(optimizer: Any, scheduler: Any, factor: float) -> None:
    """Multiplies the learning rates of all groups, of now and of all that the schedule gives."""
    for group in optimizer.param_groups:
        group["lr"] *= factor
        group["initial_lr"] *= factor
    scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]


class KeptTrainer(QuietTrainer):
    """A trainer of policy and values whose state beside the Trainer's own is what is named here."""

    tokenizer_of_policy: PreTrainedTokenizerBase
    config: PPOConfig
    controller: KLController
    averages: Averages
    watch: Watch
    _settings_held: Json
    # What `_steered` gave at the end of a rollout, while the weights are still those of then.
    _between: tuple[float, dict[str, list[float]]] | None = None

    @property
    def trained(self) -> Any:
        """Policy and values, as `ppo_models` puts them together."""
        return self.accelerator.unwrap_model(self.model)

    def _steered(self) -> tuple[float, dict[str, list[float]]]:
        """What a rollout changes beside weights: the KL coefficient, what was noted."""
        return self.controller.coef, {name: list(row) for name, row in self.averages.noted.items()}

    def _saved_between(self) -> str:
        """Saves a training that stops where the weights are those of the end of a rollout and are
        numbers, as it was then; says where.
        """
        if self._between is None or not self.state.global_step:
            return ""
        if not all_finite(trained_state(self.trained)):
            return ""
        self.controller.coef, self.averages.noted = self._between
        self._between = None  # an error on its way out is not saved again
        self._save_checkpoint(self.model, trial=None)
        self.control = self.callback_handler.on_save(self.args, self.state, self.control)
        return f"; the weights before it are saved in checkpoint-{self.state.global_step}"

    def store_flos(self) -> None:
        """Nothing counts them here, and a process that saves because it, or another one, stops
        would wait for the others.
        """

    def create_model_card(
        self, *arguments: Any, dataset_name: str | None = None, **named: Any
    ) -> None:
        """The card of the policy, which `push_to_hub` sends; `dataset_name` is TRL's argument."""
        models, self.model = self.model, self.trained.policy
        try:
            named.setdefault("dataset", dataset_name)
            super().create_model_card(*arguments, **named)
        finally:
            self.model = models

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves the policy and its tokenizer, so that anything can load the folder, or what is
        pushed; what a checkpoint needs to go on is saved by the training itself.
        """
        if _internal_call and output_dir is not None:  # a checkpoint's
            super().save_model(output_dir, _internal_call=True)
        elif self.args.should_save:
            folder = output_dir or self.args.output_dir or "."
            self.trained.policy.save_pretrained(folder)
            self.tokenizer_of_policy.save_pretrained(folder)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state_dict or trained_state(self.trained), folder / WEIGHTS)
        state = {
            "sizes": self._sizes(),
            "settings": self._settings(),
            "kl_coef": self.controller.coef,
            "noted": self.averages.noted,
            "history": self.watch.history,
            "samples": self.watch.samples,
        }
        (folder / STATE).write_text(json.dumps(state), encoding="utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        self._check_sizes(state.get("sizes", self._sizes()))
        load_trained_state(model or self.trained, torch.load(folder / WEIGHTS, weights_only=True))
        self._settings_held = state.get("settings", self._settings())
        if self._settings_held["kl_coef"] == self.config.kl_coef:
            self.controller.coef = state["kl_coef"]
        self.averages.noted = state["noted"]
        self.watch = Watch(state["history"], state["samples"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or not (Path(checkpoint) / SCHEDULE).exists():
            return
        for name, value in self._settings().items():
            held = self._settings_held.get(name, value)
            if held != value:
                log.warning("PPO goes on with %s %s, where it had %s.", name, value, held)
        held = self._settings_held["learning_rate"]
        if held not in {0, self.config.learning_rate}:  # both would take the checkpoint's again
            rescale(self.optimizer, self.lr_scheduler, self.config.learning_rate / held)

    def _settings(self) -> Json:
        """What may be given anew to a training that goes on, as errors ask for: PPO's own settings
        but the paths and what follows from sizes, and the learning rate.
        """
        names = {one.name for one in fields(PPOConfig)}
        names -= {*COMPUTED, *PATHS, *(one.name for one in fields(TrainingArguments))}
        settings = {name: getattr(self.config, name) for name in sorted(names)}
        return {**settings, "learning_rate": self.config.learning_rate}

    def _sizes(self) -> dict[str, int]:
        """What turns a count of steps into a place in the training."""
        return {
            "episodes a rollout": self.config.rollout_size,
            "updates on each": self.config.updates_per_rollout,
        }

    def _check_sizes(self, held: dict[str, int]) -> None:
        for name, size in self._sizes().items():
            if held[name] != size:
                raise ValueError(
                    f"the checkpoint is of a training with {held[name]} {name}, and this one has "
                    f"{size}: its steps would be taken for others; give the sizes it had (batch, "
                    "num_ppo_epochs, num_mini_batches), or another output_dir"
                )
