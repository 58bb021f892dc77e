"""The reward that the PPO benchmark's policies learn: it counts words, whatever stands around."""

from pathlib import Path

import pytest
from transformers import LlamaForSequenceClassification

from benchmarks.ppo_models import PAD, WORTH, write_models
from rlhf.reward.scorer import Scorer


def test_the_reward_counts_words(tmp_path: Path) -> None:
    write_models(tmp_path, vocab_size=64, hidden_size=32, num_layers=2, ends=0.1, counts=True)
    model = LlamaForSequenceClassification.from_pretrained(tmp_path / "reward")
    texts = [(2, 4, 6), (3, 5, 7), (2, 3, 8), (40, 5, 7, 9), (10, 12)]
    found = Scorer(model, PAD).score([(8, 9)] * len(texts), texts)
    means = [3 / 5, -3 / 5, 1 / 5, -2 / 6, 2 / 4]
    assert found == pytest.approx([WORTH * mean for mean in means], rel=0.05)
