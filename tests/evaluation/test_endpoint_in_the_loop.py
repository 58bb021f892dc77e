"""A tiny run whose judge is an endpoint: what it said is paid once, whatever happens in between."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from endpoint_by_hand import Reply, served

from rlhf.evaluation.llm_judge import read_kept
from rlhf.evaluation.openings import evaluations, read_openings

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests/pipelines/tiny.yaml"


def rlhf(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *map(str, words)]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=quiet)


@pytest.mark.slow
def test_an_endpoint_that_fails_half_way_is_asked_for_the_rest_only(tmp_path: Path) -> None:
    broken = True

    def answer(text: str) -> Reply:
        return 503 if broken and len(server.asked) > 30 else f"[[{'AB'[len(text) % 2]}]]"

    with served(answer) as server:
        words = (
            "run",
            TINY,
            f"runs_dir={tmp_path}",
            "dpo.enabled=false",
            "evaluate.judge=endpoint",
            f"evaluate.endpoint={{url: {server.url}, model: judge-1, retries: 0, concurrency: 1}}",
        )
        stopped = rlhf(*words)
        assert stopped.returncode == 2, stopped.stderr
        assert "is of no use" in stopped.stderr
        assert "x HTTP 503" in stopped.stderr
        kept = read_kept(tmp_path / "tiny/judge-replies.jsonl")
        broken = False
        before = len(server.asked)
        went_on = rlhf(*words)
        assert went_on.returncode == 4, went_on.stderr
    assert len(kept) == 30
    asked = set(server.questions[:30])
    assert not asked & set(server.questions[before:])
    summary = json.loads((tmp_path / "tiny/summary.json").read_text())
    assert summary["judge"] == "endpoint:judge-1"
    assert summary["verdict"] == "not enough evidence"
    assert "10 comparisons are too few" in summary["verdict_says"][0]
    assert len(evaluations(read_openings(tmp_path / "tiny"))) == 2
    assert "asked in both orders" in (tmp_path / "tiny/report.html").read_text()
    verdict = rlhf("verdict", tmp_path / "tiny")
    assert verdict.returncode == 4
    assert "opened" not in verdict.stdout  # twice, for the same evaluation
