"""Stages that are mirrored in a process of their own, with a W&B account of their own or none."""

import os
import subprocess
import sys
from pathlib import Path

from wandb_server import WandbServer

BEFORE = """
import os, signal, sys, urllib.request
from pathlib import Path
from rlhf.tracking import wandb_run
from rlhf.tracking.alerts import Alert
from rlhf.tracking.mirror import WandbSettings, open_mirror

def opened(stage, fingerprint="f00"):
    global folder
    folder = Path(sys.argv[1]) / "round-0" / stage / fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    return open_mirror(
        WandbSettings(), folder=folder, run="quick", stage=stage, fingerprint=fingerprint, config={}
    )

def break_server(fault):
    # Until it is called with "none".
    urllib.request.urlopen(os.environ["WANDB_BASE_URL"] + "/break/" + fault).close()

def service():
    from wandb.sdk import wandb_setup
    return wandb_setup.singleton()._connection._proc._process

def kill_service():
    found = service()
    found.kill()
    found.wait()
"""
# What a stage does with its mirror, from figures to the end.
WORK = """
for step in range(5):
    mirror.log({"loss": float(step)}, step=step)
mirror.table("samples", [{"text": "ann@example.org"}], step=5)
(folder / "rows.txt").write_text("rows")
mirror.output("rows", "dataset", folder, metadata={})
mirror.alert(Alert("sft: alarm", "Write to ann@example.org."))
mirror.alert(Alert("sft: alarm", "Two of one title."))
mirror.finish({"x": 1})
"""


def stage_folder(run_folder: Path, stage: str, fingerprint: str = "f00", round_: int = 0) -> Path:
    """The folder of a stage, made."""
    folder = run_folder / f"round-{round_}" / stage / fingerprint
    folder.mkdir(parents=True)
    return folder


def environment_for(server: WandbServer, run_folder: Path, *, account: bool) -> dict[str, str]:
    """The environment of a process that knows this server and no other."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    env |= {"WANDB_BASE_URL": server.url, "NETRC": str(run_folder / "no-netrc")}
    env |= {"WANDB_CONFIG_DIR": str(run_folder.parent / "no-config")}
    if account:
        env["WANDB_API_KEY"] = "k" * 40
    return env


def wandb_script(
    server: WandbServer, run_folder: Path, code: str, *, account: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs `code` after `opened`, `break_server` and `kill_service` were defined for it."""
    return subprocess.run(
        [sys.executable, "-c", BEFORE + code, str(run_folder)],
        env=environment_for(server, run_folder, account=account),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
