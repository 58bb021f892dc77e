"""JSON Lines in and out: one record a line, `.gz` read and written as such, replaced whole or not
at all.
"""

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rlhf.data.identity import Json


def read_jsonl(path: Path) -> Iterator[Json]:
    """The objects of a file, one a line; blank lines are passed over.

    Raises ValueError naming file and line where a line is not a JSON object.
    """
    for _, row in numbered_jsonl(path):
        yield row


def numbered_jsonl(path: Path) -> Iterator[tuple[int, Json]]:
    """What `read_jsonl` reads, each with its line number, from 1."""
    # Decoded line by line: a byte that is no text costs its line and those after it, none before.
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    number = 0
    try:
        with opened as lines:
            for raw in lines:
                line = raw.decode("utf-8")
                number += 1
                if line.strip():
                    yield number, _object(path, number, line)
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path}, after line {number}: cannot be read ({error})") from error


def _object(path: Path, number: int, line: str) -> Json:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number}: expected an object, got {type(row).__name__}")
    return row


def write_jsonl(path: Path, rows: Iterable[Json]) -> int:
    """Writes one object a line, atomically; returns how many."""
    count = 0
    with AtomicText(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def append_jsonl(path: Path, row: Json) -> None:
    """Adds one object to the end, on the disk before it returns. A line that a crash cut short is
    ended first, so that it spoils no other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Writes one JSON value, indented, atomically."""
    with AtomicText(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value of a file; raises ValueError naming the file where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from error


class AtomicText:
    """A text file that appears whole or not at all: temporary name, fsync, rename."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> "AtomicText":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.suffix == ".gz":
            self.file: Any = gzip.open(self.temporary, "wt", encoding="utf-8")
        else:
            self.file = self.temporary.open("w", encoding="utf-8")
        return self

    def write(self, text: str) -> None:
        self.file.write(text)

    def __exit__(self, kind: object, *_: object) -> None:
        whole = False
        try:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
                whole = True
        finally:
            self.file.close()
            try:
                if whole:
                    self.temporary.replace(self.path)
            finally:
                self.temporary.unlink(missing_ok=True)
