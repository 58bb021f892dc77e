"""Preference rows as TRL reads them: `chosen` and `rejected`, texts or messages, with a `prompt` or
with the conversation that both share.
"""

from collections.abc import Iterator
from typing import Any

from rlhf.data.identity import Json
from rlhf.data.importing.judgement import (
    UNKNOWN_LABELER,
    Judgement,
    judgement,
    messages_of,
    prompt_of,
)
from rlhf.data.records import Message

UNIT = "pairs"
Conversation = tuple[tuple[Message, ...], str]


def fits(row: Json) -> bool:
    return "chosen" in row or "rejected" in row


def read(row: Json) -> Iterator[Judgement | str]:
    """The one pair of a row."""
    for key in ("chosen", "rejected"):
        if row.get(key) is None:
            yield f"no {key!r}"
            return
    prompt = prompt_of(row)
    if prompt is None and "prompt" in row:
        yield "the prompt is neither a text nor messages"
        return
    chosen, rejected = _conversation(prompt, row["chosen"]), _conversation(prompt, row["rejected"])
    if isinstance(chosen, str):
        yield chosen
    elif isinstance(rejected, str):
        yield rejected
    elif chosen[0] != rejected[0]:
        yield "prompt differs"
    else:
        order = {UNKNOWN_LABELER: ((0,), (1,))}
        yield judgement(chosen[0], (chosen[1], rejected[1]), order)


def _conversation(prompt: tuple[Message, ...] | None, answer: Any) -> Conversation | str:
    """What was asked and the reply, or why they cannot be told apart."""
    if isinstance(answer, str):
        return (prompt, answer) if prompt else "no 'prompt'"
    turns = messages_of(answer)
    if not turns:
        return "a reply is neither a text nor messages"
    if turns[-1].role != "assistant":
        return "no reply at the end"
    if prompt is None:
        return turns[:-1], turns[-1].content
    if turns[0].role == "assistant":
        return prompt + turns[:-1], turns[-1].content
    if turns[-1 - len(prompt) : -1] != prompt:
        return "prompt differs"
    return turns[:-1], turns[-1].content
