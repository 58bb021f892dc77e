"""What a probe is given to work with: the evaluation's answers, the run's texts, and its models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rlhf.data.identity import seed_from
from rlhf.data.records import Prompt, Ranking, Response, Split
from rlhf.evaluation.winrate import outcome

BASE = "sft"  # the policy that all are compared with


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: its text, how many tokens it has (EOS included where it ended by itself), and
    the ids where a model wrote it.
    """

    text: str
    tokens: int
    finished: bool = True
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    """A held-out prompt and what each policy answered to it, with what the judge and the reward
    model gave. Under `sft` stands the answer that all are compared with; of whom the judge said
    nothing usable is not in `judged`.
    """

    prompt: Prompt
    replies: Mapping[str, Reply]
    judged: Mapping[str, float]
    proxy: Mapping[str, float]

    def won(self, policy: str) -> float | None:
        """1 where the policy's answer is better than SFT's, 0 where it is worse, one half for a
        tie; None where that was not judged.
        """
        if policy not in self.judged:
            return None
        return outcome(self.judged[policy], self.judged[BASE])


@dataclass(frozen=True, slots=True)
class Ranked:
    """A ranked prompt: its responses and what labelers said of them."""

    prompt: Prompt
    responses: tuple[Response, ...]
    rankings: tuple[Ranking, ...]


class Models(Protocol):
    """The run's models, by the names of its policies."""

    def respond(
        self, policy: str, prompts: Sequence[Prompt], seeds: Sequence[int]
    ) -> Sequence[Reply]:
        """One sampled answer per prompt; the seed decides its randomness, whatever the policy."""

    def reward(self, prompts: Sequence[Prompt], replies: Sequence[Reply]) -> Sequence[float]:
        """The reward model's score of each."""

    def nats(
        self, policy: str, prompts: Sequence[Prompt], replies: Sequence[Reply]
    ) -> Sequence[tuple[float, int]]:
        """-log p of each reply, and over how many tokens."""


@dataclass(frozen=True, slots=True)
class Bench:
    """`trained` names the policies to probe; SFT stands beside them in every answer.

    `limit` is about how many prompts a probe should ask a model about, so that its cost is known.
    `texts` are those that training read, by where they stood.
    """

    trained: tuple[str, ...]
    answered: Sequence[Answered]
    prompts: Mapping[Split, Sequence[Prompt]]
    ranked: Mapping[Split, Sequence[Ranked]]
    models: Models
    seed: int = 0
    limit: int = 120
    verbatim_words: int = 20
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def policies(self) -> tuple[str, ...]:
        """SFT and the trained policies."""
        return (BASE, *self.trained)

    def seed_of(self, prompt: Prompt) -> int:
        """The seed that the evaluation answered a prompt with: who asks a changed prompt with it
        gets an answer from the same noise.
        """
        return seed_from("evaluate", self.seed, prompt.id, 0)

    def tokens_of(self, policy: str) -> list[int]:
        """How long a policy's answers to the held-out prompts are."""
        return [one.replies[policy].tokens for one in self.answered]
