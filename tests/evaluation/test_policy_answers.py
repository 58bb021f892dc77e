"""Answers of policies: who decides their randomness, and how far a policy has moved."""

import math

import pytest
import torch
from tiny_models import EOS, PAD, policy, tokenizer

from rlhf.evaluation.answers import Answer, Asked, answer, kl_to
from rlhf.evaluation.comparison import Contestant, figures
from rlhf.evaluation.winrate import wilson
from rlhf.models.batching import make_rows, response_logprobs
from rlhf.models.conversation import decode
from rlhf.models.generation import Sampling

ASKED = [Asked("a", (5, 9, 11)), Asked("b", (7,)), Asked("c", (4, 4, 8, 30, 21, 6))]


def drawn(
    numbers: list[int], asked: list[Asked] | None = None, seed: int = 1
) -> list[list[Answer]]:
    model = policy(300, dtype=torch.float32)
    return answer(model, tokenizer(), asked or ASKED, numbers, Sampling(8), seed=seed)


def test_answers_stand_by_prompt_and_number() -> None:
    found = drawn([0, 1, 2])
    assert [len(row) for row in found] == [3, 3, 3]
    assert len({one.ids for row in found for one in row}) == 9
    for row in found:
        for one in row:
            assert one.text == decode(tokenizer(), one.ids)
            assert one.finished == (one.ids[-1] == EOS)


def test_seed_prompt_and_number_decide() -> None:
    found = drawn([0, 1, 2])
    assert drawn([2, 0]) == [[row[2], row[0]] for row in found]
    assert drawn([0, 1, 2], ASKED[::-1]) == found[::-1]
    assert drawn([0, 1, 2], ASKED[1:2]) == found[1:2]
    assert drawn([0, 1, 2], seed=2) != found


def test_a_policy_is_no_distance_from_itself() -> None:
    answers = [row[0] for row in drawn([0])]
    model = policy(300, dtype=torch.float32)
    assert kl_to(model, policy(300, dtype=torch.float32), ASKED, answers, PAD) == [0, 0, 0]


@pytest.mark.parametrize("budget", [1, 20, 500])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_distance_is_the_log_ratio_of_each_answer(budget: int, temperature: float) -> None:
    ours, theirs = policy(300), policy(300, seed=9)
    answers = [row[0] for row in drawn([0])]
    found = kl_to(ours, theirs, ASKED, answers, PAD, temperature=temperature, budget_tokens=budget)
    for asked, one, distance in zip(ASKED, answers, found, strict=True):
        rows = make_rows([asked.ids], [one.ids], PAD)
        with torch.no_grad():
            a, b = (float(response_logprobs(m, rows, temperature).sum()) for m in (ours, theirs))
        assert distance == pytest.approx(a - b, abs=1e-9)
    assert max(map(abs, found)) > 1


def contestant(**changes: object) -> Contestant:
    answers = (Answer((4, 5, EOS), "x", True), Answer((4, 5, 6, 7), "y", False))
    return Contestant("dpo", answers, (1.0, 3.0), (0.2, 0.4), **changes)  # type: ignore[arg-type]


def test_figures_by_hand() -> None:
    row = figures(contestant(kl=(1.0, 4.0)), [1.0, 2.0])
    low, high = wilson(0.75, 2)
    assert row == {
        "win_rate": 0.75,
        "win_rate_low": pytest.approx(low, abs=1e-6),
        "win_rate_high": pytest.approx(high, abs=1e-6),
        "wins": 1,
        "ties": 1,
        "losses": 0,
        "gold_reward": 2.0,
        "proxy_reward": 0.3,
        "mean_tokens": 3.5,
        "finished_share": 0.5,
        "kl": 2.5,
        "kl_standard_error": pytest.approx(math.sqrt(4.5) / math.sqrt(2), abs=1e-6),
    }


def test_a_bound_is_not_called_a_distance() -> None:
    row = figures(contestant(kl_bound=0.5), [1.0, 2.0])
    assert row["kl_bound"] == 0.5
    assert "kl" not in row


def test_every_prompt_needs_its_rivals_reward() -> None:
    with pytest.raises(ValueError, match="cannot compare 2 answers with 3"):
        figures(contestant(), [1.0, 2.0, 3.0])
