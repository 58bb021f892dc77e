"""What one person said, wherever it lies: finding it in a file's bytes and taking it out.

Rows are theirs by the id of the ranking, judgement or demonstration *and* the pseudonym, so that
nobody else's row is ever touched. Their texts are blanked wherever else they stand; a short one
("ok") only goes with its row, since others say it too.
"""

import gzip
import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rlhf.data.privacy import scrub

GONE = "[withdrawn]"
SHORTEST = 12
VOTE_ID = re.compile(rb"(?:ranking|demonstration)-[0-9a-f]{16}")
# Where our files name labelers without a row of rankings: a mapping, or a list, by pseudonym.
KEYED_BY_LABELER = {"weights", "reliability"}
LISTS_OF_LABELERS = {"held_out", "by_labeler"}
_REMOVE = object()


@dataclass(frozen=True)
class Belongings:
    """The pseudonym, the ids of what they said, and the texts that they wrote. In a run of another
    store the same pseudonym is somebody else (`known_by_name` is False): there only ids and texts
    count.
    """

    labeler_id: str
    ids: frozenset[str]
    texts: frozenset[str]
    known_by_name: bool = True

    @cached_property
    def long_texts(self) -> tuple[str, ...]:
        """The texts to blank wherever they stand, longest first; also as they are when scrubbed."""
        every = {form for text in self.texts for form in (text, text.strip(), scrub(text))}
        return tuple(sorted((one for one in every if len(one) >= SHORTEST), key=len, reverse=True))

    @cached_property
    def _text_bytes(self) -> tuple[bytes, ...]:
        return tuple(dict.fromkeys(b for text in self.long_texts for b in spellings(text)))

    @cached_property
    def _name_bytes(self) -> tuple[bytes, ...]:
        quoted = {json.dumps(self.labeler_id), json.dumps(self.labeler_id, ensure_ascii=False)}
        return tuple(one.encode() for one in (*sorted(quoted), f">{html.escape(self.labeler_id)}<"))

    @cached_property
    def _id_bytes(self) -> frozenset[bytes]:
        return frozenset(one.encode() for one in self.ids)

    def spoken(self, data: bytes) -> bool:
        """Whether what they said, or the id of it, stands in these bytes."""
        if not self._id_bytes.isdisjoint(VOTE_ID.findall(data)):
            return True
        return any(text in data for text in self._text_bytes)

    def named(self, data: bytes) -> bool:
        """Whether the pseudonym stands in these bytes as a value of its own."""
        return self.known_by_name and any(name in data for name in self._name_bytes)

    def blanked(self, text: str) -> str:
        """The text without theirs, and without ids of what they said."""
        for mine in self.long_texts:
            text = text.replace(mine, GONE)
        return re.sub(VOTE_ID.pattern.decode(), lambda m: GONE if m[0] in self.ids else m[0], text)

    def without(self, value: Any) -> Any:
        """A JSON value without what is theirs; None where nothing is left of it."""
        left = self._without(value, "")
        return None if left is _REMOVE else left

    def _without(self, value: Any, key: str) -> Any:
        if isinstance(value, str):
            return self.blanked(value)
        if isinstance(value, list):
            kept = [self._without(one, key) for one in value if not self._listed(one, key)]
            return [one for one in kept if one is not _REMOVE]
        if not isinstance(value, dict):
            return value
        if self._is_mine(value):
            return _REMOVE
        if value.get("labeler_id", self.labeler_id) != self.labeler_id:
            return value  # somebody else's words, whatever they are
        if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
            value = {**value, "data": [r for r in value["data"] if not self._is_my_line(r, value)]}
        found = {
            name: self._without(part, name)
            for name, part in value.items()
            if not (key in KEYED_BY_LABELER and self._is_me(name))
        }
        return {name: part for name, part in found.items() if part is not _REMOVE}

    def _is_mine(self, row: dict[str, Any]) -> bool:
        if row.get("ranking_id") in self.ids:
            return True
        if row.get("labeler_id") != self.labeler_id:
            return False
        return row["id"] in self.ids if "id" in row else self.known_by_name

    def _listed(self, one: Any, key: str) -> bool:
        """An element of a list of labelers that is them."""
        if key not in LISTS_OF_LABELERS:
            return False
        return self._is_me(one.get("name") if isinstance(one, dict) else one)

    def _is_me(self, name: Any) -> bool:
        return self.known_by_name and bool(name == self.labeler_id)

    def _is_my_line(self, line: Any, table: dict[str, Any]) -> bool:
        """A line of a W&B table that is a row of theirs."""
        if not isinstance(line, list):
            return False
        return self._is_mine(dict(zip(map(str, table["columns"]), line, strict=False)))

    def without_lines(self, data: bytes) -> bytes:
        """JSON Lines without what is theirs: lines that hold nothing of it stay as they are, byte
        for byte; of one that cannot be read and holds some, nothing stays.
        """
        return b"".join(self._line(line) for line in data.splitlines(keepends=True))

    def _line(self, line: bytes) -> bytes:
        if not (self.spoken(line) or self.named(line)):
            return line
        try:
            row = json.loads(line)
        except ValueError:
            return b""
        left = self.without(row)
        if left == row:
            return line
        if left is None or (isinstance(row, dict) and row.get("rankings") and not left["rankings"]):
            return b""
        return (json.dumps(left, ensure_ascii=False) + "\n").encode()

    def without_text(self, data: bytes) -> bytes:
        """Bytes of a text of no form that we know, without their texts and ids."""
        for mine in self._text_bytes:
            data = data.replace(mine, GONE.encode())
        return VOTE_ID.sub(lambda m: GONE.encode() if m[0] in self._id_bytes else m[0], data)


def spellings(text: str) -> list[bytes]:
    """How a text may stand in a file: as it is, in JSON, in HTML (each way of escaping)."""
    forms = [
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        html.escape(text),
        html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
        html.escape(text, quote=False),
    ]
    return [form.encode() for form in dict.fromkeys(forms)]


def union(labeler_id: str, parts: Iterable[tuple[Iterable[str], Iterable[str]]]) -> Belongings:
    """What several places know of a person: (ids, texts) of each."""
    ids: set[str] = set()
    texts: set[str] = set()
    for some_ids, some_texts in parts:
        ids |= set(some_ids)
        texts |= {text for text in some_texts if text.strip()}
    return Belongings(labeler_id, frozenset(ids), frozenset(texts))


def unzipped(data: bytes) -> bytes:
    """The bytes in a gzip file; ValueError where it is damaged."""
    try:
        return gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise ValueError(f"a damaged gzip file ({error})") from error
