"""The config of a run: one YAML file, checked before anything starts, overridden as
`section.key=value`.

Free of torch. The `trainer:` blocks are handed to the trainers' own config classes, whose fields
the training commands check (`pipelines.trainer_fields`).
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from pipelines.sections.evidence import CardConfig, EvaluateConfig, ProbeConfig
from pipelines.sections.material import (
    ModelConfig,
    PretrainConfig,
    PromptsConfig,
    SampleConfig,
    SFTSection,
)
from pipelines.sections.policies import DPOSection, PPOSection, RejectionSection, RLOOSection
from pipelines.sections.rankings import LabelConfig
from pipelines.sections.rewards import CertifyConfig, RewardConfig
from pipelines.sections.section import Section
from rlhf.data.identity import Json
from rlhf.tracking.energy import LedgerSettings
from rlhf.tracking.mirror import WandbSettings


class RunConfig(Section):
    """A run, whole. `labelers` says whose rankings are used, `threads` how many CPU threads a
    tensor operation may use (small models on a busy machine do best with one).
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=17, ge=0)
    runs_dir: str = "runs"
    threads: int | None = Field(default=None, ge=1)
    labelers: Literal["simulated", "people", "imported"] = "simulated"
    prompts: PromptsConfig = PromptsConfig()
    model: ModelConfig = ModelConfig()
    pretrain: PretrainConfig = PretrainConfig()
    sft: SFTSection = SFTSection()
    sample: SampleConfig = SampleConfig()
    label: LabelConfig = LabelConfig()
    reward: RewardConfig = RewardConfig()
    certify: CertifyConfig = CertifyConfig()
    dpo: DPOSection = DPOSection()
    ppo: PPOSection = PPOSection()
    rloo: RLOOSection = RLOOSection()
    rejection: RejectionSection = RejectionSection()
    evaluate: EvaluateConfig = EvaluateConfig()
    probe: ProbeConfig = ProbeConfig()
    wandb: WandbSettings = WandbSettings()
    ledger: LedgerSettings = LedgerSettings()
    card: CardConfig = CardConfig()

    @property
    def folder(self) -> Path:
        return Path(self.runs_dir) / self.name

    @property
    def store(self) -> str:
        return self.label.store or str(self.folder / "rankings.db")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (
            self.model.path is None
            and self.labelers != "imported"
            and self.prompts.source != "built-in"
        ):
            raise ValueError("prompts.source must be built-in where model.path is not set")
        if self.sample.max_new_tokens >= self.model.max_tokens:
            raise ValueError(
                f"sample.max_new_tokens ({self.sample.max_new_tokens}) leaves no room for a "
                "prompt in "
                f"model.max_tokens ({self.model.max_tokens})"
            )
        if (self.labelers == "imported") != (self.label.campaign is not None):
            raise ValueError("labelers: imported and label.campaign go together")
        if self.labelers == "imported" and (self.label.store is None or self.model.path is None):
            raise ValueError("labelers: imported needs label.store and model.path")
        if self.ppo.memory == "adapters" and self.model.lora is None:
            raise ValueError("ppo.memory: adapters needs model.lora: set it, or choose separate")
        if self.evaluate.judge == "monitor" and not (self.ppo.enabled and self.ppo.monitor):
            raise ValueError("evaluate.judge: monitor needs the one that ppo.monitor trains")
        trained = (self.dpo, self.ppo, self.rloo, self.rejection)
        if not any(section.enabled for section in trained):
            raise ValueError(
                "enabled is false for all of dpo, ppo, rloo and rejection: nothing would be aligned"
            )
        self._check_preference()
        return self

    def _check_preference(self) -> None:
        """Raises ValueError where the built-in preference is asked about prompts of another world:
        it has nothing to say of them, and would say so after all the training.
        """
        known = self.prompts.source == "built-in" and self.labelers != "imported"
        if known or self.label.crew.preference != "built-in":
            return
        if self.labelers == "simulated":
            raise ValueError(
                "simulated labelers do not know these prompts: set labelers: people, or name a "
                "preference as label.crew.preference (stories, or package.module:function)"
            )
        if self.evaluate.judge == "preference":
            raise ValueError(
                "evaluate.judge: preference does not know these prompts: name a preference as "
                "label.crew.preference (stories, or package.module:function), or set judge "
                "to endpoint or reward"
            )
        if self.evaluate.judge == "auto" and self._in_a_world():
            raise ValueError(
                "the built-in preference does not know the stories: set label.crew.preference to "
                "stories"
            )

    def _in_a_world(self) -> bool:
        """Whether the prompts are of a world that comes with a preference."""
        world = self.prompts.source in {"built-in", "stories"}
        return world and self.labelers != "imported"


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The config in a YAML file, with `section.key=value` overrides; values are read as YAML.

    Raises ValueError in one sentence that names the key, the value and the remedy.
    """
    if not path.is_file():
        raise ValueError(f"no config file at {path}")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {_one_line(error)}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{path} must hold sections and keys, got {type(loaded).__name__}")
    for override in overrides:
        _apply(loaded, override)
    try:
        return RunConfig.model_validate(loaded)
    except ValidationError as error:
        raise ValueError(f"{path}: {_explain(error)}") from error


def override_config(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """The same config with overrides; ValueError as in `load_config`."""
    loaded = config.model_dump(mode="json")
    for override in overrides:
        _apply(loaded, override)
    try:
        return RunConfig.model_validate(loaded)
    except ValidationError as error:
        raise ValueError(_explain(error)) from error


def _apply(loaded: Json, override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"{override!r} is no override: write section.key=value")
    *sections, last = key.strip().split(".")
    place = loaded
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{override!r}: {section} holds a value, not a section")
        place = inner
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"{override!r}: the value is not YAML ({_one_line(error)})") from error


def _explain(error: ValidationError) -> str:
    """The first fault of a config, in words; how many more there are."""
    faults = error.errors()
    first = faults[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = list(_fields_at(first["loc"][:-1]))
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        said = f"unknown key {place!r}; {hint}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        given = "" if not place or isinstance(first["input"], dict) else f", got {first['input']!r}"
        said = f"{place}: {message}{given}" if place else message
    return said if len(faults) == 1 else f"{said} (and {len(faults) - 1} more)"


def _fields_at(location: Sequence[int | str]) -> dict[str, Any]:
    model: Any = RunConfig
    for part in location:
        field = model.model_fields[str(part)]
        options = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next(option for option in options if hasattr(option, "model_fields"))
    return dict(model.model_fields)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
