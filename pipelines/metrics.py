"""The numbers of a stage: appended to `metrics.jsonl`, one line a log, and mirrored."""

import json
from pathlib import Path

from rlhf.data.identity import Json
from rlhf.tracking.mirror import Mirror, mirrored_name
from rlhf.tracking.run_folder import METRICS


class MetricsLog:
    """Appends numbers to the stage's metrics file; each line is on disk before the call returns."""

    def __init__(self, folder: Path, mirror: Mirror) -> None:
        self._file = (folder / METRICS).open("w", encoding="utf-8", buffering=1)
        self._mirror = mirror

    def append(self, numbers: Json) -> None:
        """Writes one line; `step`, where there is one, is the trainer's."""
        self._file.write(json.dumps(numbers) + "\n")
        step = numbers.get("step")
        rest = {
            mirrored_name(self._mirror.stage, name): value
            for name, value in numbers.items()
            if name != "step"
        }
        self._mirror.log(rest, step if isinstance(step, int) else None)

    def close(self) -> None:
        self._file.close()
