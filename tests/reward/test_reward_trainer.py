"""Training a reward model: the gradient is the one defined, it learns, resumes, and is saved."""

import copy
import itertools
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import (
    EOS,
    PAD,
    gradients,
    interrupt_after,
    parameters,
    policy,
    quiet_arguments,
    reward_model,
    save,
    tokenizer,
)
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlhf.data.identity import Json
from rlhf.models.batching import make_rows
from rlhf.models.loading import load_scorer, pad_apart_from_eos, score_head
from rlhf.models.lora import LoraSettings
from rlhf.models.training import fit
from rlhf.reward.accuracy import measure, score_ranked
from rlhf.reward.objective import LossName, Objective
from rlhf.reward.rankings import Order, RankedPrompt
from rlhf.reward.scorer import Scorer, score_rows
from rlhf.reward.trainer import (
    RankedCollator,
    RankedDataset,
    RewardArguments,
    RewardTrainer,
    init_head,
    train_reward,
)

Pairs = Sequence[tuple[int, int]]


def ranked(
    name: str, prompt: tuple[int, ...], texts: Sequence[Sequence[int]], *votes: Pairs
) -> Any:
    """A prompt whose rankings share its one vote."""
    better, worse, weight = zip(
        *[(b, w, 1 / len(votes) / len(pairs)) for pairs in votes for b, w in pairs], strict=True
    )
    answers = tuple((*text, EOS) for text in texts)
    return RankedPrompt(name, prompt, answers, (1,) * len(texts), better, worse, weight)


def strict(*order: int) -> Pairs:
    return list(itertools.combinations(order, 2))


# Mixed K, several rankings of one prompt, a tie (2 and 3 of `b`), a two-token prompt.
MIXED = [
    ranked("a", (5, 6), [[7, 8], [9]], strict(1, 0)),
    ranked(
        "b",
        (6,),
        [[7], [8, 8, 8], [9, 3], [4]],
        [*strict(1, 0), (1, 2), (1, 3), (0, 2), (0, 3)],
        strict(3, 0),
    ),
    ranked("c", (9, 9, 9), [[3], [4, 5, 6], [8, 2]], strict(2, 1, 0)),
    ranked("d", (12,), [[30, 31], [32]], strict(0, 1)),
]


def one_step(
    folder: Path, data: Sequence[RankedPrompt], size: int, accumulation: int
) -> torch.Tensor:
    """The gradient of one optimizer step, read off the change of the weights under plain SGD."""
    model = reward_model()
    before = parameters(model)
    trainer = trainer_in(
        folder,
        data,
        model,
        max_steps=1,
        optim="sgd",
        learning_rate=1.0,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
    )
    fit(trainer, log=lambda _: None, progress=lambda *_: None)
    return before - parameters(model)


def trainer_in(
    folder: Path,
    data: Sequence[RankedPrompt],
    model: Any,
    **changes: Any,
) -> RewardTrainer:
    settings = quiet_arguments(folder, remove_unused_columns=False, **changes)
    args = RewardArguments(**settings)
    return RewardTrainer(
        model=model,
        args=args,
        train_dataset=RankedDataset(data),
        data_collator=RankedCollator.for_model(model, PAD, data, args),
    )


def by_definition(data: Sequence[RankedPrompt]) -> torch.Tensor:
    """Mean over prompts, by their shares, of the mean over their rankings' pairs; two forwards of
    one row a pair.
    """
    model = reward_model()
    whole = sum(sum(one.weight) for one in data)
    for one in data:
        for better, worse, weight in zip(one.better, one.worse, one.weight, strict=True):
            first, second = (
                score_rows(model, make_rows([one.prompt], [one.responses[i]], PAD))[0]
                for i in (better, worse)
            )
            (-torch.nn.functional.logsigmoid(first - second) * weight / whole).backward()
    return gradients(model)


def test_gradient_of_a_mixed_batch_is_the_mean_over_prompts(tmp_path: Path) -> None:
    found = one_step(tmp_path, MIXED, 4, 1)
    assert torch.allclose(found, by_definition(MIXED), atol=1e-6)
    assert found.abs().max() > 0.01


