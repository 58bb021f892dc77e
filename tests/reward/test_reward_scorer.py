"""The scorer: the last token's score, whatever stands around it; zero and unit of the reward."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import EOS, PAD, reward_model, save
from transformers import AutoModelForSequenceClassification

from rlhf.data.records import Message
from rlhf.models.batching import make_rows
from rlhf.models.loading import score_head
from rlhf.reward.normalisation import normalise
from rlhf.reward.scorer import Scorer, score_rows
from rlhf.reward.trainer import init_head

PROMPTS = [[5, 9, 11], [7], [4, 4, 8, 30, 21, 6], [12, 13], [5, 9, 11]]
RESPONSES = [[6, 3, EOS], [9, 17, 20, 2, EOS], [EOS], [31, 8, 8, 8], [14, EOS]]
PAIRS = list(zip(PROMPTS, RESPONSES, strict=True))


def test_score_is_that_of_the_last_token_by_hand() -> None:
    model = reward_model()
    with torch.no_grad():
        found = score_rows(model, make_rows(PROMPTS, RESPONSES, PAD))
        for row, (prompt, response) in enumerate(PAIRS):
            hidden = model.model(input_ids=torch.tensor([[*prompt, *response]])).last_hidden_state
            expected = float(hidden[0, -1] @ model.score.weight[0])
            assert float(found[row]) == pytest.approx(expected, abs=1e-10)


def test_eos_is_part_of_a_finished_response() -> None:
    scorer = Scorer(reward_model(), PAD)
    ended, cut = scorer.score([[5, 9]] * 2, [[6, 3, EOS], [6, 3]])
    assert abs(ended - cut) > 0.01


@pytest.mark.parametrize("budget", [1, 20, 500])
def test_batch_size_order_and_padding_change_nothing(budget: int) -> None:
    scorer = Scorer(reward_model(dtype=torch.float32), PAD)
    expected = [scorer.score([p], [r])[0] for p, r in PAIRS]
    assert scorer.score(PROMPTS, RESPONSES, budget_tokens=budget) == pytest.approx(
        expected, abs=1e-5
    )
    turned = scorer.score(PROMPTS[::-1], RESPONSES[::-1], budget_tokens=budget)
    assert turned[::-1] == pytest.approx(expected, abs=1e-5)
    padded = scorer.score([*PROMPTS, [3] * 60], [*RESPONSES, [EOS]], budget_tokens=budget)
    assert padded[:-1] == pytest.approx(expected, abs=1e-5)


def test_nothing_gives_nothing() -> None:
    assert Scorer(reward_model(), PAD).score([], []) == []


def test_references_score_zero_on_average_with_unit_spread() -> None:
    model = reward_model()
    before = Scorer(model, PAD).score(PROMPTS, RESPONSES)
    found = normalise(model, PAIRS, PAD)
    scorer = Scorer(model, PAD)
    after = scorer.score(PROMPTS, RESPONSES)
    mean = sum(before) / 5
    std = math.sqrt(sum((score - mean) ** 2 for score in before) / 5)
    assert found == pytest.approx((mean, std), abs=1e-6)
    assert scorer.scale == pytest.approx(std, abs=1e-6)
    assert sum(after) / 5 == pytest.approx(0, abs=1e-5)
    assert sum(score**2 for score in after) / 5 == pytest.approx(1, abs=1e-5)
    for i in range(5):
        for j in range(i):
            assert (before[i] > before[j]) == (after[i] > after[j])
            probability = 1 / (1 + math.exp(before[j] - before[i]))
            kept = 1 / (1 + math.exp(scorer.scale * (after[j] - after[i])))
            assert kept == pytest.approx(probability, abs=1e-5)


def test_normalising_again_changes_nothing() -> None:
    model = reward_model()
    normalise(model, PAIRS, PAD)
    once = Scorer(model, PAD).score(PROMPTS, RESPONSES)
    again = normalise(model, PAIRS, PAD)
    assert again[1] == pytest.approx(1, abs=1e-6)
    assert Scorer(model, PAD).score(PROMPTS, RESPONSES) == pytest.approx(once, abs=1e-6)


def test_references_that_all_score_alike_are_only_shifted() -> None:
    model = reward_model()
    weight = model.score.weight.detach().clone()
    found = normalise(model, PAIRS[:1] * 3, PAD)
    assert found[1] < 1e-6
    assert torch.equal(model.score.weight, weight)
    assert Scorer(model, PAD).score(PROMPTS[:1], RESPONSES[:1]) == pytest.approx([0], abs=1e-6)


def test_no_references_are_refused() -> None:
    with pytest.raises(ValueError, match="no reference response to set the zero and the unit"):
        normalise(reward_model(), [], PAD)


def test_scores_that_are_no_numbers_are_refused() -> None:
    model = reward_model()
    with torch.no_grad():
        model.score.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="scores its reference responses nan on average"):
        normalise(model, PAIRS, PAD)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("size", [1, 5])
def test_any_tool_that_loads_a_classifier_gives_the_same_differences(
    tmp_path: Path, side: str, size: int
) -> None:
    model = reward_model(300, dtype=torch.float32)
    normalise(model, PAIRS, PAD)
    save(model, tmp_path)
    ours = Scorer.load(tmp_path, PAD)
    assert ours.scale == Scorer(model, PAD).scale
    expected = torch.tensor(ours.score(PROMPTS, RESPONSES)) + ours.shift
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert plain.config.num_labels == 1
    found = []
    for start in range(0, 5, size):
        rows = [p + r for p, r in PAIRS[start : start + size]]
        width = max(map(len, rows))
        gaps = [[PAD] * (width - len(row)) for row in rows]
        ids, mask = [], []
        for row, gap in zip(rows, gaps, strict=True):
            ids.append(gap + row if side == "left" else row + gap)
            ones, none = [1] * len(row), [0] * len(gap)
            mask.append(none + ones if side == "left" else ones + none)
        with torch.no_grad():
            logits = plain(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits
        found.append(logits[:, 0])
    assert torch.allclose(torch.cat(found), expected, atol=1e-5)


def test_head_is_drawn_from_its_own_seed_with_the_published_spread() -> None:
    drawn = []
    for seed in range(200):
        model = reward_model(dtype=torch.float32, num_hidden_layers=1)
        init_head(model, seed)
        drawn.append(score_head(model).weight.detach().clone())
        init_head(model, seed)
        assert torch.equal(score_head(model).weight, drawn[-1])
    spread = torch.cat(drawn).std()
    assert float(spread) == pytest.approx(1 / math.sqrt(33), rel=0.03)


PLAIN = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, rows = sys.argv[1], json.loads(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
texts = [
    tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    + answer + tokenizer.eos_token
    for turns, answer in rows
]
found = []
for side in ("left", "right"):
    for size in (1, 8):
        scores = []
        for start in range(0, len(texts), size):
            batch = tokenizer(
                texts[start : start + size], padding=True, padding_side=side,
                add_special_tokens=False, return_tensors="pt",
            )
            inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
            with torch.no_grad():
                scores += model(**inputs).logits[:, 0].tolist()
        found.append(scores)
assert not [name for name in sys.modules if name.split(".")[0] in {"rlhf", "pipelines"}]
print(json.dumps(found))
"""


def test_the_saved_folder_gives_the_same_differences_without_our_code(tmp_path: Path) -> None:
    model = reward_model(300, dtype=torch.float32)
    normalise(model, PAIRS, PAD)
    save(model, tmp_path / "model")
    texts = ["Boil it.", "In water.", "", "No.", "I do not know.", "Red.", "Cherries.", "Ann."]
    asked = [[{"role": "user", "content": f"Name {n * 'three '}fruits."}] for n in range(8)]
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            PLAIN,
            str(tmp_path / "model"),
            json.dumps(list(zip(asked, texts, strict=True))),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    prompts = [[Message.from_json(turn) for turn in turns] for turns in asked]
    ours = Scorer.load(tmp_path / "model").score_texts(prompts, texts)
    expected = [one - ours[0] for one in ours]
    assert max(map(abs, expected)) > 0.1
    for scores in json.loads(ran.stdout):
        assert [one - scores[0] for one in scores] == pytest.approx(expected, abs=1e-5)
