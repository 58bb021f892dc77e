"""Answers of policies: who decides their randomness, and how far a policy has moved."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import EOS, PAD, policy, tokenizer

from rlhf.evaluation.answers import Answer, Asked, answer, kl_to
from rlhf.evaluation.comparison import Contestant, differences, figures, table
from rlhf.evaluation.judges import Judged
from rlhf.evaluation.length_control import length_controlled
from rlhf.evaluation.winrate import of_counts
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


def contestant(name: str = "dpo", **changes: Any) -> Contestant:
    answers = (Answer((4, 5, EOS), "x", True), Answer((4, 5, 6, 7), "y", False))
    judged = (Judged(1.0, 1.0), Judged(3.0, 2.0))
    return Contestant(name, answers, **{"judged": judged, "proxy": (0.2, 0.4), **changes})


def reference(proxy: tuple[float, float] = (0.3, 0.3)) -> Contestant:
    answers = (Answer((EOS,), "", True), Answer((4, 5, 6, 7, EOS), "z", True))
    return Contestant("reference", answers, (Judged(1.0, 1.0), Judged(2.0, 2.0)), proxy)


def test_figures_by_hand() -> None:
    row = figures(contestant(kl=(1.0, 4.0), monitor=(1.0, 2.0)), reference())
    won = of_counts(1, 1, 0)
    equal = length_controlled([0.5, 1.0], [2, -1]).to_json()
    assert row == {
        "win_rate": 0.75,
        "win_rate_low": pytest.approx(won.low, abs=1e-6),
        "win_rate_high": pytest.approx(won.high, abs=1e-6),
        "wins": 1,
        "ties": 1,
        "losses": 0,
        "unusable": 0,
        "win_rate_without_ties": 1.0,
        "length_controlled": {key: pytest.approx(v, abs=1e-6) for key, v in equal.items()},
        "gold_reward": 2.0,
        "proxy_reward": 0.3,
        "proxy_win_rate": 0.5,
        "proxy_win_rate_low": pytest.approx(of_counts(1, 0, 1).low, abs=1e-6),
        "monitor_reward": 1.5,
        "mean_tokens": 3.5,
        "finished_share": 0.5,
        "kl": 2.5,
        "kl_standard_error": pytest.approx(math.sqrt(4.5) / math.sqrt(2), abs=1e-6),
    }


def test_what_the_judge_did_not_answer_is_counted_and_left_out() -> None:
    row = figures(contestant(judged=(None, Judged(3.0, 2.0))), reference())
    assert (row["unusable"], row["wins"], row["ties"], row["gold_reward"]) == (1, 1, 0, 3.0)


def test_a_bound_is_not_called_a_distance() -> None:
    row = figures(contestant(kl_bound=0.5), reference())
    assert row["kl_bound"] == 0.5
    assert "kl" not in row


def test_every_prompt_needs_its_rivals_reward() -> None:
    with pytest.raises(ValueError, match="cannot compare 2 answers with 1"):
        figures(contestant(), replace(reference(), proxy=(0.3,)))


def test_only_what_could_be_shipped_is_tested_and_corrected_for_how_many() -> None:
    won = (Judged(1.0, 0.0),) * 10  # p = 2 / 2^10 alone, twice that as one of two
    lost = (*won[:5], *(Judged(0.0, 1.0),) * 5)
    ten = {"proxy": (0.0,) * 10}
    answer = (Answer((4, EOS), "x", True),) * 10
    rows = table(
        [
            Contestant(name, answer, judged, **ten)  # type: ignore[arg-type]
            for name, judged in (("sft", won), ("null", won), ("dpo", won), ("ppo", lost))
        ],
        Contestant("reference", answer, won, **ten),  # type: ignore[arg-type]
    )
    assert "p_value" not in rows["sft"]
    assert "p_value" not in rows["null"]
    assert rows["dpo"]["p_value"] == pytest.approx(2 / 2**10)
    assert rows["dpo"]["p_holm"] == pytest.approx(2 * 2 / 2**10)
    assert rows["ppo"]["p_holm"] == 1.0


def test_policies_are_told_apart_on_the_prompts_that_both_were_judged_on() -> None:
    won, lost, tied = Judged(1.0, 0.0), Judged(0.0, 1.0), Judged(0.0, 0.0)
    one = contestant("dpo", judged=(won, won, None, tied) * 5)
    other = contestant("ppo", judged=(lost, won, won, tied) * 5)
    (row,) = differences([one, other])
    assert (row["first"], row["second"], row["clusters"]) == ("dpo", "ppo", 15)
    assert row["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert 0 < row["low"] < 1 / 3 < row["high"] < 1
