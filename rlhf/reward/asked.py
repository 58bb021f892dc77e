"""What somebody wants scored: rows of prompts and responses, as texts, messages or token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from rlhf.data.identity import Json
from rlhf.data.records import Message, Prompt
from rlhf.models.conversation import prompt_within, response_ids

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt and its responses as the reward model reads them: `pairs` of (prompt, response) ids.
    `several` is whether the row gave a list, `cut` whether its prompt lost something on its left.
    """

    pairs: tuple[tuple[Ids, Ids], ...]
    several: bool
    cut: bool


def ids_of(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str | Sequence[Message],
    response: str,
    *,
    finished: bool,
    max_tokens: int,
) -> tuple[Ids, Ids, bool]:
    """Ids of a prompt and a response, EOS as in training, and whether the prompt was cut: on its
    left, so that both fit in `max_tokens`. Raises ValueError for a response that leaves no room,
    for one of no token, and for messages that the chat template refuses.
    """
    answer = response_ids(tokenizer, response, finished=finished)
    if not answer:
        raise ValueError("a response is empty and was not finished: there is nothing to score")
    if len(answer) >= max_tokens:
        raise ValueError(f"a response leaves no room for its prompt in {max_tokens} tokens")
    messages = Prompt.of(prompt).messages if isinstance(prompt, str) else prompt
    try:
        asked, cut = prompt_within(tokenizer, messages, max_tokens - len(answer))
    except TemplateError as error:
        raise ValueError(f"the model's chat template refuses the messages: {error}") from error
    return tuple(asked), tuple(answer), cut is not None


def asked_of(
    row: Json, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int, vocab_size: int
) -> Asked:
    """A row with `prompt` (a text, or messages) and `response` or `responses`; or with `prompt_ids`
    and `response_ids`. `finished` (one or a list, true by default) says whether a text ends in EOS.

    Raises ValueError that names the kind of fault, alike for all rows that have it.
    """
    if "prompt_ids" in row or "response_ids" in row:
        ids = [_ids(row.get(name), vocab_size) for name in ("prompt_ids", "response_ids")]
        if len(ids[0]) + len(ids[1]) > max_tokens:
            raise ValueError(f"prompt_ids and response_ids are more than {max_tokens} tokens")
        return Asked(((ids[0], ids[1]),), False, False)
    several = "responses" in row
    if several == ("response" in row):
        raise ValueError("a row needs `response` or `responses`, one of them")
    responses = row["responses"] if several else [row["response"]]
    if not isinstance(responses, list) or not responses:
        raise ValueError("`responses` is not a list of texts")
    if not all(isinstance(one, str) for one in responses):
        raise ValueError("a response is not a text")
    finished = row.get("finished", True)
    ended = finished if isinstance(finished, list) else [finished] * len(responses)
    if len(ended) != len(responses) or not all(isinstance(one, bool) for one in ended):
        raise ValueError("`finished` is not true or false, once or for each response")
    prompt = _messages(row.get("prompt"))
    made = [
        ids_of(tokenizer, prompt, response, finished=end, max_tokens=max_tokens)
        for response, end in zip(responses, ended, strict=True)
    ]
    pairs = tuple((asked, answer) for asked, answer, _ in made)
    return Asked(pairs, several, any(cut for *_, cut in made))


def _messages(prompt: Any) -> tuple[Message, ...]:
    if isinstance(prompt, str) and prompt.strip():
        return Prompt.of(prompt).messages
    if not isinstance(prompt, list) or not all(isinstance(turn, dict) for turn in prompt):
        raise ValueError("`prompt` is missing, empty, or neither a text nor messages")
    try:
        return Prompt.of(tuple(Message.from_json(turn) for turn in prompt)).messages
    except ValueError as error:
        raise ValueError(
            "the messages of `prompt` need a role and a text each, and must end in the user's"
        ) from error


def _ids(ids: Any, vocab_size: int) -> Ids:
    fits = isinstance(ids, list) and ids
    if not fits or not all(type(one) is int and 0 <= one < vocab_size for one in ids):
        raise ValueError("`prompt_ids` and `response_ids` must be lists of the model's token ids")
    return tuple(ids)
