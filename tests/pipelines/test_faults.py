"""Faults become one sentence and an exit code, whoever raised them."""

import errno
from pathlib import Path

import pytest

from pipelines.config import load_config
from pipelines.faults import ExitCode, guarded
from pipelines.runner import Run
from pipelines.sources import parse_row, read_prompts
from rlhf.data.identity import Json
from rlhf.data.jsonl import write_json


def run(error: Exception, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    def app() -> None:
        raise error

    code = guarded(app)
    return code, capsys.readouterr().err


def wrapped() -> Exception:
    inner = OSError(errno.ENOSPC, "No space left on device", "/runs/x")
    outer = RuntimeError("writer failed")
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/runs/x"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 1 vs 0"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
        wrapped(),
    ],
)
def test_a_full_disk_is_named_whoever_met_it(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run(error, capsys)
    assert code == ExitCode.UNEXPECTED
    assert said.startswith("the disk is full")
    assert said.count("\n") == 1


def test_what_was_saved_before_a_surprise_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    error = KeyError("score")
    error.add_note("PPO stopped; the weights before it are saved in checkpoint-8")
    code, said = run(error, capsys)
    assert code == ExitCode.UNEXPECTED
    assert said.splitlines()[:2] == ["KeyError: 'score'", error.__notes__[0]]


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(FileNotFoundError(errno.ENOENT, "No such file or directory", "x.csv"), capsys)
    assert code == ExitCode.MISTAKE
    assert said == "No such file or directory: x.csv\n"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (FileNotFoundError("no weights in the folder"), "no weights in the folder\n"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied\n"),
        (IsADirectoryError(), "IsADirectoryError\n"),
    ],
)
def test_a_missing_file_without_a_name_is_told_by_its_text(
    error: Exception, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(error, capsys) == (ExitCode.MISTAKE, says)


def test_a_surprise_leaves_its_details_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(KeyError("nobody caught this"), capsys)
    assert code == ExitCode.UNEXPECTED
    assert "Traceback" not in said
    path = said.rsplit("details are in ", 1)[1].strip().rstrip(".")
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        assert "nobody caught this" in file.read()


def test_a_preference_row_without_a_prompt_column_has_one_all_the_same() -> None:
    asked = {"role": "user", "content": "Why is the sky blue?"}
    row = {
        "chosen": [asked, {"role": "assistant", "content": "Air scatters blue most."}],
        "rejected": [asked, {"role": "assistant", "content": "It just is."}],
    }
    prompt = parse_row(row)
    assert prompt.text == "Why is the sky blue?"
    assert prompt.demonstration == "Air scatters blue most."


QUICKSTART = Path(__file__).parents[2] / "pipelines/configs/quickstart.yaml"


def prompts_of(folder: Path, held: Json | list[object]) -> tuple[list[str], dict[str, int]]:
    path = folder / "p.json"
    write_json(path, held)
    words = ["labelers=people", f"prompts.source={path}", "model.path=mine", "prompts.count=null"]
    found, dropped = read_prompts(load_config(QUICKSTART, words))
    return [one.text for one in found], dropped


def test_a_json_file_holds_texts_or_objects_or_one_list_of_them(tmp_path: Path) -> None:
    assert prompts_of(tmp_path, ["Why?", "How?"]) == (["Why?", "How?"], {})
    assert prompts_of(tmp_path, {"data": [{"prompt": "Why?"}, "How?"]}) == (["Why?", "How?"], {})
    told, dropped = prompts_of(tmp_path, ["Why?", 3, {"prompt": "How?"}, ["Who?"], "When?"])
    assert told == ["Why?", "How?", "When?"]
    assert dropped == {"neither a text nor an object": 2}


@pytest.mark.parametrize("held", [{"a": ["Why?"], "b": 2}, {"data": "Why?"}, {}])
def test_a_json_file_without_a_list_is_refused_in_one_sentence(tmp_path: Path, held: Json) -> None:
    with pytest.raises(ValueError, match=r"p\.json must hold a list of prompts"):
        prompts_of(tmp_path, held)


def test_a_run_in_several_processes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(Path(__file__).with_name("tiny.yaml"), [f"runs_dir={tmp_path}"])
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="one process, and 2 were started: leave out torchrun"):
        Run(config).execute()
    assert not list(tmp_path.iterdir())
