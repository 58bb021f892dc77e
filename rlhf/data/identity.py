"""Content-hash identities: the same content has the same id, on every machine and in every run."""

import hashlib
import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, UTF-8 kept as it is."""
    return _ENCODER.encode(value)


def content_id(kind: str, value: Any) -> str:
    """`kind-` and 16 hex digits of the SHA-256 of the canonical JSON of `value`."""
    return f"{kind}-{hashlib.sha256(canonical([kind, value]).encode()).hexdigest()[:16]}"


def seeded_uuid(*parts: object) -> str:
    """A UUID that depends on `parts` alone, for clients that must repeat exactly (simulations)."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, canonical([str(part) for part in parts])))


def seed_from(*parts: object) -> int:
    """A 63-bit seed that depends on `parts` alone, whatever the order in which work is done."""
    return (
        int.from_bytes(
            hashlib.sha256(canonical([str(p) for p in parts]).encode()).digest()[:8], "big"
        )
        >> 1
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(root: Path, paths: Iterable[Path]) -> str:
    """SHA-256 over the names (relative to `root`) and bytes of `paths`, whatever their order."""
    rows = sorted((path.relative_to(root).as_posix(), file_sha256(path)) for path in paths)
    return hashlib.sha256(canonical(rows).encode()).hexdigest()
