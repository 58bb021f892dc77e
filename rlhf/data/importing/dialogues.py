"""Whole dialogues, `\\n\\nHuman: ...\\n\\nAssistant: ...`, as the texts `chosen` and `rejected`."""

import re
from collections.abc import Iterator

from rlhf.data.identity import Json
from rlhf.data.importing.judgement import UNKNOWN_LABELER, Judgement, judgement
from rlhf.data.records import Message, Role

UNIT = "pairs"
_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_ROLES: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


def fits(row: Json) -> bool:
    texts = [row.get("chosen"), row.get("rejected")]
    return "prompt" not in row and any(
        isinstance(text, str) and text.lstrip().startswith("Human:") for text in texts
    )


def read(row: Json) -> Iterator[Judgement | str]:
    """The one pair of a row: the last turns, where all turns before them are the same."""
    dialogues: list[list[Message]] = []
    for key in ("chosen", "rejected"):
        if not isinstance(row.get(key), str):
            yield f"no {key!r}"
            return
        turns = _turns(row[key])
        if not turns:
            yield "not a dialogue"
            return
        if turns[-1].role != "assistant":
            yield "no reply at the end"
            return
        dialogues.append(turns)
    chosen, rejected = dialogues
    if chosen[:-1] != rejected[:-1]:
        yield "prompt differs"
        return
    order = {UNKNOWN_LABELER: ((0,), (1,))}
    yield judgement(_joined(chosen[:-1]), (chosen[-1].content, rejected[-1].content), order)


def _turns(text: str) -> list[Message]:
    """The turns of a dialogue, or none where it does not begin with one."""
    before, *parts = _TURN.split(text.strip())
    if before:
        return []
    return [
        Message(_ROLES[name], content.strip())
        for name, content in zip(parts[::2], parts[1::2], strict=True)
    ]


def _joined(turns: list[Message]) -> list[Message]:
    """Neighbouring turns of one speaker as one turn: chat templates want them to alternate."""
    joined: list[Message] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            joined[-1] = Message(turn.role, f"{joined[-1].content}\n\n{turn.content}")
        else:
            joined.append(turn)
    return joined
