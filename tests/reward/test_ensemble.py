"""Several reward models asked together: heads on one trunk or whole models; one zero, one unit."""

import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import EOS, PAD, gradients, parameters, policy, quiet_arguments, reward_model, save
from tiny_models import tokenizer as tiny_tokenizer
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from rlhf.models.batching import make_rows
from rlhf.models.loading import load_scorer, score_head
from rlhf.models.lora import LoraSettings
from rlhf.models.training import fit
from rlhf.reward.ensemble import Combine, Ensemble, Kind
from rlhf.reward.heads import bootstrap_weight, draw_head, heads_of, member_seed, wearing, widen
from rlhf.reward.objective import Objective
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.scorer import Scorer, member_folder, member_rows
from rlhf.reward.seeds import train_seeds
from rlhf.reward.trainer import (
    RankedCollator,
    RankedDataset,
    RewardArguments,
    RewardTrainer,
    Trained,
    train_reward,
)

DATA = [
    RankedPrompt(
        f"p{n}",
        (5, 6 + n),
        ((20 + n, EOS), (7, 8, EOS), (30 + n, 7)),
        (1,) * 3,
        (1, 2),
        (0, 0),
        (0.25, 0.75),
    )
    for n in range(8)
]
REFERENCES = [(one.prompt, response) for one in DATA for response in one.responses]
ASKED: Any = ([(5, 9, 11), (7,), (7,), (7,)], [(6, 3, EOS), (9, 17, EOS), (31, EOS), (8, 8, EOS)])
COMBINES: list[Combine] = ["mean", "minimum", "mean-minus-std"]


def test_combined_by_hand() -> None:
    scores = np.array([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]])
    assert Ensemble(3).combined(scores) == pytest.approx([3, 0])
    assert Ensemble(3, combine="minimum").combined(scores) == pytest.approx([1, 0])
    # deviations -2, -1, 3: the root of 14 / 3
    cautious = Ensemble(3, combine="mean-minus-std", caution=0.5)
    assert cautious.combined(scores) == pytest.approx([3 - 0.5 * (14 / 3) ** 0.5, 0])


