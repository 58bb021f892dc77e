"""The settings of LoRA, free of torch so that a config can be checked without it."""

from pydantic import BaseModel, ConfigDict, Field


class LoraSettings(BaseModel):
    """LoRA for every trained model of a run; each stage merges its adapters into the model that it
    saves.
    """

    model_config = ConfigDict(extra="forbid")

    r: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    target_modules: str | list[str] = "all-linear"
