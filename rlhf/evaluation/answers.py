"""Answers of policies to held-out prompts, and how far each policy has moved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.data.identity import seed_from
from rlhf.models.batching import sequence_logprobs
from rlhf.models.conversation import decode
from rlhf.models.generation import Sampling, sample
from rlhf.models.loading import eos_token_id, pad_token_id
from rlhf.models.packing import in_batches


@dataclass(frozen=True, slots=True)
class Answer:
    """One sampled answer: its ids (EOS included where `finished`) and its text."""

    ids: tuple[int, ...]
    text: str
    finished: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A held-out prompt: its record id and its token ids."""

    id: str
    ids: tuple[int, ...]


def answer(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Asked],
    numbers: Sequence[int],
    sampling: Sampling,
    *,
    seed: int,
    batch_size: int = 256,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[list[Answer]]:
    """For each prompt, one answer per number in `numbers`; (seed, prompt, number) decides its
    randomness.
    """
    wanted = [(prompt, number) for prompt in prompts for number in numbers]
    found = iter(
        sample(
            policy,
            [prompt.ids for prompt, _ in wanted],
            [seed_from("evaluate", seed, prompt.id, number) for prompt, number in wanted],
            sampling,
            eos_token_id=eos_token_id(tokenizer),
            pad_token_id=pad_token_id(tokenizer),
            batch_size=batch_size,
            progress=progress,
        )
    )
    return [
        [
            Answer(one.ids, decode(tokenizer, one.ids), one.finished)
            for one in (next(found) for _ in numbers)
        ]
        for _ in prompts
    ]


def kl_to(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[Asked],
    answers: Sequence[Answer],
    pad: int,
    *,
    temperature: float = 1.0,
    budget_tokens: int | None = None,
) -> list[float]:
    """log policy - log reference of each of the policy's own answers, in nats per response (k1,
    summed).
    """
    asked, given = [prompt.ids for prompt in prompts], [answer.ids for answer in answers]
    logprobs = partial(sequence_logprobs, temperature=temperature)
    ours = in_batches(logprobs, policy, asked, given, pad, budget_tokens=budget_tokens)
    theirs = in_batches(logprobs, reference, asked, given, pad, budget_tokens=budget_tokens)
    return [our - their for our, their in zip(ours, theirs, strict=True)]
