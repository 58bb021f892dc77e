"""A bench whose policies are plain functions of the prompt, so that a failure can be planted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlhf.data.records import Prompt
from rlhf.evaluation.probes.bench import Answered, Bench, Reply

Answer = Callable[[Prompt], str]


def reply(text: str) -> Reply:
    """An answer of as many tokens as it has words, and EOS."""
    return Reply(text, len(text.split()) + 1)


@dataclass
class Functions:
    """Models that are functions: `answers` by policy, `score` of a prompt and a text, `lost` nats a
    token by policy. `asked` keeps what policies were asked.
    """

    answers: Mapping[str, Answer]
    score: Callable[[Prompt, str], float] = lambda prompt, text: 0.0
    lost: Callable[[str, Prompt, str], float] = lambda policy, prompt, text: 1.0
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def respond(self, policy: str, prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Reply]:
        self.asked += [(policy, p.text, seed) for p, seed in zip(prompts, seeds, strict=True)]
        return [reply(self.answers[policy](prompt)) for prompt in prompts]

    def reward(self, prompts: Sequence[Prompt], replies: Sequence[Reply]) -> list[float]:
        return [self.score(p, one.text) for p, one in zip(prompts, replies, strict=True)]

    def nats(
        self, policy: str, prompts: Sequence[Prompt], replies: Sequence[Reply]
    ) -> list[tuple[float, int]]:
        tokens = [len(one.text.split()) for one in replies]
        return [
            (count * self.lost(policy, p, one.text), count)
            for p, one, count in zip(prompts, replies, tokens, strict=True)
        ]


def answered(
    prompt: Prompt | str,
    judged: Mapping[str, float] | None = None,
    proxy: Mapping[str, float] | None = None,
    **texts: str,
) -> Answered:
    """A held-out prompt with the answers of each policy; rewards are 0 unless they are given."""
    asked = Prompt.of(prompt) if isinstance(prompt, str) else prompt
    nothing = dict.fromkeys(texts, 0.0)
    return Answered(
        asked,
        {name: reply(text) for name, text in texts.items()},
        {**nothing, **(judged or {})},
        {**nothing, **(proxy or {})},
    )


def bench(models: Functions | None = None, **parts: Any) -> Bench:
    """A bench of SFT and DPO."""
    settings: dict[str, Any] = {
        "trained": ("dpo",),
        "answered": [],
        "prompts": {},
        "ranked": {},
        "models": models or Functions({}),
        **parts,
    }
    return Bench(**settings)
