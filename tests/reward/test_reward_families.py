"""Every kind of base model a reward model may start from: scored, trained and saved rightly."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import EOS, PAD, quiet_arguments, tokenizer
from transformers import AutoConfig, AutoModelForSequenceClassification

from rlhf.models.batching import make_rows
from rlhf.models.loading import load_scorer, score_head
from rlhf.models.lora import LoraSettings
from rlhf.models.places import places_of
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.scorer import Scorer, score_rows
from rlhf.reward.trainer import init_head, train_reward

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "bos_token_id": EOS,
    "num_labels": 1,
    "initializer_range": 0.25,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"attention_dropout": 0.3},
    "qwen2": {"attention_dropout": 0.3},
    "qwen3": {"head_dim": 16},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128, "attn_pdrop": 0.3},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.3},
    "bert": {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3},
    "roberta": {"max_position_embeddings": 140},
}
PROMPTS = [[5, 9, 11], [7], [4, 4, 8, 30]]
RESPONSES = [[6, 3, EOS], [9, 17, EOS], [31, EOS, 12, 8, EOS]]  # rows of 6, 4 and 9
TOY = [
    RankedPrompt(
        f"{n}", (5, 6 + n), ((20 + n, EOS), (7, 8, EOS), (30 + n, 7)), (1,) * 3, (1,), (0,), (1.0,)
    )
    for n in range(8)
]


@pytest.fixture(params=FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **{**SIZES, **FAMILIES[request.param]})
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "base")
    tokenizer().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def plain_scores(folder: Path) -> torch.Tensor:
    """What the class itself gives, a row at a time, without our code."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = PAD
    rows = [[*p, *r] for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    with torch.no_grad():
        return torch.cat([model(input_ids=torch.tensor([row])).logits[:, 0] for row in rows])


def trained(base: Path, folder: Path, lora: LoraSettings | None, **changes: Any) -> Path:
    train_reward(
        base,
        TOY,
        [(one.prompt, response) for one in TOY for response in one.responses],
        folder,
        quiet_arguments(folder, per_device_train_batch_size=4, max_steps=3, **changes),
        seed=5,
        dtype="float32",
        lora=lora,
        log=lambda _: None,
        progress=lambda *_: None,
    )
    return folder


def test_scored_where_its_own_class_scores_it_without_dropout(base: Path) -> None:
    model = load_scorer(base, PAD).train()
    found = [score_rows(model, make_rows(PROMPTS, RESPONSES, PAD)).detach() for _ in range(2)]
    assert torch.equal(*found)
    assert torch.allclose(found[0], plain_scores(base), atol=1e-5)


@pytest.mark.parametrize("lora", [None, LoraSettings(r=4)], ids=["whole", "lora"])
def test_trained_head_is_saved_and_any_tool_loads_it(
    base: Path, tmp_path: Path, lora: LoraSettings | None
) -> None:
    still = trained(base, tmp_path / "still", lora, learning_rate=0.0)
    moved = trained(base, tmp_path / "moved", lora, learning_rate=1e-2)
    heads = [score_head(load_scorer(folder, PAD)).weight.detach() for folder in (still, moved)]
    directions = [torch.nn.functional.normalize(head) for head in heads]
    assert float((directions[0] - directions[1]).norm()) > 0.005
    drawn = load_scorer(base, PAD)
    init_head(drawn, 5)
    first = torch.nn.functional.normalize(score_head(drawn).weight.detach())
    assert torch.allclose(directions[0], first, atol=1e-6)
    scorer = Scorer.load(moved, PAD)
    ours = torch.tensor(scorer.score(PROMPTS, RESPONSES)) + scorer.shift
    assert torch.allclose(ours, plain_scores(moved), atol=1e-5)
    prompts = [one.prompt for one in TOY for _ in one.responses]
    scores = torch.tensor(scorer.score(prompts, [r for one in TOY for r in one.responses]))
    assert float(scores.mean()) == pytest.approx(0, abs=1e-4)
    assert float(scores.std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_a_head_of_another_kind_is_refused_by_name() -> None:
    model = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model("llama", **{**SIZES, "num_labels": 1})
    )
    model.score = torch.nn.Sequential(torch.nn.Linear(32, 8), torch.nn.Linear(8, 1))
    with pytest.raises(ValueError, match="LlamaForSequenceClassification has no linear score head"):
        score_head(model)


def test_the_last_place_is_read_and_what_goes_beyond_is_refused_by_name(
    base: Path, tmp_path: Path
) -> None:
    model = load_scorer(base, PAD)
    places = places_of(model)
    table = model.config.model_type in {"gpt2", "opt", "bert", "roberta"}
    assert (places is not None) == table
    if places is None:
        return
    full = (9,) * (places - 2)
    scorer = Scorer.load(base)
    assert scorer.max_tokens == places
    assert len(scorer.score([full], [(7, EOS)])) == 1
    with pytest.raises((IndexError, RuntimeError)):
        scorer.score([full], [(7, 8, EOS)])
    with pytest.raises(ValueError, match=f"has {places + 1} tokens, .* has places for {places}"):
        train_reward(
            base,
            [*TOY, replace(TOY[0], prompt=(*full[1:], 9))],
            [],
            tmp_path / "model",
            quiet_arguments(tmp_path),
            seed=5,
            dtype="float32",
            lora=None,
            log=lambda _: None,
            progress=lambda *_: None,
        )
