"""Uploading later, to a server on loopback that keeps what arrives."""

import json
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import pytest
import wandb_reader as reader
from hypothesis import given, settings
from hypothesis import strategies as st
from wandb_scripts import BEFORE, environment_for, stage_folder, wandb_script
from wandb_server import WandbServer, wandb_server

from rlhf.tracking.mirror import Mirror, WandbSettings, open_mirror
from rlhf.tracking.run_folder import owned
from rlhf.tracking.sync import sync
from rlhf.tracking.wandb_log import BLOCK_BYTES, read_records, write_records

SYNC = """
import json
from rlhf.tracking.sync import sync
os.environ["WANDB__GRAPHQL_RETRY_MAX"] = "1"
os.environ["WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS"] = "1"
report = sync(Path(sys.argv[1]))
left = [[str(left.folder), left.reason] for left in report.left]
print(json.dumps([len(report.uploaded), len(report.before), left]))
"""
# The server goes away for good after the third step, and nobody listens at its port any more.
LEFT_ALONE = """
wandb_run.FINISH_SECONDS = 1.5
mirror = opened("sft")
for step in range(3):
    mirror.log({"loss": float(step)}, step=step)
print("ready", flush=True)
input()
for step in range(3, 9):
    mirror.log({"loss": float(step)}, step=step)
mirror.alert(Alert("sft: alarm", "All is lost."))
mirror.finish({"x": 1})
"""
# The stage is killed after its eighth step, and goes on from its sixth.
KILLED = """
import time
mirror = opened("sft")
for step in range(8):
    mirror.log({"loss": float(step)}, step=step)
time.sleep(1.3)
os.kill(os.getpid(), signal.SIGKILL)
"""


def opened(folder: Path) -> Mirror:
    return open_mirror(
        WandbSettings(),
        folder=folder,
        run="quick",
        stage=folder.parent.name,
        fingerprint="f00",
        config={},
    )


def prompts_logged(run_folder: Path) -> None:
    folder = stage_folder(run_folder, "prompts")
    (folder / "rows.jsonl").write_text('{"text": "ann@example.org"}\n')
    mirror = opened(folder)
    mirror.output("prompts", "dataset", folder, metadata={})
    mirror.table("samples", [{"text": "one"}], step=1)
    mirror.finish({})
    reader.logs(folder)


def sft_logged_again(run_folder: Path) -> None:
    folder = run_folder / "round-0" / "sft" / "f00"
    mirror = opened(folder)
    for step in range(6, 12):
        mirror.log({"loss": float(step)}, step=step)
    mirror.output("policy", "model", folder, uses=["prompts"], metadata={})
    mirror.finish({})
    time.sleep(0.5)


def synced(server: WandbServer, run_folder: Path) -> tuple[int, int, list[list[str]]]:
    ran = wandb_script(server, run_folder, SYNC)
    assert ran.stderr == ""
    uploaded, before, left = json.loads(ran.stdout)
    return uploaded, before, left


def test_a_run_goes_up_once_though_it_was_killed_and_moved(tmp_path: Path) -> None:
    logged, moved = tmp_path / "cluster" / "quick", tmp_path / "laptop" / "copied"
    moved.parent.mkdir()
    with wandb_server() as server:
        prompts_logged(logged)
        wandb_script(server, logged, KILLED, account=False)
        sft_logged_again(logged)
        logged.rename(moved)
        assert synced(server, moved) == (3, 0, [])
        arrived = server.requests
        assert synced(server, moved) == (0, 3, [])
        assert server.requests == arrived

    prompts, sft = (
        reader.run(reader.logs(moved / "round-0" / stage / "f00", ended=False)[0]).run_id
        for stage in ("prompts", "sft")
    )
    assert [(row["_step"], row["loss"]) for row in server.history[sft]] == [
        (step, float(step)) for step in range(12)
    ]
    assert server.finished == {prompts: 0, sft: 0}
    states = {a["artifactCollectionName"]: a["state"] for a in server.artifacts}
    assert states == {
        "prompts": "COMMITTED",
        "policy": "COMMITTED",
        f"run-{prompts}-samples": "COMMITTED",
        f"run-{prompts}-samples_every_step": "COMMITTED",
    }
    names = {a["id"]: a["artifactCollectionName"] for a in server.artifacts}
    assert [(run, names[used]) for run, used in server.used] == [(sft, "prompts")]
    assert b'{"text": "[email]"}\n' in server.files.values()


