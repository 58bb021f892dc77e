"""A policy pushed to a hub that notes what it gets; and every way in which it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from run_by_hand import policy, results, write_run

from pipelines.commands.push import card_command, push_command
from pipelines.faults import ExitCode
from rlhf.data.identity import Json
from rlhf.reporting.reading import read_run
from rlhf.reporting.verdict import verdict_of


class Hub:
    """What a `HfApi` did: repositories with their privacy, and commits."""

    def __init__(self, public: tuple[str, ...] = (), fault: Exception | None = None) -> None:
        self.private = dict.fromkeys(public, False)
        self.fault = fault
        self.commits: list[tuple[str, str, dict[str, bytes]]] = []

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        if self.fault:
            raise self.fault
        self.private.setdefault(repo, private)
        return f"https://hub.example/{repo}"

    def model_info(self, repo: str) -> Any:
        return type("Info", (), {"private": self.private[repo]})

    def create_commit(self, repo: str, operations: list[Any], *, commit_message: str) -> None:
        files = {one.path_in_repo: Path(one.path_or_fileobj).read_bytes() for one in operations}
        self.commits.append((repo, commit_message, files))


Put = Callable[..., Hub]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a hub in place of the real one, on a machine with a token and a network."""

    def place(**about: Any) -> Hub:
        hub = Hub(**about)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        return hub

    return place


def run_with_models(folder: Path, found: dict[str, Json] | None = None) -> Path:
    run = write_run(folder / "small", found)
    for name in ("sft", "dpo", "ppo"):
        model = run / "round-1" / name / "aaa" / "model"
        model.mkdir()
        (model / "model.safetensors").write_bytes(b"\0" * 1500)
        (model / "config.json").write_text(f'"{name}"')
    return run


def push(run: Path, **asked: Any) -> ExitCode:
    defaults = {"to": "org/small", "policy": None, "private": False, "config": None}
    return push_command(run, **defaults | {"dry_run": False, "anyway": False} | asked)


def test_model_and_cards_are_one_commit(
    tmp_path: Path, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = put()
    run = run_with_models(tmp_path)
    assert push(run, private=True) is ExitCode.DONE
    ((repo, message, files),) = hub.commits
    assert (repo, message, hub.private) == ("org/small", "small: dpo", {"org/small": True})
    assert sorted(files) == ["DATA_CARD.md", "README.md", "config.json", "model.safetensors"]
    assert files["config.json"] == b'"dpo"'
    assert verdict_of(read_run(run)).headline in files["README.md"].decode()
    assert "4 files," in capsys.readouterr().out
    assert push(run, policy="sft") is ExitCode.DONE
    assert hub.commits[1][2]["config.json"] == b'"sft"'


def test_a_dry_run_lists_files_and_sizes_and_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert push(run_with_models(tmp_path), dry_run=True) is ExitCode.DONE
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:-1]] == [
        "config.json",
        "model.safetensors",
        "README.md",
        "DATA_CARD.md",
    ]
    assert said[1].endswith(" 1.5\u202fkB")
    assert "would go to org/small" in said[-1]


def test_what_is_not_to_be_shipped_is_refused_unless_told_otherwise(
    tmp_path: Path, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = put()
    found = results()
    worse = {name: policy(0.30, 0.26, 0.35, kl=9.0) for name in ("dpo", "ppo")}
    found["evaluate"] |= {"verdict": "do not ship"}
    found["evaluate"]["policies"] |= worse
    run = run_with_models(tmp_path, found)
    assert push(run) is ExitCode.DO_NOT_SHIP
    assert push(run, policy="ppo", dry_run=True) is ExitCode.DO_NOT_SHIP
    said = capsys.readouterr()
    assert said.out == ""
    assert "--anyway" in said.err
    assert hub.commits == []
    assert push(run, anyway=True) is ExitCode.DONE
    ((_, _, files),) = hub.commits
    assert "Do not ship" in files["README.md"].decode()


def test_what_the_hub_does_not_take_is_one_sentence(
    tmp_path: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_with_models(tmp_path)
    with pytest.raises(ValueError, match="--to takes ORG/NAME"):
        push(run, to="small")
    hub = put(public=("org/small",))
    with pytest.raises(ValueError, match="org/small is on the hub already, and public"):
        push(run, private=True)
    assert hub.commits == []
    put(fault=ConnectionError("no route to the hub\nat line 3"))
    with pytest.raises(ValueError, match=r"^the hub did not take it: .*no route to the hub$"):
        push(run)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ValueError, match="log in with `hf auth login` first"):
        push(run)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set"):
        push(run)
    (run / "round-1/dpo/aaa/model/model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no weights"):
        push(run, dry_run=True)


def test_cards_are_written_with_what_a_config_states_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_with_models(tmp_path)
    card_command(run, policy=None, out=None, config=None)
    assert capsys.readouterr().out.split() == [
        str(run / "cards" / "README.md"),
        str(run / "cards" / "DATA_CARD.md"),
    ]
    config = tmp_path / "small.yaml"
    config.write_text("name: small\ncard: {license: mit, language: [en], limits: None known.}\n")
    card_command(run, policy="ppo", out=tmp_path / "out", config=config)
    said = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "license: mit" in said
    assert "None known." in said
    assert "# small: PPO" in said
