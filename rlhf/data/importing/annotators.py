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


def orders(row: Json) -> dict[str, Order] | str:
    """What each annotator of a row said, those without a verdict left out; or what is wrong."""
    found: dict[str, Order] = {}
    for labeler in filter(_COLUMN.fullmatch, row):
        verdict = row[labeler]
        if verdict is None:
            continue
        if type(verdict) is not int or verdict not in _ORDERS:
            return "a verdict is not 0, 1 or 2"
        found[labeler] = _ORDERS[verdict]
    return found


def read(row: Json) -> Iterator[Judgement | str]:
    """The one item of a row, with a ranking for each annotator."""
    prompt = prompt_of(row)
    replies = (row.get("response1"), row.get("response2"))
    if prompt is None or None in replies:
        yield "no prompt" if prompt is None else "fewer than two replies"
        return
    said = orders(row)
    if isinstance(said, str):
        yield said
        return
    yield judgement(
        prompt,
        replies,
        said,
        models=_models(row),
        shown_as_listed=True,
        left_out=sum(map(bool, map(_COLUMN.fullmatch, row))) - len(said),
    )


def _models(row: Json) -> list[str]:
    """The two writers, where `cmp_key` names them as `one_other`."""
    names = str(row.get("cmp_key", "")).split("_")
    return names if len(names) == 2 else []
