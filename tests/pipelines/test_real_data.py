"""The loop on real data and a real pretrained model. Minutes each; skipped where the data is
absent.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.feedback.store import Store
from rlhf.reward.bag_of_words import in_folds
from rlhf.reward.votes import accuracy_of, votes_of

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("RLHF_SHARED_DATA", ROOT.parent / "shared" / "data"))
MODEL = SHARED / "stories3M-hf"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not MODEL.exists(), reason=f"no real data at {SHARED}"),
]


def rlhf(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("file", "read", "pairs"),
    [
        ("hh-rlhf/harmless-base-test.jsonl.gz", "read: 2,312 pairs", 2303),
        ("oasst-en100/en_100_tree.jsonl", "kept: 212 groups of replies", 754),
        ("pandalm/testset-v1.json", "read: 999 items", 2272),
    ],
)
def test_imported_preferences_train_a_reward_model_that_is_certified(
    file: str, read: str, pairs: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "imported.db"
    imported = rlhf("import", SHARED / file, "--into", store, "--campaign", "mine")
    assert imported.returncode == 0, imported.stderr
    assert read in imported.stdout
    assert f"strict pairs: {pairs:,}" in imported.stdout
    ran = rlhf(
        "run",
        "pipelines/configs/imported.yaml",
        f"runs_dir={tmp_path}",
        f"label.store={store}",
        f"model.path={MODEL}",
        "--until",
        "certify",
    )
    assert ran.returncode == 0, ran.stderr
    model = json.loads((tmp_path / "imported" / "summary.json").read_text())["reward_model"]
    with capsys.disabled():
        print(  # noqa: T201 - the figure is the point of this test
            f"\n{file}: held-out accuracy {model['accuracy']:.3f} ({model['accuracy_low']:.3f} to "
            f"{model['accuracy_high']:.3f}) on {model['pairs']} pairs of {model['prompts']} "
            "prompts; "
            f"longest is best: {model['length_baseline']:.3f}; bag of words in 5 prompt folds: "
            f"{bag_of_words_in_folds(store):.3f}\n{model['verdict']}: "
            f"{' '.join(model['verdict_says'])}"
        )
    assert 0.35 < model["accuracy_low"] <= model["accuracy"] <= model["accuracy_high"] < 0.9
    assert model["pairs"] > 50
    certified = rlhf("reward", "certify", tmp_path / "imported")
    assert certified.returncode == (0 if model["verdict"] == "fit for RL" else 4)
    assert f"Verdict: {model['verdict']}" in certified.stdout
    if not file.startswith("hh-rlhf"):  # too small to be fit, whatever it says of itself
        assert model["verdict"] == "not yet"


def bag_of_words_in_folds(address: Path) -> float:
    """Accuracy of the bag of words on all votes of a store, each by a model of the other folds."""
    with Store(str(address)) as store:
        campaign = store.campaign("mine")
        votes = votes_of(store.rankings(campaign))
        texts = {one.id: one.text for item in store.items(campaign) for one in item.responses}
    return accuracy_of(votes, in_folds(votes, texts)).value


def test_the_bag_of_words_reaches_what_is_known_of_it(tmp_path: Path) -> None:
    store = tmp_path / "imported.db"
    file = SHARED / "hh-rlhf/harmless-base-test.jsonl.gz"
    assert rlhf("import", file, "--into", store, "--campaign", "mine").returncode == 0
    assert bag_of_words_in_folds(store) == pytest.approx(0.62, abs=0.02)


@pytest.mark.parametrize("lora", ["null", "{r: 16, alpha: 32}"], ids=["full", "lora"])
def test_stories_become_what_the_crew_prefers(lora: str, tmp_path: Path) -> None:
    words = [f"runs_dir={tmp_path}", f"model.path={MODEL}", f"model.lora={lora}"]
    if lora != "null":  # adapters take larger steps
        words += [f"{stage}.trainer.learning_rate=1.0e-3" for stage in ("reward", "dpo", "ppo")]
    ran = rlhf("run", "pipelines/configs/stories.yaml", *words)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    summary = json.loads((tmp_path / "stories" / "summary.json").read_text())
    assert summary["reward_model"]["accuracy_low"] > summary["reward_model"]["length_baseline"]
    for name in ("dpo", "ppo"):
        assert summary["policies"][name]["win_rate_low"] > 0.5, name