def test_what_was_logged_after_the_server_was_gone_goes_up_later(tmp_path: Path) -> None:
    with wandb_server() as gone:
        stage = subprocess.Popen(
            [sys.executable, "-c", BEFORE + LEFT_ALONE, str(tmp_path)],
            env=environment_for(gone, tmp_path, account=True),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert stage.stdout is not None
        assert stage.stdout.readline() == "ready\n"
    _, said = stage.communicate("\n", timeout=60)
    assert (stage.returncode, said.count("did not take the rest"), said.count("\n")) == (0, 1, 1)
    with wandb_server() as server:
        assert synced(server, tmp_path) == (1, 0, [])
        ((run, rows),) = server.history.items()
        assert [row["loss"] for row in rows if "loss" in row] == list(map(float, range(9)))
        assert [(one["runName"], one["text"]) for one in server.alerts] == [(run, "All is lost.")]


def test_what_a_broken_server_refuses_is_left_and_goes_up_later(tmp_path: Path) -> None:
    with wandb_server() as server:
        prompts_logged(tmp_path)
        server.fault = "500"
        uploaded, before, ((folder, reason),) = synced(server, tmp_path)
        assert (uploaded, before) == (0, 0)
        assert folder.startswith(str(tmp_path / "round-0/prompts/f00/wandb/offline-run-"))
        assert "HTTP 500" in reason or "giving up" in reason
        server.fault = None
        assert synced(server, tmp_path) == (1, 0, [])
        assert len(server.history) == 1


def test_files_that_are_gone_are_named(tmp_path: Path) -> None:
    with wandb_server() as server:
        prompts_logged(tmp_path)
        (gone,) = tmp_path.rglob("files/rows.jsonl")
        gone.unlink()
        uploaded, _, ((_, reason),) = synced(server, tmp_path)
    assert uploaded == 0
    assert reason == f"its figures went up, but 1 of its files are gone, the first {gone}"
    assert len(server.history) == 1


def test_without_an_account_nothing_is_tried(tmp_path: Path) -> None:
    with wandb_server() as server:
        prompts_logged(tmp_path)
        code = SYNC.replace("report =", "try:\n    report =").partition("left =")[0]
        code += "except ValueError as error:\n    print(error)"
        ran = wandb_script(server, tmp_path, code, account=False)
        assert server.requests == 0
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == (
        "W&B has no account on this machine, and 1 of its runs wait in "
        f"{tmp_path}: log in with `wandb login` first\n"
    )


def test_a_run_in_progress_or_without_a_folder_is_refused(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(ValueError, match="is in use by process"):
        sync(tmp_path)
    with pytest.raises(ValueError, match="is not there"):
        sync(tmp_path / "no-such-run")
    assert sync(tmp_path).uploaded == ()


@given(st.lists(st.integers(0, 3 * BLOCK_BYTES), max_size=6), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_a_log_is_written_as_wandb_writes_it(sizes: list[int], seed: int) -> None:
    """Header and blocks checked piece by piece against the format, not against our reader alone."""
    made = random.Random(seed)
    records = [made.randbytes(size) for size in sizes]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "run-a.wandb"
        log.write_bytes(b":W&B\x00\x01\x00")
        write_records(log, records)
        data = log.read_bytes()
        assert list(read_records(log)) == records
        log.write_bytes(data[:-1])
        assert list(read_records(log)) == (records[:-1] if records else [])
    assert data[:7] == b":W&B\x00\x01\x00"
    at = 7
    while at < len(data):
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < 7:
            assert data[at : at + left] == bytes(left)
            at += left
            continue
        crc, size, kind = struct.unpack("<IHB", data[at : at + 7])
        assert size <= left - 7
        assert zlib.crc32(bytes([kind]) + data[at + 7 : at + 7 + size]) == crc
        at += 7 + size
    assert at == len(data)
