"""The trained half of the frontier: a decoder is enumerated exactly, labels become rankings, the
figures come out of rows worked by hand.
"""

import numpy as np
import pytest
import torch

from benchmarks.crew import Labels, compare, crew
from benchmarks.policies import optimal_at
from benchmarks.rewards import by_count
from benchmarks.trained_frontier import FIXED_NATS, collapsed, reached, regrets, summarise, table
from benchmarks.trained_policies import (
    Known,
    around,
    as_ids,
    logprobs_of,
    make_decoder,
    one_by_one,
    ranked,
    response_ids,
    tokenizer,
)
from benchmarks.world import END, STEPS, World, make_world
from rlhf.models.generation import Sampling, sample


@pytest.fixture(scope="module")
def world() -> World:
    return make_world("trap", seed=2, num_prompts=12, num_test=4)


def test_a_decoder_is_enumerated(world: World) -> None:
    model = make_decoder(3).eval()
    prompts = np.array([4, 7])
    found = logprobs_of(model, world, prompts)
    assert found.shape == (2, len(world.responses))
    assert np.exp(found).sum(1) == pytest.approx([1, 1], abs=1e-6)
    for row, prompt in enumerate(prompts):
        for response in (0, 3, 77, 400, 3000, len(world.responses) - 1):
            said = response_ids(world, response)
            ids = torch.tensor([[*world.prompts[prompt].tolist(), *said]])
            logprobs = torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
            by_hand = sum(float(logprobs[2 + at, token].detach()) for at, token in enumerate(said))
            assert found[row, response] == pytest.approx(by_hand, abs=1e-5)


def test_it_writes_words_that_a_known_reward_finds(world: World) -> None:
    asked = as_ids(world, world.test) * 4
    made = sample(
        make_decoder(3),
        [one.ids for one in asked],
        list(range(len(asked))),
        Sampling(STEPS),
        eos_token_id=END,
        pad_token_id=END,
    )
    reward = np.arange(world.logprobs.size, dtype=float).reshape(world.logprobs.shape)
    scores = Known.of(world, reward).score([one.ids for one in asked], [one.ids for one in made])
    for one, answer, score in zip(asked, made, scores, strict=True):
        prompt, response = divmod(round(score), len(world.responses))
        assert tuple(world.prompts[prompt]) == one.ids
        assert response_ids(world, response) == answer.ids
    assert tokenizer().eos_token_id == END


def test_the_world_around_a_decoder_starts_at_0_nats(world: World) -> None:
    model = make_decoder(3).eval()
    own = around(world, model)
    assert (own.logprobs == logprobs_of(model, world, np.arange(len(world.prompts)))).all()
    chances = np.exp(own.logprobs)
    assert (chances * own.gold).sum(1) == pytest.approx(np.zeros(len(own.prompts)), abs=1e-9)
    assert (chances * own.gold**2).sum(1).mean() == pytest.approx(1)
    share, got = reached(own.logprobs, own.logprobs, own.gold)
    assert share == 0
    assert got.kl == pytest.approx(0, abs=1e-12)
    best = optimal_at(own.gold, own.logprobs, 1.0)
    share, got = reached(best, own.logprobs, own.gold)
    assert share == pytest.approx(1)
    assert got.kl == pytest.approx(1, abs=1e-3)


def test_labels_become_rankings(world: World) -> None:
    labels = Labels(
        np.array([5, 2, 5]),
        np.array([7, 1, 9]),
        np.array([8, 0, 7]),
        np.zeros(3, dtype=np.int64),
        np.array([1.0, 0.0, 1.0]),  # 7 before 8, 0 before 1, 9 before 7
    )
    two, five = ranked(world, labels)
    assert (two.prompt_id, five.prompt_id) == ("2", "5")
    assert five.responses == tuple(response_ids(world, one) for one in (7, 8, 9))
    assert list(zip(five.better, five.worse, five.weight, strict=True)) == [
        (0, 1, 0.5),
        (2, 0, 0.5),
    ]
    alone = one_by_one([two, five])
    said = [(one.responses[0], one.responses[1]) for one in alone]
    pairs = ((0, 1), (7, 8), (9, 7))
    assert said == [(response_ids(world, b), response_ids(world, w)) for b, w in pairs]
    assert all(one.better == (0,) and one.weight == (1.0,) for one in alone)


def test_a_reward_by_count_sees_the_trap_and_a_linear_one_cannot(world: World) -> None:
    labels = compare(world, crew("careful"), 8000, seed=1)
    reward = by_count(world, labels)(world.test)
    said = (world.responses == 0).sum(1)
    mean = [float(reward[:, said == times].mean()) for times in range(5)]
    assert mean[0] < mean[1] < mean[2]
    assert mean[2] > mean[3] > mean[4]


def test_regrets_by_hand() -> None:
    history = [
        {"held_out/kl": 0.0, "held_out/monitor": 0.0},
        {"held_out/kl": 1.2, "held_out/monitor": 0.9},
        {"held_out/kl": 2.5, "held_out/monitor": 0.8},
        {"held_out/kl": 3.5, "held_out/monitor": -0.1},
    ]
    found = regrets(history, [0.0, 1.0, 2.0, -1.0], [0.0, 1.0, 2.0, 3.0])
    assert found["trap_regret"] == 0.5  # 1 of 2, since the monitor liked the second best
    assert found["trap_regret_last"] == 1.5
    assert found["trap_regret_same_kind"] == 1.5
    assert (found["trap_gold"], found["trap_peak"], found["trap_kl"]) == (1.0, 2.0, 1.2)
    fixed = [found[f"trap_regret_fixed_{nats:g}"] for nats in FIXED_NATS]
    assert fixed == [0.5, 0.0, 0.0, 1.5, 1.5]  # the last where none goes so far


def test_the_last_line_by_hand() -> None:
    seed = {
        "ppo_efficiency": 0.98,
        "dpo_efficiency_many": 0.96,
        "dpo_eta_300": 0.84,
        "trl_eta_300": 0.83,
        "dpo_by_prompt_eta_300": 0.80,
        "trap_regret": 0.01,
        "trap_gold": 1.0,
        **{f"trap_regret_fixed_{nats:g}": 0.1 * nats for nats in FIXED_NATS},
    }
    other = {**seed, "ppo_efficiency": 0.90, "dpo_eta_300": 0.86, "trap_regret_fixed_1": 0.5}
    found = summarise([seed, other])
    assert found["ppo_efficiency"] == 0.94
    assert found["ppo_efficiency_least"] == 0.90
    assert found["dpo_minus_trl_300"] == 0.02
    assert found["dpo_by_prompt_minus_trl_300"] == -0.03
    # The best distance in hindsight, over all seeds: 1.5 nats with .15, since 1 has .1 and .5.
    assert (found["trap_best_fixed_kl"], found["trap_regret_fixed_kl"]) == (1.5, 0.15)
    assert found["collapses"] == 0
    assert "| ppo_efficiency | 0.940 | 0.980 0.900 |" in table([seed, other])
    for broken in ({"ppo_efficiency": float("nan")}, {"dpo_eta_300": 0.4}, {"trap_gold": -0.1}):
        assert collapsed({**seed, **broken})
