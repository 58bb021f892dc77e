"""The logs of run folders: listed, linked for W&B's viewer, and opened in it on a real terminal."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from pipelines.commands.runs import runs_command
from rlhf.data.jsonl import write_json
from rlhf.tracking.mirror import WandbSettings, open_mirror
from rlhf.tracking.run_folder import MARKER, StageFolder
from rlhf.tracking.viewing import link_runs, logged_runs

ROOT = Path(__file__).parents[2]


def logged(run: Path, stage: str, at: str, fingerprint: str = "f00", *, done: bool = True) -> Path:
    """An empty log in the folder of a stage that is in use."""
    folder = run / "round-1" / stage / fingerprint
    log = folder / "wandb" / f"offline-run-{at}-stage-{stage}" / f"run-stage-{stage}.wandb"
    log.parent.mkdir(parents=True)
    log.write_bytes(b":W&B")
    if done:
        write_json(folder / MARKER, {})
    StageFolder(folder.parent).point(fingerprint)
    return log


def test_the_logs_in_use_are_found_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    logged(first, "sft", "20260102_000000", "f99")
    ppo = logged(first, "ppo", "20260103_000000", done=False)
    sft = logged(first, "sft", "20260101_000000")  # in use now; f99 is not
    sft.with_suffix(".wandb.synced").touch()
    later = logged(second, "sft", "20260104_000000")

    of_one = logged_runs(first)
    assert [(r.run, r.round, r.stage, r.fingerprint, r.started_at) for r in of_one] == [
        ("first", "round-1", "sft", "f00", "20260101_000000"),
        ("first", "round-1", "ppo", "f00", "20260103_000000"),
    ]
    assert [(r.complete, r.uploaded) for r in of_one] == [(True, True), (False, False)]
    of_all = logged_runs(tmp_path)
    assert [r.log for r in of_all] == [sft, ppo, later]
    assert [r.log for r in logged_runs(tmp_path, "ppo")] == [ppo]

    linked = link_runs(of_all, tmp_path / "wandb")
    assert {str(path.relative_to(linked)): path.resolve() for path in linked.rglob("*.wandb")} == {
        "run-20260101_000000-sft.first/run-sft.first.wandb": sft,
        "run-20260103_000000-ppo.first/run-ppo.first.wandb": ppo,
        "run-20260104_000000-sft.second/run-sft.second.wandb": later,
    }


def test_without_a_terminal_there_is_a_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = tmp_path / "quick"
    logged(quick, "sft", "20260101_103000")
    logged(quick, "ppo", "20260101_110000", done=False)
    runs_command(quick, stage=None, listed=False)
    said = capsys.readouterr().out
    assert "2026-01-01 10:30 │ complete" in said
    assert "2026-01-01 11:00 │ cut short" in said
    assert "`wandb leet LOG`" in said
    with pytest.raises(ValueError, match=r"no W&B run of the dpo stage in .*wandb.enabled"):
        runs_command(quick, stage="dpo", listed=False)
    with pytest.raises(ValueError, match=r"no run at .*nowhere"):
        runs_command(tmp_path / "nowhere", stage=None, listed=True)


def test_without_the_viewer_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wandb.cli.cli import cli

    logged(tmp_path / "quick", "sft", "20260101_103000")
    monkeypatch.delitem(cli.commands, "leet")
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    with pytest.raises(ValueError, match="pip install -U wandb"):
        runs_command(tmp_path / "quick", stage=None, listed=False)


@pytest.mark.slow
def test_the_viewer_opens_on_the_stages_of_a_run(tmp_path: Path) -> None:
    """In a pseudo-terminal, as a person would see it; `q` leaves it."""
    for stage in ("sft", "dpo"):
        folder = tmp_path / "quick" / "round-1" / stage / "f00"
        folder.mkdir(parents=True)
        mirror = open_mirror(
            WandbSettings(), folder=folder, run="quick", stage=stage, fingerprint="f00", config={}
        )
        mirror.log({f"{stage}/loss": 0.5}, step=0)
        mirror.finish({})
        StageFolder(folder.parent).point("f00")
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "WANDB_CONFIG_DIR": str(tmp_path)}
    opened = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "runs", str(tmp_path / "quick")],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=ROOT,
        env=environment,
    )
    os.close(follower)
    seen, until = b"", time.monotonic() + 60
    try:
        while not (b"-sft" in seen and b"-dpo" in seen and b"Run Overview" in seen):
            assert time.monotonic() < until, seen[-2000:]
            if select.select([leader], [], [], 1)[0]:
                seen += os.read(leader, 65536)
        while opened.poll() is None:
            assert time.monotonic() < until, "q did not leave it"
            os.write(leader, b"q")
            if select.select([leader], [], [], 0.5)[0]:
                try:
                    os.read(leader, 65536)
                except OSError:  # the other end is closed
                    break
        assert opened.wait(10) == 0
    finally:
        opened.kill()
        os.close(leader)
