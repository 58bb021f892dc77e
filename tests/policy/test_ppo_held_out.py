"""What is seen of a policy on held-out prompts, by hand, and what is alarming in it."""

from pathlib import Path
from statistics import fmean

import pytest
import torch
from ppo_hands import ROWS, trainer_in
from tiny_models import EOS, policy, tokenizer
from torch.nn.functional import log_softmax

from rlhf.data.identity import Json
from rlhf.policy.held_out import HeldOut, Watch, alarms, evaluate, repetition
from rlhf.policy.ppo_models import SharedTrunk
from rlhf.policy.rollout import PromptIds, rollout_seeds

START: Json = {
    "reward": 0.0,
    "monitor": 0.0,
    "monitor_se": 0.1,
    "tokens": 20.0,
    "entropy": 2.0,
    "repetition": 0.05,
    "finished": 0.95,
}


def seen(episode: int, **changes: float) -> Json:
    return {"episode": episode, **{f"held_out/{k}": v for k, v in {**START, **changes}.items()}}


@pytest.mark.parametrize(
    ("name", "within", "beyond"),
    [
        ("repetition", 0.14, 0.16),  # a tenth more
        ("tokens", 29.0, 31.0),  # half as many again
        ("finished", 0.81, 0.79),  # 0.15 less
        ("entropy", 0.61, 0.59),  # 0.3 of it
    ],
)
def test_an_alarm_begins_where_it_is_said_to(name: str, within: float, beyond: float) -> None:
    assert alarms([seen(0), seen(64, **{name: within})]) == []
    (said,) = alarms([seen(0), seen(64, **{name: beyond})])
    assert f"{name} went from {START[name]:.2f} to {beyond:.2f}" in said


def test_a_slow_drift_is_measured_from_the_start() -> None:
    history = [seen(0), seen(64, tokens=26.0), seen(128, tokens=32.0)]
    assert ["tokens went from 20.00 to 32.00" in said for said in alarms(history)] == [True]


def test_a_monitor_that_falls_with_the_reward_is_no_gaming() -> None:
    best = seen(64, reward=1.0, monitor=1.0)
    assert alarms([seen(0), best, seen(128, reward=0.9, monitor=0.2)]) == []
    assert len(alarms([seen(0), best, seen(128, reward=1.1, monitor=0.2)])) == 1


def test_without_a_monitor_the_reward_chooses_and_the_earliest_of_equals() -> None:
    watch = Watch()
    for episode, reward in ((0, 0.0), (64, 1.0), (128, 1.0), (192, 0.5)):
        row = seen(episode, reward=reward)
        plain = {k: v for k, v in row.items() if k != "episode" and "monitor" not in k}
        assert watch.take(episode, plain, []) == (episode in {0, 64})
    assert watch.best is watch.history[1]


class Lengths:
    """A monitor that likes length."""

    def score(self, _: object, responses: list[tuple[int, ...]]) -> list[float]:
        return [float(len(ids)) for ids in responses]


def test_an_evaluation_by_hand(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, response_length=60, temperature=0.5, seed=5)
    roller = trainer.roller
    reference = roller.reference
    assert reference is not None
    models = SharedTrunk(policy(300, seed=1, dtype=torch.float32))  # has moved from it
    prompts = [PromptIds(str(n), tuple(row)) for n, row in enumerate(ROWS)]
    numbers, rows = evaluate(models, roller, HeldOut(prompts, Lengths()), tokenizer())  # type: ignore[arg-type]
    drawn = roller.complete(models, prompts, rollout_seeds(prompts, 5, -1))
    answers = [one.ids for one in drawn]
    kl, entropies = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([[*prompt.ids, *answer]])
        states = slice(len(prompt.ids) - 1, -1)
        with torch.no_grad():
            ours, theirs = (
                log_softmax(model(input_ids=ids).logits[0, states] / 0.5, -1)
                for model in (models.policy, reference)
            )
        written = torch.tensor(answer)[:, None]
        kl.append(float((ours.gather(1, written) - theirs.gather(1, written)).sum()))
        entropies += (-(ours.exp() * ours).sum(-1)).tolist()
    lengths = [len(answer) for answer in answers]
    finished = [answer[-1] == EOS for answer in answers]
    assert 0 < sum(finished) < len(finished)
    assert len(set(lengths)) > 1
    assert len(set(map(repetition, answers))) > 1
    expected = {
        "reward": fmean(roller.rewards.score([one.ids for one in prompts], answers)),
        "kl": fmean(kl),
        "tokens": fmean(lengths),
        "entropy": fmean(entropies),
        "repetition": fmean(map(repetition, answers)),
        "finished": fmean(finished),
        "monitor": fmean(lengths),
        "monitor_se": float(torch.tensor(lengths).double().std(correction=0)) / len(answers) ** 0.5,
    }
    assert numbers == {
        f"held_out/{k}": pytest.approx(v, rel=1e-4, abs=1e-4) for k, v in expected.items()
    }
    assert [row["kl"] for row in rows] == pytest.approx(kl, abs=1e-3)
    assert [row["monitor"] for row in rows] == [row["tokens"] for row in rows] == lengths
    again, _ = evaluate(models, roller, HeldOut(prompts, Lengths()), tokenizer())  # type: ignore[arg-type]
    assert again == numbers
