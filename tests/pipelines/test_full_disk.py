"""A disk that fills up in a stage: nothing half-written counts, and the same command goes on."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import graph
from pipelines.config import load_config
from pipelines.faults import ExitCode, guarded
from pipelines.runner import Run
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_jsonl, write_json, write_jsonl
from rlhf.tracking.ledger import read_ledger
from rlhf.tracking.run_folder import StageFolder

QUICKSTART = Path(__file__).parents[2] / "pipelines/configs/quickstart.yaml"
ROWS: list[Json] = [{"row": number} for number in range(50)]


class Disk:
    """Takes everything until it is `full`; then nothing gets onto it."""

    full = False

    def fsync(self, number: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.fstat(number)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr("rlhf.data.jsonl.os.fsync", made.fsync)
    return made


def run_of(folder: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Work], Json]) -> Run:
    """A run of two stages: one that is fine, and one that does `work`."""

    def fine(work: Work) -> Json:
        write_json(work.folder / "fine.json", 1)
        return {}

    stages = (
        Stage("prompts", "first", (), 1, lambda _: {}, fine),
        Stage("sft", "second", ("prompts",), 1, lambda _: {}, work),
    )
    monkeypatch.setattr(graph, "STAGES", stages)
    words = [f"runs_dir={folder}", "wandb.enabled=false"]
    return Run(load_config(QUICKSTART, words))


@pytest.mark.parametrize("moment", ["in the middle of a file", "before the marker"])
def test_what_a_full_disk_cut_short_is_not_complete(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    disk: Disk,
    moment: str,
) -> None:
    fill = [True, False]  # the second time there is room

    def work(work: Work) -> Json:
        write_json(work.folder / "before.json", len(fill))
        full = fill.pop(0)
        if moment == "before the marker":
            write_jsonl(work.folder / "rows.jsonl", ROWS)
            disk.full = full
        else:
            disk.full = full
            write_jsonl(work.folder / "rows.jsonl", ROWS)
        return {}

    def attempt() -> None:
        run_of(tmp_path, monkeypatch, work).execute()

    assert guarded(attempt) == ExitCode.UNEXPECTED
    assert "the disk is full" in capsys.readouterr().err
    run = run_of(tmp_path, monkeypatch, work)
    folder = StageFolder(run.folder / "sft")
    assert folder.current() is None
    assert folder.completed() == []
    assert not list(run.folder.rglob(".*.tmp")), "nothing half-written is left lying"
    (begun,) = (path for path in folder.root.iterdir() if path.is_dir())
    assert (begun / "rows.jsonl").exists() == (moment == "before the marker")
    first, second = run.plan()
    assert (first.why, second.why) == ("complete", "was cut short")

    disk.full = False
    done = run.execute()["sft"]
    made = folder.at(done.fingerprint)
    assert list(read_jsonl(made / "rows.jsonl")) == ROWS
    assert (made / "before.json").read_text().strip() == "1", "written anew"
    outcomes = [one.outcome for one in read_ledger(run.config.folder, [])]
    assert outcomes.count("complete") == 2
    assert set(outcomes) <= {"complete", "failed", "killed"}
