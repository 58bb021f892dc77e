"""How policies are compared and probed, and what only people can say of them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.sections.section import Section
from rlhf.data.identity import Json
from rlhf.evaluation.probes.names import BUILT_IN


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