@pytest.mark.parametrize("shared", [False, True])
def test_each_response_passes_through_the_model_once(tmp_path: Path, shared: bool) -> None:
    model = reward_model()
    tokens: list[int] = []
    model.model.register_forward_hook(
        lambda _module, _args, named, _out: tokens.append(named["input_ids"].numel()),
        with_kwargs=True,
    )
    data = [MIXED[2], ranked("e", (5, 5, 5), [[3, 3], [4, 4]], strict(0, 1))]  # no padding but one
    trainer = trainer_in(tmp_path, data, model, max_steps=1, per_device_train_batch_size=2)
    trainer.data_collator = RankedCollator(PAD, shared)
    tokens.clear()
    fit(trainer, log=lambda _: None, progress=lambda *_: None)
    # prompts of 3; responses of 2, 4, 3 and 3, 3 with EOS, in one part as wide as the longest
    assert sum(tokens) == (2 * 3 + 5 * 4 if shared else 5 * (3 + 4))


@pytest.mark.parametrize(("size", "accumulation"), [(1, 4), (2, 2)])
def test_accumulated_micro_batches_are_one_batch(
    tmp_path: Path, size: int, accumulation: int
) -> None:
    found = one_step(tmp_path, MIXED, size, accumulation)
    assert torch.allclose(found, one_step(tmp_path, MIXED, 4, 1), atol=1e-7)


@pytest.mark.parametrize(("size", "accumulation"), [(4, 1), (1, 4), (2, 2)])
def test_a_prompt_counts_for_its_share_however_batches_are_cut(
    tmp_path: Path, size: int, accumulation: int
) -> None:
    data = [replace(one, share=share) for one, share in zip(MIXED, (1, 0.25, 0.5, 1), strict=True)]
    expected = by_definition(
        [replace(one, weight=tuple(one.share * w for w in one.weight)) for one in data]
    )
    assert torch.allclose(one_step(tmp_path, data, size, accumulation), expected, atol=1e-6)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1.0])
def test_a_weight_that_makes_no_sense_is_refused_by_name(weight: float) -> None:
    with pytest.raises(ValueError, match="a ranking of a has the weight"):
        RankedDataset([replace(MIXED[0], weight=(weight,))])
    with pytest.raises(ValueError, match="a ranking of a has the weight"):
        RankedDataset([replace(MIXED[0], orders=(Order(((0,), (1,)), weight),))])


def toy(count: int = 24) -> list[RankedPrompt]:
    """Whoever says 7 is better than whoever does not, after any prompt; other tokens vary."""
    generator = torch.Generator().manual_seed(2)
    draw = torch.randint(10, 40, (count, 8), generator=generator).tolist()
    return [
        ranked(
            f"p{n:02}", tuple(d[:3]), [[d[3]], [7, d[4]], [d[5], 7, d[6]]], strict(1, 0), [(2, 0)]
        )
        for n, d in enumerate(draw)
    ]


