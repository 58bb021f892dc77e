"""Why a stage has to run, in a few words."""

from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json
from rlhf.tracking.run_folder import StageFolder, read_completion


def why_again(folder: StageFolder, identity: Json) -> str:
    """What differs between the last time a stage was completed and what it is now, by its
    `identity`: version, settings, inputs, what it reads from outside.
    """
    current = folder.current()
    if current is None:
        begun = any(folder.root.glob("*/config.json"))
        return "was cut short" if begun else "never ran"
    last = read_completion(current)
    if last is not None and last.redacted is not None:
        return "somebody withdrew what they had said"
    before = read_json(current / "config.json")
    if before["version"] != identity["version"]:
        return f"the stage's code changed (version {before['version']} to {identity['version']})"
    changed = _changed(before["settings"], identity["settings"])
    if changed:
        return f"changed: {', '.join(changed)}"
    read = read_json(current / "inputs.json")["stages"]
    others = [
        need
        for need, digest in identity["inputs"].items()
        if read.get(need, {}).get("sha256") != digest
    ]
    if others:
        return f"new input from {', '.join(others)}"
    gone = [need for need in read if need not in identity["inputs"]]
    if gone:
        return f"no longer reads {', '.join(gone)}"
    return "what it reads from outside changed"


def _changed(before: Json, now: Json, at: str = "") -> list[str]:
    found: list[str] = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        place = f"{at}{key}"
        if isinstance(old, dict) and isinstance(new, dict):
            found += _changed(old, new, f"{place}.")
        else:
            found.append(place)
    return found
