"""Pairs judged by several annotators in columns, as PandaLM publishes them: `instruction`, `input`,
`response1`, `response2`, and `annotator1` to `annotatorN` with 1 or 2 for the better, 0 for a tie.
"""

import re
from collections.abc import Iterator

from rlhf.data.identity import Json
from rlhf.data.importing.judgement import Judgement, Order, judgement, prompt_of

UNIT = "items"
_COLUMN = re.compile(r"annotator\d+")
_ORDERS: dict[object, Order] = {0: ((0, 1),), 1: ((0,), (1,)), 2: ((1,), (0,))}


def fits(row: Json) -> bool:
    return "response1" in row and "response2" in row and any(map(_COLUMN.fullmatch, row))


def read(row: Json) -> Iterator[Judgement | str]:
    """The one item of a row, with a ranking for each annotator."""
    prompt = prompt_of(row)
    replies = (row.get("response1"), row.get("response2"))
    if prompt is None or None in replies:
        yield "no prompt" if prompt is None else "fewer than two replies"
        return
    orders: dict[str, Order] = {}
    labelers = list(filter(_COLUMN.fullmatch, row))
    for labeler in labelers:
        verdict = row[labeler]
        if verdict is None:
            continue
        if type(verdict) is not int or verdict not in _ORDERS:
            yield "a verdict is not 0, 1 or 2"
            return
        orders[labeler] = _ORDERS[verdict]
    yield judgement(
        prompt,
        replies,
        orders,
        models=_models(row),
        shown_as_listed=True,
        left_out=len(labelers) - len(orders),
    )


def _models(row: Json) -> list[str]:
    """The two writers, where `cmp_key` names them as `one_other`."""
    names = str(row.get("cmp_key", "")).split("_")
    return names if len(names) == 2 else []
