"""What is printed is what was meant: square brackets in words and paths are no markup."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.commands.run import _show_end
from pipelines.commands.status import status_command
from pipelines.config import load_config
from pipelines.console import headline

TINY = Path(__file__).parent / "tiny.yaml"


def test_the_commands_at_the_end_keep_their_brackets(tmp_path: Path) -> None:
    runs = tmp_path / "[old] runs"
    config = load_config(TINY, [f"runs_dir='{runs}'"])
    (config.folder / "round-1" / "sample" / "current").mkdir(parents=True)
    console = Console(file=StringIO(), width=400)
    words = "tiny.yaml 'probe={probes: [length, regression]}'"
    _show_end(console, words, config, {}, reported=True)
    assert isinstance(console.file, StringIO)
    said = console.file.getvalue()
    assert f"Rank by hand:     rlhf label {words}\n" in said
    assert f"The evidence:     {runs / 'tiny' / 'report.html'}\n" in said


def test_status_names_a_folder_with_brackets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "[old]"
    (run / "round-1").mkdir(parents=True)
    status_command(run)
    assert "[old], round-1" in capsys.readouterr().out.replace("\n", "")


def test_a_headline_has_no_negative_zero() -> None:
    said = headline("ppo", {"objective/scores": 1.5, "objective/kl": -0.01})
    assert said == "reward 1.50, KL 0.0 nats"