def train(folder: Path, base: Path, data: Sequence[RankedPrompt], **changes: Any) -> list[Json]:
    logged: list[Json] = []
    lora = changes.pop("lora", None)
    settings = {"learning_rate": 3e-3, "per_device_train_batch_size": 4, **changes}
    train_reward(
        base,
        data,
        [(one.prompt, response) for one in data for response in one.responses],
        folder / "model",
        quiet_arguments(folder, **settings),
        seed=5,
        dtype="float32",
        lora=lora,
        log=logged.append,
        progress=lambda *_: None,
    )
    return logged


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(policy(300, dtype=torch.float32), tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("lora", [None, LoraSettings(r=4, alpha=8)])
def test_it_learns_what_the_rankings_say(
    tmp_path: Path, base: Path, lora: LoraSettings | None
) -> None:
    data = toy()
    rate = 3e-3 if lora is None else 1e-2
    train(tmp_path, base, data[:16], num_train_epochs=6, learning_rate=rate, lora=lora)
    scorer = Scorer.load(tmp_path / "model", PAD)
    held_out = measure(data[16:], score_ranked(scorer, data[16:]), scale=scorer.scale)
    assert held_out.accuracy.value > 0.85
    references = [score for row in score_ranked(scorer, data[:16]) for score in row]
    assert sum(references) / len(references) == pytest.approx(0, abs=1e-5)
    assert sum(score**2 for score in references) / len(references) == pytest.approx(1, abs=1e-4)


def direction_of_head(folder: Path) -> torch.Tensor:
    """The saved head's weights without their length, which normalisation sets."""
    weight = score_head(load_scorer(folder, PAD)).weight.detach()
    return torch.nn.functional.normalize(weight)


def test_the_trained_head_of_lora_is_in_the_saved_folder(tmp_path: Path, base: Path) -> None:
    train(tmp_path, base, toy(8), max_steps=1, learning_rate=0.0, lora=LoraSettings(r=4))
    still = direction_of_head(tmp_path / "model")
    train(tmp_path, base, toy(8), max_steps=4, learning_rate=1e-2, lora=LoraSettings(r=4))
    assert float((direction_of_head(tmp_path / "model") - still).norm()) > 0.005


def test_resuming_gives_the_weights_of_the_uninterrupted_training(
    tmp_path: Path, base: Path
) -> None:
    saving = {"max_steps": 7, "save_strategy": "steps", "save_steps": 2}
    train(tmp_path / "whole", base, toy(), **saving)
    cut = load_scorer(base, PAD)
    init_head(cut, 5)
    trainer = trainer_in(
        tmp_path / "cut",
        toy(),
        cut,
        learning_rate=3e-3,
        per_device_train_batch_size=4,
        **saving,
    )
    trainer.add_callback(interrupt_after(6))
    with pytest.raises(KeyboardInterrupt):
        fit(trainer, log=lambda _: None, progress=lambda *_: None)
    steps: list[Json] = train(tmp_path / "cut", base, toy(), **saving)
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5, 6, 7, 7]
    whole, resumed = (load_scorer(tmp_path / name / "model", PAD) for name in ("whole", "cut"))
    assert torch.equal(parameters(whole), parameters(resumed))
    assert whole.config.reward_shift == resumed.config.reward_shift
    assert whole.config.reward_scale == resumed.config.reward_scale


