"""DPO on rankings: at the reference, against TRL, against pi*, resumed, with LoRA."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from dpo_hands import DATA, SGD, ranked, run, trainer_in
from tiny_models import (
    PAD,
    every_response,
    gradients,
    interrupt_after,
    parameters,
    policy,
    quiet_arguments,
    save,
    tokenizer,
)

from rlhf.data.identity import Json
from rlhf.data.records import Message, Prompt
from rlhf.models.batching import make_rows, response_logprobs
from rlhf.models.conversation import prompt_ids, response_ids
from rlhf.models.loading import load_policy
from rlhf.models.lora import LoraSettings
from rlhf.policy.dpo import DPOTrainer, reference_logprobs, train_dpo
from rlhf.reward.losses import kwise_loss
from rlhf.reward.objective import Objective
from rlhf.reward.rankings import Order, RankedPrompt


def test_reference_logprobs_are_in_the_order_of_the_data() -> None:
    flat = [(one.prompt, response) for one in DATA for response in one.responses]
    with torch.no_grad():
        alone = [
            float(response_logprobs(policy(), make_rows([p], [r], PAD)).sum()) for p, r in flat
        ]
    found = reference_logprobs(policy(), DATA, PAD)
    assert found.tolist() == pytest.approx(alone, abs=1e-10)


@pytest.mark.parametrize("beta", [0.01, 0.1, 2.0])
def test_at_the_reference_the_loss_is_ln_2_and_its_slope_half_of_beta(
    tmp_path: Path, beta: float
) -> None:
    model, pair = policy(), DATA[:1]
    before = parameters(model)
    logged = run(trainer_in(tmp_path, pair, model, policy(), beta=beta, **SGD))
    assert logged[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert logged[0]["rewards/margins"] == pytest.approx(0, abs=1e-10)
    twin = policy()
    chosen, rejected = response_logprobs(
        twin, make_rows([pair[0].prompt] * 2, pair[0].responses, PAD)
    ).sum(1)
    (chosen - rejected).backward()
    assert torch.allclose(before - parameters(model), -beta / 2 * gradients(twin), atol=1e-8)


def test_a_mixed_batch_is_the_mean_over_prompts_of_the_mean_over_pairs(tmp_path: Path) -> None:
    model, reference, beta = policy(), policy(seed=9), 0.3
    before = parameters(model)
    logged = run(trainer_in(tmp_path, DATA, model, reference, beta=beta, **SGD))
    twin = policy()
    total = torch.zeros((), dtype=torch.float64)
    right = margin = 0.0
    for one in DATA:
        for better, worse, weight in zip(one.better, one.worse, one.weight, strict=True):
            logs = []
            for i in (better, worse):
                rows = make_rows([one.prompt], [one.responses[i]], PAD)
                with torch.no_grad():
                    base = response_logprobs(reference, rows).sum()
                logs.append(response_logprobs(twin, rows).sum() - base)
            gap = beta * (logs[0] - logs[1])
            total = total - weight / 3 * torch.nn.functional.logsigmoid(gap)
            margin += float(gap.detach()) * weight / 3
            right += float(gap.detach() > 0) * weight / 3
    total.backward()
    assert logged[0]["loss"] == pytest.approx(float(total.detach()), abs=1e-6)
    assert logged[0]["rewards/margins"] == pytest.approx(margin, abs=1e-6)
    assert logged[0]["rewards/accuracies"] == pytest.approx(right, abs=1e-6)
    assert torch.allclose(before - parameters(model), gradients(twin), atol=1e-6)


def test_accumulated_micro_batches_are_one_batch(tmp_path: Path) -> None:
    moved = []
    for size, accumulation in ((3, 1), (1, 3)):
        model = policy()
        settings = SGD | {
            "per_device_train_batch_size": size,
            "gradient_accumulation_steps": accumulation,
        }
        logged = run(trainer_in(tmp_path, DATA, model, policy(seed=9), **settings))
        moved.append((parameters(model), logged[0]["rewards/margins"]))
    assert torch.allclose(moved[0][0], moved[1][0], atol=1e-8)
    assert moved[0][1] == pytest.approx(moved[1][1], abs=1e-6)


def test_what_is_logged_does_not_depend_on_the_batches(tmp_path: Path) -> None:
    """Prompts of unlike weight, and one that is tied: it has no margin, and counts in none. Each
    process notes every name, or their sums would not find together.
    """
    heavy, light, tied = (
        replace(
            ranked(name, [5, 6], [7, n], [9]),
            weight=(1.0,) if share else (),
            better=(0,) if share else (),
            worse=(1,) if share else (),
            orders=(Order(((0,), (1,)) if share else ((0, 1),), 1.0),),
            share=share or 1.0,
        )
        for n, (name, share) in enumerate((("a", 1.0), ("b", 0.25), ("c", 0.0)), 10)
    )
    logged = []
    for size, accumulation in ((3, 1), (1, 3)):
        settings = SGD | {
            "per_device_train_batch_size": size,
            "gradient_accumulation_steps": accumulation,
            "objective": Objective("davidson", nu=0.5),
        }
        trainer = trainer_in(tmp_path, [heavy, light, tied], policy(), policy(seed=9), **settings)
        logged.append(run(trainer)[0])
    together, apart = logged
    assert together["rewards/margins"] == pytest.approx(apart["rewards/margins"], abs=1e-6)
    assert together["kl/from_reference"] == pytest.approx(apart["kl/from_reference"], abs=1e-6)
    model = policy().train()
    alone = trainer_in(tmp_path, [tied], model, policy(seed=9), **settings)
    alone.scores(model, next(iter(alone.get_train_dataloader()))["batch"])
    assert alone._sums.keys() >= {"rewards/margins", "logps/chosen", "kl/from_reference"}


def test_at_two_responses_it_is_trls_dpo(tmp_path: Path) -> None:
    from trl import DPOConfig
    from trl import DPOTrainer as TRLDPOTrainer

    asked = [
        ("How do I boil an egg?", "Put it in boiling water for eight minutes.", "I do not know."),
        ("Name three fruits.", "Apples, cherries and plums.", "Dear Ann, the street is quiet."),
    ]
    rows = [
        {
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        for prompt, chosen, rejected in asked
    ]
    settings = SGD | {"learning_rate": 0.1}
    theirs = policy(300, dtype=torch.float32)
    oracle = TRLDPOTrainer(
        model=theirs,
        ref_model=policy(300, seed=9, dtype=torch.float32),
        args=DPOConfig(
            **quiet_arguments(tmp_path, **settings), beta=0.3, max_length=None, bf16=False
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer(),
    )
    expected = run(oracle)
    data = [
        ranked(
            prompt,
            prompt_ids(tokenizer(), [Message("user", prompt)]),
            response_ids(tokenizer(), chosen, finished=False),
            response_ids(tokenizer(), rejected, finished=False),
        )
        for prompt, chosen, rejected in asked
    ]
    ours = policy(300, dtype=torch.float32)
    reference = policy(300, seed=9, dtype=torch.float32)
    found = run(trainer_in(tmp_path, data, ours, reference, beta=0.3, **settings))
    assert found[0]["loss"] == pytest.approx(expected[0]["loss"], abs=1e-5)
    assert abs(expected[0]["loss"] - math.log(2)) > 0.05
    for name in ("rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected"):
        assert found[0][name] == pytest.approx(expected[0][name], abs=1e-3)
    start = parameters(policy(300, dtype=torch.float32))
    assert (parameters(theirs) - start).abs().max() > 1e-3
    assert torch.allclose(parameters(ours), parameters(theirs), atol=1e-5)


RESPONSES = list(every_response(4, 2))  # 1 + 3 + 9
REWARDS = torch.randn(
    len(RESPONSES), dtype=torch.float64, generator=torch.Generator().manual_seed(6)
)
BETA = 0.5


def expected_pairs() -> list[tuple[int, int, float]]:
    """Infinitely many Bradley-Terry votes on all pairs: each order with its probability."""
    return [
        (i, j, float(torch.sigmoid(REWARDS[i] - REWARDS[j])))
        for i, j in itertools.permutations(range(len(RESPONSES)), 2)
    ]


def optimum(reference: torch.Tensor) -> torch.Tensor:
    """pi* = ref exp(r / beta) / Z."""
    return torch.softmax(reference + REWARDS / BETA, 0)


def test_on_expected_votes_the_loss_is_least_at_pi_star() -> None:
    reference = torch.log_softmax(torch.linspace(-1, 1, len(RESPONSES), dtype=torch.float64), 0)
    better, worse, weight = (torch.tensor(column) for column in zip(*expected_pairs(), strict=True))
    logits = torch.zeros(len(RESPONSES), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15, history_size=20
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        implicit = BETA * (torch.log_softmax(logits, 0) - reference)
        loss = kwise_loss(implicit, better, worse, weight)
        loss.backward()
        return loss

    optimizer.step(closure)
    found = torch.softmax(logits.detach(), 0)
    assert float((found - optimum(reference)).abs().sum() / 2) < 1e-6


def test_trained_on_expected_votes_the_policy_becomes_pi_star(tmp_path: Path) -> None:
    pairs = expected_pairs()
    total = sum(weight for *_, weight in pairs)
    better, worse, weight = zip(*pairs, strict=True)
    one = RankedPrompt(
        "p", (2, 3), tuple(RESPONSES), (1,) * 13, better, worse, tuple(w / total for w in weight)
    )
    reference = policy(4, seed=3, initializer_range=0.1)
    model = policy(4, seed=3, initializer_range=0.1)
    run(
        trainer_in(
            tmp_path,
            [one],
            model,
            reference,
            beta=BETA,
            max_steps=300,
            learning_rate=5e-3,
            lr_scheduler_type="cosine",
            logging_steps=100,
        )
    )
    rows = make_rows([(2, 3)] * 13, RESPONSES, PAD)
    with torch.no_grad():
        base, found = (response_logprobs(m, rows).sum(1) for m in (reference, model))
    wanted = optimum(base)
    assert float((base.exp() - wanted).abs().sum() / 2) > 0.3
    assert float((found.exp() - wanted).abs().sum() / 2) < 0.005


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(policy(300, dtype=torch.float32), tmp_path_factory.mktemp("base"))


def train(folder: Path, base: Path, data: Sequence[RankedPrompt], **changes: Any) -> list[Json]:
    logged: list[Json] = []
    lora = changes.pop("lora", None)
    settings = {"learning_rate": 1e-3, "per_device_train_batch_size": 2, **changes}
    train_dpo(
        base,
        data,
        folder / "model",
        quiet_arguments(folder, **settings),
        beta=0.1,
        dtype="float32",
        lora=lora,
        log=logged.append,
        progress=lambda *_: None,
    )
    return logged


def test_resuming_gives_the_weights_of_the_uninterrupted_training(
    tmp_path: Path, base: Path
) -> None:
    saving: Json = {"max_steps": 7, "save_strategy": "steps", "save_steps": 2}
    expected = train(tmp_path / "whole", base, DATA, **saving)
    cut = trainer_in(
        tmp_path / "cut",
        DATA,
        load_policy(base),
        load_policy(base),
        learning_rate=1e-3,
        per_device_train_batch_size=2,
        **saving,
    )
    cut.add_callback(interrupt_after(6))
    with pytest.raises(KeyboardInterrupt):
        run(cut)
    found = train(tmp_path / "cut", base, DATA, **saving)
    whole, resumed = (load_policy(tmp_path / name / "model") for name in ("whole", "cut"))
    assert torch.equal(parameters(whole), parameters(resumed))
    assert not torch.equal(parameters(whole), parameters(load_policy(base)))
    names = ("step", "loss", "rewards/margins", "logps/chosen")
    assert [[row.get(n) for n in names] for row in found] == [
        [row.get(n) for n in names] for row in expected
    ]


def test_same_seed_same_weights(tmp_path: Path, base: Path) -> None:
    found = []
    for number, seed in enumerate((1, 1, 2)):
        train(tmp_path / str(number), base, DATA, max_steps=3, seed=seed, data_seed=seed)
        found.append(parameters(load_policy(tmp_path / str(number) / "model")))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_lora_trains_and_is_merged(tmp_path: Path, base: Path) -> None:
    logged = train(tmp_path, base, DATA, max_steps=20, learning_rate=1e-2, lora=LoraSettings(r=4))
    assert logged[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert logged[-2]["loss"] < 0.3
    assert load_policy(tmp_path / "model").num_parameters() == load_policy(base).num_parameters()


def test_adapters_are_drawn_from_the_seed(tmp_path: Path, base: Path) -> None:
    """Whatever was drawn in this process before."""
    found = []
    for number, before in enumerate((1, 2)):
        torch.manual_seed(before)
        train(tmp_path / str(number), base, DATA, max_steps=2, lora=LoraSettings(r=4))
        found.append(parameters(load_policy(tmp_path / str(number) / "model")))
    assert torch.equal(*found)


def test_nothing_to_learn_from_is_refused_before_loading(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no ranking of the train split has a strict pair"):
        train(tmp_path, tmp_path / "no such model", [])


@pytest.mark.parametrize("beta", [0.0, -0.1, math.nan])
def test_a_beta_that_would_learn_nothing_or_the_worse_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match="beta must be above 0, got"):
        DPOTrainer(beta=beta, reference_logprobs=torch.zeros(0))


def test_prompts_of_the_library_and_of_the_test_are_the_same() -> None:
    """The ids that TRL makes of a conversation are ours; else the comparison would be of two."""
    prompt = Prompt.of("How do I boil an egg?")
    rows = [message.to_json() for message in prompt.messages]
    rendered: Any = tokenizer().apply_chat_template(rows, add_generation_prompt=True)
    assert rendered["input_ids"] == prompt_ids(tokenizer(), prompt.messages)


def test_rows_of_trls_preferences_are_told_what_they_must_be(tmp_path: Path, base: Path) -> None:
    rows: Any = [{"prompt": "How?", "chosen": "So.", "rejected": "No."}]
    with pytest.raises(ValueError, match="is a dict and must be a RankedPrompt: `rlhf import`"):
        train(tmp_path, base, rows)


def test_the_guides_rows_are_trained_on(tmp_path: Path, base: Path) -> None:
    """docs/guides/dpo.md makes a RankedPrompt of a row of TRL's."""
    guide = (Path(__file__).parents[2] / "docs/guides/dpo.md").read_text()
    code = guide.split("```python\n# a row of TRL")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec("# a row of TRL" + code, names)
    made = names["ranked"](tokenizer(), 3, {"prompt": "How?", "chosen": "So.", "rejected": "No."})
    prompt = prompt_ids(tokenizer(), [Message("user", "How?")])
    assert made.prompt == tuple(prompt)
    assert made.responses == tuple(tuple(response_ids(tokenizer(), t)) for t in ("So.", "No."))
    assert made.all_orders() == (Order(((0,), (1,)), 1.0),)
    assert "loss" in train(tmp_path, base, [made] * 4)[0]


GOOD = RankedPrompt("p", (5, 6), ((7, 1), (8, 1)), (1, 1), (0,), (1,), (1.0,))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (replace(GOOD, prompt=()), "the prompt of p has no token"),
        (replace(GOOD, responses=((7, 1), ())), "a ranking of p has a response without a token"),
        (replace(GOOD, prompt=(5, 300)), "holds the token 300, and the model knows 300"),
        (replace(GOOD, responses=((-3, 1), (8, 1))), "holds the token -3"),
        (replace(GOOD, worse=(2,)), "names a response in its pairs that is none of its 2"),
        (replace(GOOD, weight=(0.5, 0.5)), "as many of `better`, `worse` and `weight`"),
    ],
)
def test_rankings_that_contradict_themselves_are_refused(
    tmp_path: Path, base: Path, bad: RankedPrompt, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        train(tmp_path, base, [GOOD, bad])
