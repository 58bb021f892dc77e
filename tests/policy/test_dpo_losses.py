"""DPO's losses by name: what they are by hand, where they stand still, through the trainer, and
against TRL's.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from dpo_hands import DATA, SGD, run, trainer_in
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import PAD, gradients, parameters, policy, quiet_arguments, save
from torch.nn.functional import logsigmoid

from rlhf.data.identity import Json
from rlhf.models.batching import make_rows, response_logprobs
from rlhf.policy.dpo import REFERENCE, kept_reference, train_dpo
from rlhf.policy.dpo_objective import DPOLossName, dpo_objective
from rlhf.reward.losses import Choices, Pairs, Rankings, ipo_loss, ranking_loss, robust_loss
from rlhf.reward.objective import Objective
from rlhf.reward.rankings import Order, RankedPrompt, collate

GAPS = torch.tensor([-2.0, -0.3, 0.0, 0.7, 3.0], dtype=torch.float64)


def one_pair(better: int = 0, worse: int = 1) -> Pairs:
    whole = torch.ones(1, dtype=torch.float64)
    return Pairs(torch.tensor([better]), torch.tensor([worse]), whole, whole)


def loss_of_gap(gap: torch.Tensor, objective: Objective, *, swapped: bool = False) -> torch.Tensor:
    """The loss of one pair whose first response is worth `gap` more than the second."""
    scores = torch.stack([gap, torch.zeros_like(gap)])
    pair = one_pair(1, 0) if swapped else one_pair()
    order = ((1,), (0,)) if swapped else ((0,), (1,))
    answers = ((7,), (8,))
    held = RankedPrompt("a", (5,), answers, (1, 1), (), (), (), (), (Order(order, 1.0),))
    choices = collate([held], range(2), 0).rankings.choices
    chosen = Choices(choices.alternatives, choices.chosen, choices.weight.double())
    log_nu = torch.tensor(0.0, dtype=torch.float64) if objective.ties else None
    return ranking_loss(scores, Rankings(pair, pair, chosen), objective, log_nu)


def slope(function: Callable[[torch.Tensor], torch.Tensor], at: float) -> float:
    point = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(function(point), point)
    return float(found)


@given(st.floats(-6, 6), st.floats(0.01, 0.45))
def test_robust_loss_of_flipped_pairs_is_the_loss_of_the_right_ones(gap: float, eps: float) -> None:
    """E over flips of the robust loss = the clean loss, which is what it is made for."""
    at = torch.tensor(gap, dtype=torch.float64)
    objective = dpo_objective("robust", beta=0.1, label_smoothing=eps)
    right, wrong = loss_of_gap(at, objective), loss_of_gap(at, objective, swapped=True)
    mixed = (1 - eps) * right + eps * wrong
    assert float(mixed) == pytest.approx(float(-logsigmoid(at)), abs=1e-9)


def test_robust_and_ipo_by_hand() -> None:
    scores = torch.tensor([1.0, 0.0], dtype=torch.float64)
    # -log sigmoid(1) = .313262, -log sigmoid(-1) = 1.313262
    expected = (0.9 * 0.3132617 - 0.1 * 1.3132617) / 0.8
    assert float(robust_loss(scores, one_pair(), 0.1)) == pytest.approx(expected, abs=1e-6)
    assert float(ipo_loss(scores, one_pair(), 0.25)) == pytest.approx((1 - 2) ** 2)


@given(st.floats(-8, 8))
def test_swapping_chosen_and_rejected_maps_p_to_1_minus_p(gap: float) -> None:
    at = torch.tensor(gap, dtype=torch.float64)
    objective = dpo_objective("sigmoid", beta=0.1)
    p = torch.exp(-loss_of_gap(at, objective)) + torch.exp(
        -loss_of_gap(at, objective, swapped=True)
    )
    assert float(p) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("eps", [0.05, 0.2, 0.4])
def test_conservative_dpo_is_a_mixture_that_stands_still_at_its_own_odds(eps: float) -> None:
    plain = dpo_objective("sigmoid", beta=0.1)
    smooth = dpo_objective("sigmoid", beta=0.1, label_smoothing=eps)
    for gap in GAPS:
        right, wrong = loss_of_gap(gap, plain), loss_of_gap(gap, plain, swapped=True)
        mixed = (1 - eps) * right + eps * wrong
        assert float(loss_of_gap(gap, smooth)) == pytest.approx(float(mixed), abs=1e-12)
    still = math.log((1 - eps) / eps)  # sigmoid(beta h) = 1 - eps
    assert slope(lambda gap: loss_of_gap(gap, smooth), still) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("tau", [0.05, 0.1, 0.7])
def test_ipo_stands_still_where_the_log_ratios_differ_by_one_over_two_tau(tau: float) -> None:
    objective = dpo_objective("ipo", beta=tau)
    # The trainer hands over tau times the log-ratios.
    assert slope(lambda h: loss_of_gap(tau * h, objective), 1 / (2 * tau)) == pytest.approx(0)
    found = slope(lambda h: loss_of_gap(tau * h, objective), 0.0)
    assert found == pytest.approx(-1 / tau, abs=1e-9)


@pytest.mark.parametrize(
    "objective",
    [
        dpo_objective("sigmoid", beta=0.1),
        dpo_objective("sigmoid", beta=0.1, label_smoothing=0.2),
        dpo_objective("robust", beta=0.1, label_smoothing=0.2),
        dpo_objective("ipo", beta=0.4),
        dpo_objective("davidson", beta=0.1, nu=1.0),
        dpo_objective("plackett-luce", beta=0.1, nu=1.0),
    ],
    ids=lambda one: f"{one.loss}-{one.label_smoothing}",
)
def test_finite_differences_agree_with_autograd(objective: Objective) -> None:
    step = 1e-6
    for gap in GAPS:
        up, down = loss_of_gap(gap + step, objective), loss_of_gap(gap - step, objective)
        found = slope(lambda at: loss_of_gap(at, objective), float(gap))
        assert found == pytest.approx(float(up - down) / (2 * step), abs=1e-5)


# A prompt with a tie, one with a tie alone: for the losses that know them.
TIED = [
    replace(DATA[1], orders=(Order(((0,), (1, 2)), 1.0),)),
    replace(DATA[0], better=(), worse=(), weight=(), orders=(Order(((0, 1),), 1.0),)),
    DATA[2],
]
LOSSES: dict[str, tuple[DPOLossName, Json, bool]] = {
    "conservative": ("sigmoid", {"label_smoothing": 0.1}, False),
    "per token": ("sigmoid", {}, True),
    "robust": ("robust", {"label_smoothing": 0.1}, False),
    "ipo": ("ipo", {}, False),
    "ipo per token": ("ipo", {}, True),
    "davidson": ("davidson", {"nu": 0.7}, False),
    "plackett-luce": ("plackett-luce", {"nu": 0.7}, False),
}


@pytest.mark.parametrize("which", LOSSES)
def test_each_loss_through_the_trainer_is_that_loss_on_the_implicit_rewards(
    tmp_path: Path, which: str
) -> None:
    name, settings, per_token = LOSSES[which]
    objective = dpo_objective(name, beta=0.3, **settings)
    data = TIED if objective.ties else DATA
    lengths = torch.tensor([len(r) for one in data for r in one.responses])
    model, reference, twin = policy(), policy(seed=9), policy()
    trainer = trainer_in(
        tmp_path,
        data,
        model,
        reference,
        beta=0.3,
        objective=objective,
        response_tokens=lengths if per_token else None,
        **SGD,
    )
    before = parameters(model)
    logged = run(trainer)
    rows = [(one.prompt, r) for one in data for r in one.responses]
    ratios = []
    for prompt, response in rows:
        alone = make_rows([prompt], [response], PAD)
        with torch.no_grad():
            base = response_logprobs(reference, alone).sum()
        ratios.append(response_logprobs(twin, alone).sum() - base)
    log_ratios = torch.stack(ratios)
    rewards = 0.3 * log_ratios / (lengths if per_token else 1)
    log_nu = torch.tensor(math.log(0.7)) if objective.ties else None
    rankings = collate(data, range(len(rows)), PAD).rankings
    expected = ranking_loss(rewards, rankings, objective, log_nu)
    expected.backward()
    assert logged[0]["loss"] == pytest.approx(float(expected.detach()), rel=1e-6)
    assert torch.allclose(before - parameters(model), gradients(twin), atol=1e-6)
    found, pairs = rewards.detach(), rankings.strict
    share = pairs.weight / pairs.weight.sum()
    chosen = float((share * found[pairs.better]).sum())
    rejected = float((share * found[pairs.worse]).sum())
    assert logged[0]["rewards/chosen"] == pytest.approx(chosen, abs=1e-6)
    assert logged[0]["rewards/rejected"] == pytest.approx(rejected, abs=1e-6)
    assert logged[0]["rewards/margins"] == pytest.approx(chosen - rejected, abs=1e-6)
    kl = float(-log_ratios.detach().mean())
    assert logged[0]["kl/from_reference"] == pytest.approx(kl, abs=1e-6)


def test_where_nu_is_not_given_the_reference_ties_as_often_as_people(tmp_path: Path) -> None:
    base = save(policy(300, dtype=torch.float32), tmp_path / "base")
    last = train(tmp_path / "run", base, TIED, objective=dpo_objective("davidson", beta=0.1))
    ties = (1 / 3 + 1) / 3  # a third of the first prompt's pairs, all of the second's, of three
    nu = last["nu"]
    assert nu / (2 + nu) == pytest.approx(ties, abs=1e-6)
    # At the reference every pair has the chances 1 : 1 : nu, so the loss is their entropy.
    expected = -(ties * math.log(ties) + (1 - ties) * math.log((1 - ties) / 2))
    assert last["loss"] == pytest.approx(expected, abs=1e-5)
    assert last["kl/from_reference"] == pytest.approx(0, abs=1e-6)


def train(folder: Path, base: Path, data: Sequence[RankedPrompt], **changes: Any) -> Json:
    """One step, unless the arguments say otherwise."""
    parts = {name: changes.pop(name) for name in ("objective", "lora") if name in changes}
    return train_dpo(
        base,
        data,
        folder / "model",
        quiet_arguments(folder, **{"max_steps": 1, **changes}),
        beta=0.1,
        dtype="float32",
        log=lambda _: None,
        progress=lambda *_: None,
        **{"lora": None, **parts},
    )


def test_the_reference_is_read_from_its_file_and_made_anew_for_other_weights_or_texts(
    tmp_path: Path,
) -> None:
    class Folder:
        output_dir = str(tmp_path)
        process_index, world_size, device, bf16 = 0, 1, torch.device("cpu"), False

    args: Any = Folder()
    file = tmp_path / REFERENCE
    first = kept_reference(policy(), DATA, PAD, args)
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["logprobs"] == first.tolist()
    kept["logprobs"][-1] = -7.0  # not of the prompt that is scored again
    file.write_text(json.dumps(kept), encoding="utf-8")
    assert float(kept_reference(policy(), DATA, PAD, args)[-1]) == -7.0
    other = kept_reference(policy(seed=9), DATA, PAD, args)
    assert not torch.allclose(other, first)
    assert torch.equal(kept_reference(policy(seed=9), DATA, PAD, args), other)
    fewer = kept_reference(policy(seed=9), DATA[:2], PAD, args)
    assert torch.allclose(fewer, other[: len(fewer)], atol=1e-10)
