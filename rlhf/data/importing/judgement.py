"""What every format is read into: one prompt, its replies, and who ordered them how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from rlhf.data.identity import Json
from rlhf.data.records import Message, Prompt, Ranking, Response

# Best first; a group holds the indices of replies that tie.
Order = tuple[tuple[int, ...], ...]
UNKNOWN_LABELER = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A prompt with its responses and the rankings of them, one for each labeler.

    `left_out` counts replies without a rank, or labelers without a verdict.
    """

    prompt: Prompt
    responses: tuple[Response, ...]
    rankings: tuple[Ranking, ...]
    left_out: int = 0


def judgement(
    turns: Sequence[Message],
    replies: Sequence[Any],
    orders: Mapping[str, Order],
    *,
    models: Sequence[str] = (),
    shown_as_listed: bool = False,
    left_out: int = 0,
) -> Judgement | str:
    """A judgement, or the reason why there is none.

    `orders` holds an order of the replies by labeler. `shown_as_listed` says that labelers saw the
    replies in this order; where that is not known, `shown` is in id order, which tells nothing.
    """
    if not turns or turns[-1].role != "user":
        return "the prompt does not end in a user turn"
    if any(not turn.content.strip() for turn in turns):
        return "empty turn in the prompt"
    if not all(isinstance(reply, str) for reply in replies):
        return "a reply is not a text"
    if any(not reply.strip() for reply in replies):
        return "empty reply"
    if len({reply.strip() for reply in replies}) < len(replies):
        return "same text twice"
    if not orders:
        return "unranked"
    prompt = Prompt.of(tuple(turns))
    names = models or [""] * len(replies)
    responses = tuple(
        Response.of(prompt.id, reply, model=model)
        for reply, model in zip(replies, names, strict=True)
    )
    ids = [response.id for response in responses]
    shown = tuple(ids if shown_as_listed else sorted(ids))
    rankings = tuple(
        Ranking.of(
            prompt_id=prompt.id,
            labeler_id=labeler,
            groups=tuple(tuple(ids[index] for index in group) for group in order),
            shown=shown,
        )
        for labeler, order in orders.items()
    )
    return Judgement(prompt, responses, rankings, left_out)


def order_by_rank(ranks: Sequence[float]) -> Order:
    """Indices in tie groups, the smallest rank first."""
    return tuple(
        tuple(index for index, rank in enumerate(ranks) if rank == level)
        for level in sorted(set(ranks))
    )


def is_rank(value: Any) -> bool:
    """Whether `value` is a number that can order replies (`true` and infinities are none)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def messages_of(value: Any) -> tuple[Message, ...] | None:
    """A text as one user turn, or a list of messages; None where it is neither."""
    if isinstance(value, str):
        return (Message("user", value),)
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        return None
    try:
        return tuple(Message.from_json(turn) for turn in value)
    except ValueError:
        return None


def prompt_of(row: Json) -> tuple[Message, ...] | None:
    """The prompt that a row states: `prompt`, or `instruction` with `input` below it."""
    if "prompt" in row:
        return messages_of(row["prompt"])
    parts = [row.get("instruction"), row.get("input")]
    stated = [part for part in parts if isinstance(part, str) and part.strip()]
    return messages_of("\n\n".join(stated)) if stated else None
