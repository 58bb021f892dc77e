"""Reward model, DPO and PPO on one GPU, at real sizes with random weights, with TRL beside them.

`python -m benchmarks.gpu [--quick] [--sizes 0.5B 1.5B 3B] [--trl FOLDER] [--trl-ppo FOLDER]`: bf16,
256 + 256 tokens. Tokens a second, the share of the matrix-product peak that is measured in the same
call (MFU), and peak memory, by phase. TRL is measured where a folder holds it (`pip install
--no-deps --target FOLDER trl==...`): 1.16 for reward model and DPO, 1.12 for PPO. Each side runs in
a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from rlhf.data.identity import Json

SIZES = ("0.5B", "1.5B", "3B")
PHASES = ("reward", "dpo", "ppo")


def main() -> None:
    """Measures, prints a table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest size, fewer steps")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=[*SIZES, "tiny"])
    parser.add_argument("--phases", nargs="+", default=list(PHASES), choices=PHASES)
    parser.add_argument("--trl", type=Path, help="a folder that holds TRL for reward and DPO")
    parser.add_argument("--trl-ppo", type=Path, help="a folder that holds TRL 1.12")
    parser.add_argument("--steps", type=int, default=4, help="steps or rollouts; one warms up")
    parser.add_argument("--seconds", type=float, default=500, help="stop starting sizes after this")
    asked = parser.parse_args()
    sizes = asked.sizes[:1] if asked.quick else asked.sizes
    steps = 2 if asked.quick else asked.steps
    sides: list[tuple[str, Path | None, list[str]]] = [("ours", None, asked.phases)]
    if asked.trl is not None:
        sides.append(("trl", asked.trl, [p for p in asked.phases if p != "ppo"]))
    if asked.trl_ppo is not None:
        sides.append(("trl", asked.trl_ppo, [p for p in asked.phases if p == "ppo"]))
    rows: list[Json] = []
    for side, folder, phases in sides:
        for row in _side(side, folder, phases, sizes, steps, asked.seconds):
            rows.append(row)
            print(_line(row), flush=True)
    print(json.dumps(_summary(rows)))


def _side(
    side: str, folder: Path | None, phases: list[str], sizes: list[str], steps: int, seconds: float
) -> list[Json]:
    """What one side measured, in a process of its own."""
    if not phases:
        return []
    command = [sys.executable, "-m", "benchmarks.gpu_work", side, str(steps), str(seconds)]
    command += [",".join(phases), *sizes]
    found: list[Json] = []
    path = [str(folder)] if folder else []
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]),
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                found.append({"side": side, **json.loads(line)})
    if process.returncode:
        found.append({"side": side, "note": f"ended with code {process.returncode}"})
    return found


def _line(row: Json) -> str:
    named = {"side", "size", "phase", "note"}
    numbers = "  ".join(f"{name} {value:g}" for name, value in row.items() if name not in named)
    what = f"{row['side']:5} {row.get('size', ''):5} {row.get('phase', ''):7}"
    return f"{what} {row.get('note', '')}{numbers}"


def _summary(rows: list[Json]) -> Json:
    """All numbers under side_phase_size_name, and ours over TRL's where both were measured."""
    found: Json = {}
    for row in rows:
        place = "_".join(str(row[key]) for key in ("side", "phase", "size") if key in row)
        for name, value in row.items():
            if name not in {"side", "phase", "size"}:
                found[f"{place}_{name}"] = value
    for size in SIZES:
        for phase, unit in (("reward", "rankings"), ("dpo", "rankings"), ("ppo", "samples")):
            ours, trl = (
                found.get(f"{s}_{phase}_{size}_{unit}_per_second") for s in ("ours", "trl")
            )
            if ours and trl:
                found[f"speedup_{phase}_{size}"] = round(ours / trl, 2)
        if f"ours_ppo_{size}_step_seconds" in found:
            steps = found.setdefault("ppo_step_seconds", {})
            steps[size] = found[f"ours_ppo_{size}_step_seconds"]
    return found


if __name__ == "__main__":
    main()
