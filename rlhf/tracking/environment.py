"""What a stage ran on: versions, code, machine. For the run folder and for bug reports."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from rlhf.data.identity import Json

PARTS = (
    "rlhf-pipeline",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "tokenizers",
    "numpy",
    "matplotlib",
    "gradio",
    "fastapi",
    "sqlalchemy",
    "pydantic",
    "wandb",
)
DIFF_CHARACTERS = 20_000


def environment() -> Json:
    """Python, package versions, commit and whether it was changed, CPU threads; GPUs where torch
    is loaded already.
    """
    found: Json = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": {part: _version(part) for part in PARTS},
        "code": _commit(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        count = torch.cuda.device_count()
        found["gpus"] = [torch.cuda.get_device_name(index) for index in range(count)]
    return found


def _version(part: str) -> str | None:
    try:
        return metadata.version(part)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> Json | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    diff = _git(root, "diff", "HEAD")
    return {
        "commit": commit,
        "changed": bool(changed),
        "diff": diff[:DIFF_CHARACTERS],
        "diff_cut": len(diff) > DIFF_CHARACTERS,
    }


def _git(root: Path, *words: str) -> str:
    ran = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
    )
    return ran.stdout.strip()
