"""`rlhf verdict` and `rlhf power` on a run folder written by hand: words, JSON and exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from run_by_hand import policy, results, write_run
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.summary import summarise
from rlhf.data.identity import Json
from rlhf.evaluation.openings import Opening, read_openings, write_opening
from rlhf.reporting.reading import read_run
from rlhf.reporting.verdict import verdict_of
from rlhf.tracking.run_folder import Completion

Found = dict[str, Json]


def rlhf(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def written(folder: Path, change: Callable[[Found], object] = lambda _: None) -> Path:
    found = results()
    change(found)
    return write_run(folder / "small", found)


def lost(found: Found) -> None:
    for name in ("dpo", "ppo"):
        found["evaluate"]["policies"][name] = policy(0.41, 0.36, 0.46)


def few(found: Found) -> None:
    found["evaluate"]["prompts"] = 3


def fooled(found: Found) -> None:
    """A reward model that learned length, and a policy that climbed it."""
    rows = found["evaluate"]["policies"]
    rows["longest_of_16"] = policy(
        0.44, 0.39, 0.49, proxy_win_rate=0.93, proxy_win_rate_low=0.9, mean_tokens=60.0
    )
    equal = {"rate": 0.51, "low": 0.44, "high": 0.58, "effect": 3.0}
    rows["dpo"] |= {"length_controlled": equal, "mean_tokens": 55.0}


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda _: None, 0, "Verdict: ship (dpo)"),
        (lost, 3, "Verdict: do not ship (dpo)"),
        (few, 4, "3 comparisons are too few for any verdict: it takes 100, 97 more"),
        (lambda found: found.pop("evaluate"), 4, "The policies have not been compared"),
    ],
)
def test_the_exit_code_is_the_verdict(
    tmp_path: Path, change: Callable[[Found], object], code: int, words: str
) -> None:
    said = rlhf("verdict", written(tmp_path, change))
    assert said.exit_code == code
    assert words in " ".join(said.stdout.split())


def test_length_passing_for_quality_heads_the_verdict_and_the_report(tmp_path: Path) -> None:
    run = written(tmp_path, fooled)
    said = rlhf("verdict", run)
    assert said.exit_code == 4
    words = " ".join(said.stdout.split())
    first = "Length trap: DPO wins by length. It beats SFT in 70 % of comparisons, but where"
    second = "Length trap: the reward model has learned length."
    assert words.index(first) < words.index(second) < words.index("DPO, the better of")
    page = verdict_of(read_run(run))
    assert page.tone == "wait"
    assert page.sentences[0].replace("\u202f", " ").startswith(first)


def test_another_policy_another_gate_and_json(tmp_path: Path) -> None:
    run = written(tmp_path)
    gate = tmp_path / "strict.yaml"
    words = "title: wins, unit: share, required: true, why: w, remedy: r"
    gate.write_text(f"- {{name: win_rate, above: 0.72, {words}}}")
    said = rlhf("verdict", run, "--policy", "ppo", "--gate", gate, "--json")
    found = json.loads(said.stdout)
    assert (said.exit_code, found["decision"], found["policy"]) == (4, "not enough evidence", "ppo")
    assert [check["name"] for check in found["checks"]] == ["win_rate"]
    assert found["checks"][0]["above"] == 0.72
    unknown = rlhf("verdict", run, "--policy", "rloo")
    assert "no trained policy 'rloo' was evaluated: choose dpo, ppo" in str(unknown.exception)


def test_the_report_the_summary_and_the_command_say_the_same(tmp_path: Path) -> None:
    run = written(tmp_path)
    for number, name in enumerate("abc"):
        at = f"2026-11-2{number}T10:00:00+00:00"
        write_opening(run, Opening(at, "l", "small", "round-1", name, 3, "t", ("dpo",), "built-in"))
    command = json.loads(rlhf("verdict", run, "--json").stdout)
    page = verdict_of(read_run(run))
    assert page.headline == command["headline"]
    assert [one.replace("\u202f", " ") for one in page.sentences] == command["sentences"]
    assert command["sentences"][-1].startswith(
        "The test split was opened for evaluation 3 times, first"
    )
    done = {
        name: Completion(name, "0", 1.0, 1, "2026", result)
        for name, result in results().items()
        if name in {"evaluate", "ppo"}
    }
    summary = summarise(done, openings=read_openings(run), simulated=read_run(run).simulated)
    assert list(summary["verdict_says"]) == command["sentences"]
    assert (summary["verdict"], summary["best"]) == (command["decision"], command["policy"])
    assert summary["verdict_headline"] == command["headline"]


def test_power_counts_what_is_missing(tmp_path: Path) -> None:
    said = rlhf("power", "--rate", 0.6)
    assert "Collect 194 more judgements to tell 60 % from 50 %." in said.stdout
    run = written(tmp_path)
    enough = rlhf("power", "--from", run)
    assert "There are 400 comparisons, which tell 57 % or more." in enough.stdout
    assert "They are enough to tell 70 % from 50 %: 47 would do." in enough.stdout
    more = rlhf("power", "--from", run, "--rate", 0.55)
    assert "Collect 383 more judgements to tell 55 % from 50 %." in more.stdout
    assert "to tell 60 % from 55 %" in rlhf("power", "--rate", 0.6, "--against", 0.55).stdout
    assert "which win rate?" in str(rlhf("power").exception)
