"""Faults become one sentence and an exit code, whoever raised them."""

import errno

import pytest

from pipelines.faults import ExitCode, guarded
from pipelines.sources import parse_row


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


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(FileNotFoundError(errno.ENOENT, "No such file or directory", "x.csv"), capsys)
    assert code == ExitCode.MISTAKE
    assert said == "No such file or directory: x.csv\n"


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