def test_nothing_to_learn_from_is_refused_before_loading(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no ranking of the train split has a strict pair"):
        train(tmp_path, tmp_path / "no such model", [])


def test_the_trainers_own_smoothing_is_refused(tmp_path: Path, base: Path) -> None:
    with pytest.raises(ValueError, match="set label_smoothing of the loss"):
        train(tmp_path, base, toy(), label_smoothing_factor=0.1)


def test_training_stops_where_validation_no_longer_gains_and_keeps_the_best(
    tmp_path: Path, base: Path
) -> None:
    data = toy()
    # Validation says the opposite of training: the first evaluation is the best.
    against = [
        ranked(one.prompt_id, one.prompt, [r[:-1] for r in one.responses], [(0, 1), (0, 2)])
        for one in data[:4]
    ]
    rows: list[Json] = []
    found = train_reward(
        base,
        data,
        [(one.prompt, response) for one in data for response in one.responses],
        tmp_path / "model",
        quiet_arguments(
            tmp_path,
            max_steps=30,
            learning_rate=5e-3,
            per_device_train_batch_size=4,
            early_stopping_patience=2,
            eval_steps=3,
        ),
        seed=5,
        dtype="float32",
        lora=None,
        log=rows.append,
        progress=lambda *_: None,
        validation=against,
    )
    losses = [row["eval_loss"] for row in rows if "eval_loss" in row]
    assert len(losses) == losses.index(min(losses)) + 3
    assert found.steps == 3 * len(losses) < 30
    # The saved weights are those of the best evaluation.
    best = 3 * (losses.index(min(losses)) + 1)
    again = load_scorer(tmp_path / f"checkpoints/checkpoint-{best}", PAD)
    held = parameters(load_scorer(tmp_path / "model", PAD).model)
    assert torch.equal(held, parameters(again.model))


def test_stopping_early_needs_a_validation_split(tmp_path: Path, base: Path) -> None:
    with pytest.raises(ValueError, match="no validation prompt has a ranking"):
        train(tmp_path, base, toy(), early_stopping_patience=1)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        train(tmp_path, base, toy(), early_stopping_patience=-1)


def tied(share: float, count: int = 24) -> list[RankedPrompt]:
    """Prompts whose two responses tie in this share of them, and are ranked in the rest."""
    data = []
    for n in range(count):
        answers = ((10 + n % 9, EOS), (20 + n % 9, EOS))
        if n < share * count:
            said: Any = ((), (), (), (), (Order(((0, 1),), 1.0),))
        else:
            said = ((1,), (0,), (1.0,), (1,), (Order(((1,), (0,)), 1.0),))
        data.append(RankedPrompt(f"{n:02}", (5, 6), answers, (1, 1), *said))
    return data


@pytest.mark.parametrize("lora", [None, LoraSettings(r=4)])
@pytest.mark.parametrize("loss", ["davidson", "plackett-luce"])
def test_how_readily_equals_tie_is_learned_and_not_saved(
    tmp_path: Path, base: Path, loss: LossName, lora: LoraSettings | None
) -> None:
    found = {}
    for share in (0.25, 0.75):
        found[share] = train_reward(
            base,
            tied(share),
            [((5, 6), (10, EOS)), ((5, 6), (20, EOS))],
            tmp_path / "model",
            quiet_arguments(
                tmp_path, max_steps=12, learning_rate=1e-6, per_device_train_batch_size=24
            ),
            seed=5,
            dtype="float32",
            lora=lora,
            log=lambda _: None,
            progress=lambda *_: None,
            objective=Objective(loss),
        ).nu
    # The first guess takes all scores for equal: 2 t / (1 - t); unlike scores call for more.
    assert found[0.25] is not None
    assert found[0.75] is not None
    assert 2 / 3 < found[0.25] < 2 / 3 * 1.3
    assert 6 < found[0.75] < 6 * 1.3
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert not [name for name in saved if "nu" in name.split(".")[-1]]


@pytest.mark.parametrize(
    "objective",
    [
        Objective(margin=1.0),
        Objective(label_smoothing=0.2),
        Objective(centering=0.1),
        Objective("davidson"),
        Objective("davidson", nu=0.5),
        Objective("plackett-luce"),
    ],
)
def test_every_part_of_the_objective_changes_what_is_learned(
    tmp_path: Path, base: Path, objective: Objective
) -> None:
    def learned(asked: Objective) -> torch.Tensor:
        train_reward(
            base,
            MIXED,
            [((5,), (6, EOS)), ((5,), (7, EOS))],
            tmp_path / "model",
            quiet_arguments(tmp_path, max_steps=2, learning_rate=1e-3),
            seed=5,
            dtype="float32",
            lora=None,
            log=lambda _: None,
            progress=lambda *_: None,
            objective=asked,
        )
        return direction_of_head(tmp_path / "model")

    assert not torch.equal(learned(objective), learned(Objective()))


def test_padding_that_is_eos_is_another_token_in_the_saved_folder(
    tmp_path: Path, base: Path
) -> None:
    data = toy(8)
    scores = {}
    for pad in ("<pad>", "eos", "none"):
        source = tmp_path / f"base-{pad}"
        shutil.copytree(base, source)
        made = AutoTokenizer.from_pretrained(source)
        if pad != "<pad>":
            made.pad_token = made.eos_token if pad == "eos" else None
            made.save_pretrained(source)
        train(tmp_path / pad, source, data, max_steps=2)
        folder = tmp_path / pad / "model"
        scorer = Scorer.load(folder)
        scores[pad] = scorer.score([data[0].prompt] * 3, data[0].responses)
        plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        pad_id = AutoTokenizer.from_pretrained(folder).pad_token_id
        assert pad_id == plain.config.pad_token_id != EOS
        rows = [[*data[0].prompt, *response] for response in data[0].responses]
        width = max(map(len, rows))
        padded = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        with torch.no_grad():
            logits = plain(input_ids=padded, attention_mask=mask).logits[:, 0]
        assert (logits - scorer.shift).tolist() == pytest.approx(scores[pad], abs=1e-5)
    assert scores["eos"] == scores["none"] == pytest.approx(scores["<pad>"], abs=1e-5)


def test_where_eos_is_the_only_special_token_plain_tools_refuse_to_batch() -> None:
    model, made = reward_model(), copy.deepcopy(tokenizer())
    model.config.pad_token_id = EOS
    made.pad_token = made.eos_token
    alone = {EOS: made.added_tokens_decoder[EOS]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(made), "added_tokens_decoder", property(lambda _: alone))
        pad_apart_from_eos(model, made)
    assert model.config.pad_token_id is None
    row = torch.tensor([[5, 9, EOS]])
    expected = Scorer(model, EOS).score([(5, 9)], [(EOS,)])
    assert model(input_ids=row).logits[:, 0].tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match="batch sizes > 1 if no padding token"):
        model(input_ids=row.repeat(2, 1))
