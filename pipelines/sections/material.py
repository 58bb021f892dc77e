"""What a run is made of: prompts, the model, its pretraining and SFT, the responses."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.sections.section import Section, TrainedSection
from rlhf.data.identity import Json
from rlhf.models.lora import LoraSettings


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
