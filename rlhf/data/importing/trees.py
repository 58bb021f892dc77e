"""Conversation trees as Open-Assistant exports them: sibling replies carry a `rank`, 0 the best.

The ranks are an aggregate over several people, who are not named.
"""

from collections.abc import Iterator
from typing import Any

from rlhf.data.identity import Json
from rlhf.data.importing.judgement import Judgement, is_rank, judgement, order_by_rank
from rlhf.data.records import Message, Role

UNIT = "groups of replies"
LABELER = "aggregate"
_ROLES: dict[str, Role] = {"prompter": "user", "assistant": "assistant"}


def fits(row: Json) -> bool:
    return _is_message(_root(row))


def read(row: Json) -> Iterator[Judgement | str]:
    """Every group of two or more sibling replies by assistants, asked by the path above them.

    Replies without a rank, or deleted, are left out of their group.
    """
    root = _root(row)
    if not _is_message(root):
        yield "not a conversation tree"
        return
    open_nodes: list[tuple[Json, tuple[Message, ...]]] = [(root, ())]
    while open_nodes:
        node, above = open_nodes.pop()
        path = (*above, Message(_ROLES[node["role"]], node["text"]))
        children = [child for child in node["replies"] if _is_message(child)]
        if len(children) < len(node["replies"]):
            yield "a reply in a tree is not a message"
        open_nodes.extend((child, path) for child in reversed(children))
        siblings = [child for child in children if child["role"] == "assistant"]
        if len(siblings) > 1:
            yield _group(path, siblings)


def _group(path: tuple[Message, ...], siblings: list[Json]) -> Judgement | str:
    ranked = [reply for reply in siblings if is_rank(reply.get("rank")) and not _deleted(reply)]
    if len(ranked) < 2:
        return "unranked"
    return judgement(
        path,
        [reply["text"] for reply in ranked],
        {LABELER: order_by_rank([reply["rank"] for reply in ranked])},
        models=[reply.get("model_name") or "" for reply in ranked],
        left_out=len(siblings) - len(ranked),
    )


def _root(row: Json) -> Any:
    return row["prompt"] if isinstance(row.get("prompt"), dict) else row


def _is_message(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and node.get("role") in _ROLES
        and isinstance(node.get("text"), str)
        and isinstance(node.get("replies"), list)
    )


def _deleted(reply: Json) -> bool:
    return bool(reply.get("deleted"))
