"""W&B's log of a run (`run-<id>.wandb`): its records, read and written.

The file is a 7-byte header and blocks of 32 KiB as in LevelDB's log: each piece has a CRC-32 of its
type and bytes (u32), a length (u16) and a type (u8: 1 whole, 2 first, 3 middle, 4 last). A record
is a `wandb_internal.Record`.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADER_BYTES = 7
BLOCK_BYTES = 32 * 2**10
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
IN_RUN = re.compile(r".*/(round-[^/]+/[^/]+/[^/]+/.*)")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The last step of a log, and the files of its artifacts that are nowhere."""

    last_step: int
    missing: tuple[str, ...]


def prepare_upload(log: Path, run_folder: Path, after_step: int) -> Prepared | None:
    """Makes a log fit to be uploaded: whole records only (a killed stage leaves the last one cut,
    at which W&B would stop), no figures up to `after_step` (an earlier attempt logged them and W&B
    would add them again), and the files of artifacts where the run folder is now (W&B names them by
    absolute path, which a copy on another machine does not have).

    None where the log holds no run.
    """
    from wandb.proto import wandb_internal_pb2

    parsed = [wandb_internal_pb2.Record.FromString(record) for record in read_records(log)]
    if not any(record.HasField("run") for record in parsed):
        return None
    kept = [record for record in parsed if not 0 <= _step(record) <= after_step]
    missing = []
    for entry in (entry for record in kept for entry in record.artifact.manifest.contents):
        if entry.local_path and not Path(entry.local_path).exists():
            here = _in_run(entry.local_path, run_folder)
            if here is None:
                missing.append(entry.local_path)
            else:
                entry.local_path = str(here)
    write_records(log, (record.SerializeToString() for record in kept))
    return Prepared(max([after_step, *map(_step, kept)]), tuple(missing))


def read_records(log: Path) -> Iterator[bytes]:
    """The records of a log, as bytes; one cut short at the end is left out."""
    data, at, record = log.read_bytes(), HEADER_BYTES, b""
    while at + HEADER_BYTES <= len(data):
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < HEADER_BYTES:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + HEADER_BYTES])
        at += HEADER_BYTES
        if kind == 0 or at + size > len(data):
            return
        record = (b"" if kind in {WHOLE, FIRST} else record) + data[at : at + size]
        at += size
        if kind in {WHOLE, LAST}:
            yield record


def write_records(log: Path, records: Iterable[bytes]) -> None:
    """Replaces the records of a log, whole or not at all; its header stays."""
    before = log.read_bytes()
    out = bytearray(before[:HEADER_BYTES])
    for record in records:
        _append(out, record)
    if out == before:
        return
    temporary = log.with_suffix(".tmp")
    temporary.write_bytes(out)
    temporary.replace(log)


def _append(out: bytearray, record: bytes) -> None:
    first = True
    while first or record:
        left = BLOCK_BYTES - len(out) % BLOCK_BYTES
        if left < HEADER_BYTES:
            out += bytes(left)
            left = BLOCK_BYTES
        part, record = record[: left - HEADER_BYTES], record[left - HEADER_BYTES :]
        kind = (WHOLE if first else LAST) if not record else (FIRST if first else MIDDLE)
        out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
        first = False


def _step(record: Any) -> int:
    """The step of a record of figures; -1 for what is none."""
    return int(record.history.step.num) if record.HasField("history") else -1


def _in_run(path: str, run_folder: Path) -> Path | None:
    inside = IN_RUN.fullmatch(path)
    here = run_folder.absolute() / inside[1] if inside else None
    return here if here is not None and here.exists() else None
