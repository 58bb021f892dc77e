"""The config of a run: one YAML file, checked before anything starts, overridden as
`section.key=value`.

Free of torch. The `trainer:` blocks are handed to the trainers' own config classes, whose fields
the training commands check (`pipelines.trainer_fields`).
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlhf.data.identity import Json
from rlhf.evaluation.probes.names import BUILT_IN
from rlhf.models.lora import LoraSettings
from rlhf.policy.dpo_objective import DPOLossName, Implementation, dpo_objective, trl_loss_type
from rlhf.reward.ensemble import Combine, Ensemble, Kind
from rlhf.reward.objective import LossName, Objective
from rlhf.tracking.energy import LedgerSettings
from rlhf.tracking.mirror import WandbSettings


class Section(BaseModel):
    """A part of the config: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shares(Section):
    """How prompts are divided; the shares must sum to 1."""

    train: float = Field(default=0.7, gt=0, le=1)
    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.2, ge=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train, validation and test sum to {total:g}, not to 1")
        return self


class PromptsConfig(Section):
    """Where prompts come from: `built-in`, `stories`, a .json or .jsonl file, or a data set on the
    hub.
    """

    source: str = "built-in"
    hub_split: str = "train"
    count: int | None = Field(default=None, ge=10)
    shares: Shares = Shares()
    near_duplicate_threshold: float = Field(default=0.85, gt=0, le=1)


class ModelConfig(Section):
    """The model to align: a folder, a hub name, or nothing, which makes and pretrains the small
    one.
    """

    path: str | None = None
    chat_template: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    lora: LoraSettings | None = None
    max_tokens: int = Field(default=256, ge=16)

    def of_training(self) -> Json:
        """What changes a training that starts from the model of a stage before it. In bfloat16
        without LoRA the weights are float32 while they are trained; that is said only where it is
        so, and what was trained otherwise stays valid.
        """
        found = self.model_dump(exclude={"path", "chat_template"})
        if self.dtype == "bfloat16" and self.lora is None:
            found["trained_in"] = "float32"
        return found


class TrainedSection(Section):
    """A stage that trains; `trainer` goes to the trainer's own config class."""

    trainer: Json = Field(default_factory=dict)


class PretrainConfig(TrainedSection):
    """The small decoder, made where `model.path` is not set."""

    documents: int = Field(default=24000, ge=100)
    vocab_size: int = Field(default=1024, ge=300)
    hidden_size: int = Field(default=128, ge=32, multiple_of=32)
    num_layers: int = Field(default=4, ge=1)


class SFTSection(TrainedSection):
    """Supervised fine-tuning on the prompts that carry a demonstration; with `written`, on those
    that people wrote in the page (`rlhf label CONFIG --mode demonstrate`) before those.
    """

    written: bool = False
    guidelines: str = "Write the answer that you would like to get."


class SampleConfig(Section):
    """Responses to rank: `num_responses` for each of `num_prompts` prompts, an equal part of every
    split.
    """

    num_prompts: int = Field(default=700, ge=3)
    num_responses: int = Field(default=4, ge=2, le=9)
    max_new_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    batch_size: int = Field(default=256, ge=1)


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


class EndpointConfig(Section):
    """A language model as judge, behind an OpenAI-compatible `url` (what stands before
    `/chat/completions`). The environment variable `key_variable` holds its key. A comparison
    brings nothing usable where a reply does not come, after `retries` more tries, or says nothing;
    more than the share `max_unusable` of them stops the run.
    """

    url: str = Field(pattern=r"^https?://\S+$")
    model: str = Field(min_length=1)
    key_variable: str | None = None
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=1024, ge=1)
    timeout_seconds: float = Field(default=60.0, gt=0)
    retries: int = Field(default=4, ge=0)
    concurrency: int = Field(default=8, ge=1)
    max_unusable: float = Field(default=0.05, ge=0, lt=1)

    def settings(self) -> Json:
        """What decides what is said, and not how patiently it is asked."""
        return self.model_dump(include={"url", "model", "temperature", "max_tokens"})


class EvaluateConfig(Section):
    """Held-out prompts of the test split, and how each policy answers them. The judge is a known
    `preference`, the `reward` model, the `monitor` or an `endpoint`; `auto` takes the preference
    where it is known. People are asked for `people_judgements` blind comparisons (`rlhf label
    CONFIG --mode evaluate`; 0: for none), with `people_may_stop` for fewer where those that are
    there decide. `guidelines` is what people, and an endpoint, are asked.
    """

    num_prompts: int = Field(default=300, ge=2)
    best_of: tuple[Annotated[int, Field(ge=2)], ...] = (4, 16)
    judge: Literal["auto", "preference", "reward", "monitor", "endpoint"] = "auto"
    endpoint: EndpointConfig | None = None
    num_samples_shown: int = Field(default=24, ge=0)
    people_judgements: int = Field(default=0, ge=0)
    people_may_stop: bool = False
    guidelines: str = "Which answer would you rather have got? Say so, or that they are alike."

    @model_validator(mode="after")
    def _knows_its_judge(self) -> Self:
        if (self.judge == "endpoint") != (self.endpoint is not None):
            raise ValueError("judge: endpoint and the section endpoint (url, model) go together")
        return self


class ProbeConfig(Section):
    """What else is asked of the policies, beside winning: the built-in probes by name, and modules
    of yours as `package.module`. `limit`: about how many prompts a probe may ask the models about;
    `verbatim_words`: how many words in a row make a repeated training text.
    """

    enabled: bool = True
    probes: tuple[str, ...] = BUILT_IN
    limit: int = Field(default=120, ge=20)
    verbatim_words: int = Field(default=20, ge=4)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        twice = sorted({one for one in self.probes if self.probes.count(one) > 1})
        if twice:
            raise ValueError(f"probes names {twice[0]} more than once")
        return self


class CardConfig(Section):
    """What only people can say of what a run makes, for its cards; nothing depends on it."""

    license: str | None = None
    language: tuple[str, ...] = ()
    intended_use: str | None = None
    limits: str | None = None


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
        knows = self.prompts.source in {"built-in", "stories"}
        if self.labelers == "simulated" and not knows and self.label.crew.preference == "built-in":
            raise ValueError(
                "simulated labelers do not know these prompts: set labelers: people, or name a "
                "preference as label.crew.preference (package.module:function)"
            )
        return self


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
