"""Reads W&B's log of a run back, apart from the project's own reader: what a mirror wrote."""

import json
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
BLOCK = 32768


def logs(stage_folder: Path, *, ended: bool = True) -> list[Path]:
    """The logs of all attempts of a stage, oldest first. W&B writes the last of a log a moment
    after the run has ended: that is waited for, unless it never comes (`ended=False`).
    """
    found = sorted(stage_folder.glob("wandb/*run-*/*.wandb"))
    for log in found if ended else []:
        until = time.monotonic() + 10
        while not _ended(log):
            assert time.monotonic() < until, f"{log} was not ended"
            time.sleep(0.02)
    return found


def _ended(log: Path) -> bool:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return any(message.HasField("exit") for message in messages(log))
    except (DecodeError, struct.error):
        return False


def messages(log: Path) -> Iterator[Any]:
    """Every record of a log."""
    from wandb.proto import wandb_internal_pb2

    data, at, record = log.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        _crc, size, kind = struct.unpack("<IHB", data[at : at + 7])
        part, at = data[at + 7 : at + 7 + size], at + 7 + size
        record = record + part if kind in (3, 4) else part
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(record)


def history(log: Path) -> list[Json]:
    """The logged rows, each with `_step`."""
    return [_values(m.history.item) for m in messages(log) if m.HasField("history")]


def _values(items: Iterable[Any]) -> Json:
    """Values by key; what W&B writes part by part is put together."""
    found: Json = {}
    for item in items:
        *path, last = item.nested_key or [item.key]
        inner = found
        for key in path:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)
    return found


def run(log: Path) -> Any:
    """The first record that says which run it is."""
    return next(message.run for message in messages(log) if message.HasField("run"))


def config(log: Path) -> Json:
    """The run's config."""
    return {item.key: json.loads(item.value_json) for item in run(log).config.update}


def summary(log: Path) -> Json:
    """The last value of every figure in the summary."""
    return _values(i for m in messages(log) if m.HasField("summary") for i in m.summary.update)


def artifacts(log: Path) -> list[Any]:
    """The artifacts handed over, those that are used among them."""
    return [message.artifact for message in messages(log) if message.HasField("artifact")]


def alerts(log: Path) -> list[Any]:
    """The alerts, in order."""
    return [message.alert for message in messages(log) if message.HasField("alert")]


def everything(stage_folder: Path) -> str:
    """All bytes that W&B would upload of a stage, and some more, as one text."""
    files = [path for path in (stage_folder / "wandb").rglob("*") if path.is_file()]
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)
