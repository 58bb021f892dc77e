"""A prompt and a list of replies, with ranks (1 is best, equals tie) or in best-first order."""

from collections.abc import Iterator
from typing import Any

from rlhf.data.identity import Json
from rlhf.data.importing.judgement import (
    UNKNOWN_LABELER,
    Judgement,
    is_rank,
    judgement,
    order_by_rank,
    prompt_of,
)

UNIT = "ranked lists"
LISTS = ("replies", "responses", "completions", "answers")


def fits(row: Json) -> bool:
    return ("prompt" in row or "instruction" in row) and _replies(row) is not None


def read(row: Json) -> Iterator[Judgement | str]:
    """The one list of a row. A reply is a text, or an object with `text` and perhaps `rank`; ranks
    may also stand in a list `ranks`. Replies without a rank among replies with one are left out.
    """
    prompt, replies = prompt_of(row), _replies(row)
    if prompt is None or replies is None:
        yield "no 'prompt'" if prompt is None else "no list of replies"
        return
    texts = [reply.get("text") if isinstance(reply, dict) else reply for reply in replies]
    ranks = row.get("ranks", [r.get("rank") if isinstance(r, dict) else None for r in replies])
    if not isinstance(ranks, list) or len(ranks) != len(texts):
        yield "as many ranks as replies are needed"
        return
    if "ranks" not in row and all(rank is None for rank in ranks):
        ranks = list(range(len(texts)))
    ranked = [(text, rank) for text, rank in zip(texts, ranks, strict=True) if is_rank(rank)]
    if len(ranked) < 2:
        yield "fewer than two ranked replies"
        return
    order = {UNKNOWN_LABELER: order_by_rank([rank for _, rank in ranked])}
    left_out = len(texts) - len(ranked)
    yield judgement(prompt, [text for text, _ in ranked], order, left_out=left_out)


def _replies(row: Json) -> list[Any] | None:
    return next((row[key] for key in LISTS if isinstance(row.get(key), list)), None)
