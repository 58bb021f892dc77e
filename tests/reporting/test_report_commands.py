"""`rlhf report` and `rlhf suspicious`: the same page as the stage, what cannot be compared,
and suspicious answers that people can judge.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from run_by_hand import answer_rows, results, write_run

from labeling_app.server import create_app
from pipelines.cli import main
from pipelines.config import RunConfig
from pipelines.faults import ExitCode
from pipelines.stage import Work
from pipelines.stages import report
from rlhf.data.identity import Json
from rlhf.feedback.modes import mode_named
from rlhf.feedback.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))

ORIGIN = "http://127.0.0.1"


def rlhf(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["rlhf", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def a_run(folder: Path, rows: list[Json], **config: Any) -> Path:
    """A run that was evaluated, and no more: three plots."""
    resolved = RunConfig(name=folder.name, seed=1, **config).model_dump(mode="json")
    return write_run(folder, {"evaluate": results()["evaluate"]}, answers=rows, config=resolved)


def suspicious_rows(count: int = 3) -> list[Json]:
    """PPO repeats itself on the first `count` prompts of five; DPO says there what SFT says, at too
    great a length.
    """
    rows = answer_rows([1.0] * 5)
    for row in rows[:count]:
        row["answers"]["ppo"]["text"] = "over and " * 8
        row["answers"]["dpo"] |= {"text": row["answers"]["reference"]["text"], "tokens": 90}
    return rows


def test_the_command_writes_what_the_stage_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = a_run(tmp_path / "small", suspicious_rows())
    assert rlhf(monkeypatch, "report", folder) == ExitCode.DONE
    by_command = (folder / "report.html").read_bytes()
    config = RunConfig(name="small", runs_dir=str(tmp_path))
    made = tmp_path / "stage"
    made.mkdir()
    nothing: Any = lambda *_: None  # noqa: E731
    report.run(Work(config, made, {}, nothing, nothing, nothing))
    assert (made / "report.html").read_bytes() == by_command
    (folder / "report.html").unlink()
    report.show(config, made)
    assert (folder / "report.html").read_bytes() == by_command


def test_several_runs_make_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, prompts in (("one", 5), ("two", 5), ("other", 4)):
        a_run(tmp_path / "runs" / name, answer_rows([1.0] * prompts))
    assert rlhf(monkeypatch, "report", "one", "two", "--out", "both.html") == ExitCode.DONE
    assert "2 runs compared" in (tmp_path / "both.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert rlhf(monkeypatch, "report", "one", "other") == ExitCode.MISTAKE
    said = capsys.readouterr().err
    assert "one and other were judged on different test prompts" in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "comparison.html").exists()


def test_suspicious_answers_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_run(tmp_path / "small", suspicious_rows())
    assert rlhf(monkeypatch, "suspicious", folder, "--most", 2) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "6 suspicious answers of trained policies" in said
    assert "86 % of its word triples are repeats" in said
    assert "and 4 more" in said
    assert not (folder / "rankings.db").exists()  # listing queues nothing
    assert rlhf(monkeypatch, "suspicious", folder, "--store", "x.db") == ExitCode.MISTAKE


def test_nothing_suspicious_makes_no_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_run(tmp_path / "small", answer_rows([1.0] * 5))
    assert rlhf(monkeypatch, "suspicious", folder, "--queue") == ExitCode.DONE
    assert "nothing to queue" in capsys.readouterr().out
    assert not (folder / "rankings.db").exists()


def test_queued_answers_are_served_to_people_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_run(tmp_path / "small", suspicious_rows())
    address = str(folder / "rankings.db")
    for new in (3, 0):
        assert rlhf(monkeypatch, "suspicious", folder, "--queue") == ExitCode.DONE
        assert f"'small/suspicious' holds 3 different pairs, {new} of them new" in (
            capsys.readouterr().out
        )
    # Another evaluation finds two more: the campaign grows.
    a_run(folder, suspicious_rows(5))
    assert rlhf(monkeypatch, "suspicious", folder, "--queue", "--store", address) == ExitCode.DONE
    assert "holds 5 different pairs, 2 of them new" in capsys.readouterr().out
    with Store(address) as store:
        campaign = store.campaign("small/suspicious")
        assert mode_named(campaign.mode).feeds == "evaluation"  # test prompts train nothing
        assert len(list(store.items(campaign))) == 5
    app = create_app(address, "small/suspicious", labeler_id="ada", next_step="")
    with TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN}) as client:
        item = client.post("/api/next").json()["item"]
    assert item["turns"][0]["text"].startswith("Question ")
    texts = {response["text"] for response in item["responses"]}
    assert "over and " * 8 in texts
    assert any(text.startswith("SFT says") for text in texts)
    assert not {"ppo", "reference"} & set(str(item).replace("'", " ").split())  # blind


def test_a_run_without_answers_and_a_store_that_is_not_there_are_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    early = write_run(tmp_path / "early", {"prompts": results()["prompts"]})
    assert rlhf(monkeypatch, "suspicious", early) == ExitCode.MISTAKE
    assert "no evaluated answers yet" in capsys.readouterr().err
    folder = a_run(tmp_path / "small", suspicious_rows())
    gone = tmp_path / "gone.db"
    assert rlhf(monkeypatch, "suspicious", folder, "--queue", "--store", gone) == ExitCode.MISTAKE
    assert not gone.exists()