@pytest.mark.parametrize("combine", COMBINES)
def test_scaling_and_shifting_members_alike_does_the_same_to_the_score(combine: Combine) -> None:
    scores = np.random.default_rng(0).normal(size=(20, 4))
    ensemble = Ensemble(4, combine=combine)
    assert ensemble.combined(3 * scores - 2) == pytest.approx(3 * ensemble.combined(scores) - 2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"members": 0}, "at least 1, got 0"),
        ({"members": 2, "combine": "max"}, "no combine 'max': there are mean, minimum"),
        ({"members": 2, "kind": "head"}, "no kind 'head': there are heads, seeds"),
        ({"combine": "minimum"}, "raise members"),
        ({"kind": "seeds"}, "raise members"),
        ({"members": 2, "caution": 2.0}, "caution goes with combine mean-minus-std, not mean"),
        ({"members": 2, "combine": "mean-minus-std", "caution": -1.0}, "0 or more, got -1"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Ensemble(**settings)


def test_bootstrap_weights_are_exponential_draws_of_their_own() -> None:
    drawn = [[bootstrap_weight(3, f"p{n}", m) for n in range(4000)] for m in (0, 1)]
    for row in drawn:
        assert statistics.fmean(row) == pytest.approx(1, abs=0.06)
        assert statistics.stdev(row) == pytest.approx(1, abs=0.1)
        assert min(row) > 0
    assert abs(statistics.correlation(*drawn)) < 0.06
    assert bootstrap_weight(3, "p0", 0) == drawn[0][0] != bootstrap_weight(4, "p0", 0)


@pytest.mark.parametrize(("size", "accumulation"), [(4, 1), (2, 2), (1, 4)])
@pytest.mark.parametrize("loss", ["bradley-terry", "plackett-luce"])
def test_gradient_is_the_mean_over_members_of_their_weighted_prompts(
    tmp_path: Path, size: int, accumulation: int, loss: Any
) -> None:
    objective = Objective(loss, nu=0.5 if loss == "plackett-luce" else None)
    data = DATA[:4]
    model = reward_model()
    widen(model, 3, 5)
    before = parameters(model)
    args = RewardArguments(
        **quiet_arguments(
            tmp_path,
            remove_unused_columns=False,
            max_steps=1,
            optim="sgd",
            learning_rate=1.0,
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            seed=11,
        )
    )
    trainer = RewardTrainer(
        model=model,
        args=args,
        train_dataset=RankedDataset(data),
        data_collator=RankedCollator.for_model(model, PAD, data, args),
        members=3,
        objective=objective,
    )
    fit(trainer, log=lambda _: None, progress=lambda *_: None)
    found = before - parameters(model)
    again = reward_model()
    widen(again, 3, 5)
    for one in data:
        scores = member_rows(again, make_rows([one.prompt] * 3, one.responses, PAD))
        total = torch.zeros((), dtype=torch.float64)
        for member in range(3):
            own = scores[:, member]
            for b, w, share in zip(one.better, one.worse, one.weight, strict=True):
                worths = [own[b], own[w]]
                if loss == "plackett-luce":
                    worths.append(np.log(0.5) + (own[b] + own[w]) / 2)  # a tie
                cost = torch.stack(worths).logsumexp(0) - own[b]
                total = total + share * cost * bootstrap_weight(11, one.prompt_id, member)
        (total / 3 / len(data)).backward()
    assert torch.allclose(found, gradients(again), atol=1e-6)
    assert found.abs().max() > 0.01


def test_the_first_head_is_the_one_that_would_be_drawn_alone() -> None:
    model = reward_model(dtype=torch.float32)
    torch.manual_seed(3)
    widen(model, 3, 5)
    following = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(following, torch.rand(1)), "the global random numbers are left alone"
    found = heads_of(model)
    for member in range(3):
        assert torch.equal(found.weight[member], draw_head(32, member_seed(5, member)))
    assert not torch.equal(found.weight[0], found.weight[1])
    widen(model, 1, 5)
    assert torch.equal(score_head(model).weight[0], found.weight[0])
    with wearing(model, found):
        assert model.config.num_labels == 3
    assert model.config.num_labels == score_head(model).out_features == 1


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(policy(300, dtype=torch.float32), tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder")
    sizes: Any = {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
        "pad_token_id": PAD,
        "num_labels": 1,
        "initializer_range": 0.25,
    }
    config = AutoConfig.for_model("bert", **sizes)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def trained(
    base: Path, folder: Path, ensemble: Ensemble, *, seed: int = 5, lora: LoraSettings | None = None
) -> Trained:
    return train_reward(
        base,
        DATA,
        REFERENCES,
        folder,
        quiet_arguments(
            folder.parent / f"work-{folder.name}",
            max_steps=3,
            learning_rate=1e-2,
            per_device_train_batch_size=4,
        ),
        seed=seed,
        dtype="float32",
        lora=lora,
        log=lambda _: None,
        progress=lambda *_: None,
        ensemble=ensemble,
    )


def ensembled(base: Path, folder: Path, ensemble: Ensemble, lora: LoraSettings | None) -> Trained:
    if ensemble.kind == "heads":
        return trained(base, folder, ensemble, lora=lora)
    return train_seeds(
        lambda place, seed, _: trained(base, place, Ensemble(), seed=seed, lora=lora),
        ensemble,
        folder,
        REFERENCES,
        PAD,
        seed=5,
        dtype="float32",
    )


def check(folder: Path, ensemble: Ensemble) -> None:
    """One zero, one unit; the score is what becomes of the members'; plain tools get their head."""
    scorer = Scorer.load(folder, PAD)
    assert scorer.ensemble == ensemble
    prompts, responses = zip(*REFERENCES, strict=True)
    score = np.array(scorer.score(prompts, responses))
    assert score.mean() == pytest.approx(0, abs=1e-4)
    assert score.std() == pytest.approx(1, abs=1e-4)
    members = np.array(scorer.score_members(prompts, responses))
    assert members.shape == (len(prompts), 3)
    assert ensemble.combined(members) == pytest.approx(score, abs=1e-4)
    # No member is above another on the whole.
    assert members.mean(0) == pytest.approx(members.mean(), abs=1e-4)
    assert members.std(1).mean() > 0.02
    budgets = [np.array(scorer.score_members(*ASKED, budget_tokens=one)) for one in (1, 500)]
    assert budgets[0] == pytest.approx(budgets[1], abs=1e-4)
    plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert plain.config.num_labels == 1
    with torch.no_grad():
        logits = [
            float(plain(input_ids=torch.tensor([[*p, *r]])).logits[0, 0])
            for p, r in zip(*ASKED, strict=True)
        ]
    held = budgets[0].mean(1) if ensemble.kind == "heads" else budgets[0][:, 0]
    assert np.diff(logits) == pytest.approx(np.diff(held), abs=1e-4)
    assert scorer.score([], []) == []
    assert scorer.score_members([], []) == []


@pytest.mark.parametrize(
    ("kind", "combine", "lora"),
    [
        ("heads", "mean", None),
        ("heads", "minimum", LoraSettings(r=4)),
        ("heads", "mean-minus-std", None),
        ("seeds", "mean", None),
        ("seeds", "minimum", LoraSettings(r=4)),
    ],
)
def test_members_have_one_zero_and_one_unit(
    base: Path, tmp_path: Path, kind: Kind, combine: Combine, lora: LoraSettings | None
) -> None:
    ensemble = Ensemble(3, kind, combine)
    found = ensembled(base, tmp_path / "model", ensemble, lora)
    assert found.steps == (3 if kind == "heads" else 9)
    check(tmp_path / "model", ensemble)


def test_where_pad_is_eos_plain_tools_read_the_saved_members(base: Path, tmp_path: Path) -> None:
    source = tmp_path / "base"
    shutil.copytree(base, source)
    made = AutoTokenizer.from_pretrained(source)
    made.pad_token = made.eos_token
    made.save_pretrained(source)
    train_seeds(
        lambda place, seed, _: trained(source, place, Ensemble(), seed=seed),
        Ensemble(2, "seeds"),
        tmp_path / "model",
        REFERENCES,
        EOS,
        seed=5,
        dtype="float32",
    )
    members = np.array(Scorer.load(tmp_path / "model", EOS).score_members(*ASKED))
    rows = make_rows(ASKED[0], ASKED[1], PAD)
    for number in range(2):
        folder = member_folder(tmp_path / "model", number)
        plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        assert (
            AutoTokenizer.from_pretrained(folder).pad_token_id == plain.config.pad_token_id == PAD
        )
        with torch.no_grad():
            logits = plain(input_ids=rows.input_ids, attention_mask=rows.attention_mask).logits
        assert np.diff(logits[:, 0]) == pytest.approx(np.diff(members[:, number]), abs=1e-4)


def test_heads_on_an_encoder(encoder: Path, tmp_path: Path) -> None:
    ensemble = Ensemble(3, combine="minimum")
    trained(encoder, tmp_path / "model", ensemble)
    check(tmp_path / "model", ensemble)


def test_a_model_without_members_is_its_own_only_one() -> None:
    scorer = Scorer(reward_model(), PAD)
    assert scorer.score_members(*ASKED) == [[score] for score in scorer.score(*ASKED)]


@pytest.mark.parametrize("kind", ["heads", "seeds"])
def test_members_that_are_not_there_are_refused_by_name(
    base: Path, tmp_path: Path, kind: Kind
) -> None:
    ensembled(base, tmp_path / "model", Ensemble(2, kind), None)
    if kind == "heads":
        (tmp_path / "model" / "members.safetensors").unlink()
    else:
        (member_folder(tmp_path / "model", 1) / "config.json").unlink()
    with pytest.raises(ValueError, match="members"):
        Scorer.load(tmp_path / "model", PAD)
    assert load_scorer(tmp_path / "model", PAD).config.num_labels == 1
