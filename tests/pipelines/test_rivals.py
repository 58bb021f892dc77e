"""RLOO, rejection sampling and DPO with ties, in the loop: trained, compared, reported, talked
to.
"""

import json
from pathlib import Path

import pytest
from warm import rlhf

from rlhf.data.policies import TRAINED
from rlhf.tracking.run_folder import StageFolder

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).parent / "tiny.yaml"
ASKED = (
    "ppo.enabled=false",
    "dpo.loss=davidson",
    "rloo.enabled=true",
    "rloo.allow_unfit_reward=true",
    "rloo.trainer={max_steps: 2, max_completion_length: 12, per_device_train_batch_size: 4}",
    "rejection.enabled=true",
    "rejection.num_samples=4",
    "rejection.quantile=0.25",
    "rejection.trainer={max_steps: 2}",
)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    ran = rlhf("run", TINY, f"runs_dir={runs}", *ASKED)
    assert ran.returncode in {0, 3, 4}, ran.stderr
    return runs / "tiny"


def folder(run: Path, stage: str) -> Path:
    found = StageFolder(run / "round-1" / stage).current()
    assert found is not None
    return found


def test_every_rival_is_compared_and_on_the_page(run: Path) -> None:
    policies = json.loads((run / "summary.json").read_text())["policies"]
    assert set(TRAINED) & set(policies) == {"dpo", "rloo", "rejection"}
    assert all("kl" in policies[name] for name in ("dpo", "rloo", "rejection"))
    page = (run / "report.html").read_text()
    assert "RLOO" in page
    assert "Rejection SFT" in page
    assert not (run / "round-1" / "ppo").exists()


def test_rejection_learned_from_the_best_finished_samples(run: Path) -> None:
    result = json.loads((folder(run, "rejection") / "complete.json").read_text())["result"]
    rows = json.loads((folder(run, "rejection") / "chosen.json").read_text())["rows"]
    found = result["prompts"] - result["prompts_without_finished"]
    assert result["chosen"] == len(rows) == found - found // 4
    by_n = list(result["reward_best_of"].values())
    assert len(by_n) == 3
    assert by_n == sorted(by_n)
    assert {row["response"][-1] for row in rows} == {rows[0]["response"][-1]}  # EOS


def test_a_rival_answers_in_the_terminal(run: Path) -> None:
    ran = rlhf("chat", run, "--policy", "rloo", "--compare", "rejection", entered="Hello\n")
    assert ran.returncode == 0, ran.stderr
    assert "rloo:" in ran.stdout
    assert "rejection:" in ran.stdout
