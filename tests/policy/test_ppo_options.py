"""PPO's options: penalties, the KL controller, the text mix, rewards of every kind, and what stops
a training.
"""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ppo_run import TEXTS, train, trainer_in
from tiny_models import EOS, PAD, policy, reward_model, tokenizer

from rlhf.models.checkpoint_folders import newest_checkpoint
from rlhf.models.conversation import CHAT_TEMPLATES, prompt_ids
from rlhf.models.decoder import train_tokenizer
from rlhf.policy.advantages import shaped_scores
from rlhf.policy.held_out import Watch, alarms, conversations_of, repetition
from rlhf.policy.kl import KLController, estimate_kl, kl_k1, kl_k3
from rlhf.policy.ppo_batches import prompts_from
from rlhf.policy.ptx import ptx_batch, ptx_loss
from rlhf.policy.rewards import FunctionRewards, reward_function, rewards_of
from rlhf.reward.scorer import Scorer


def test_penalties_come_after_the_clip() -> None:
    found = shaped_scores(
        torch.tensor([5.0, -5.0, 0.5]),
        torch.tensor([1.0, 0.0, 0.0]),
        torch.tensor([10, 20, 0]),
        reward_clip=2.0,
        missing_eos_penalty=1.0,
        length_penalty=0.1,
    )
    assert found.tolist() == pytest.approx([2 - 1, -2 - 1 - 2, 0.5 - 1])


def test_the_controller_by_hand() -> None:
    fixed = KLController(0.05)
    fixed.update(100.0, 64)
    assert fixed.coef == 0.05
    steered = KLController(0.1, target=4.0, horizon=100)
    steered.update(4.4, 10)  # 10 % too far
    assert steered.coef == pytest.approx(0.1 * (1 + 0.1 * 10 / 100))
    steered = KLController(0.1, target=4.0, horizon=100)
    steered.update(40.0, 10)  # far too far: the error is clipped to 20 %
    assert steered.coef == pytest.approx(0.1 * 1.02)
    steered.update(0.0, 10)
    assert steered.coef == pytest.approx(0.1 * 1.02 * 0.98)


def test_estimators_by_name() -> None:
    ours, reference = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.0])
    assert torch.equal(estimate_kl(ours, reference, "k1"), kl_k1(ours, reference))
    assert torch.equal(estimate_kl(ours, reference, "k3"), kl_k3(ours, reference))


def test_the_mix_is_the_likelihood_of_its_responses() -> None:
    model = policy(300)
    expected = 0.0
    for prompt, response in TEXTS:
        ids = torch.tensor([[*prompt, *response]])
        logprobs = torch.log_softmax(model(input_ids=ids).logits[0], -1)
        for at, token in enumerate(response, len(prompt)):
            expected -= float(logprobs[at - 1, token])
    assert float(ptx_loss(model, TEXTS, PAD)) == pytest.approx(expected, abs=1e-9)
    assert ptx_batch(TEXTS, 9, 1, 5) == ptx_batch(TEXTS, 9, 1, 5)
    assert ptx_batch(TEXTS, 9, 1, 5) != ptx_batch(TEXTS, 9, 1, 6)


def test_the_mix_keeps_texts_likely(tmp_path: Path) -> None:
    found = []
    for coef in (0.1, 3.0):
        trainer = trainer_in(tmp_path, {"ptx_coef": coef, "save_strategy": "no"})
        train(trainer)
        with torch.no_grad():
            found.append(float(ptx_loss(trainer.trained.policy, TEXTS, PAD)))
    assert found[1] < found[0] - 0.5


def shouts(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    return [float(len(one)) for one in responses]


def test_a_reward_function_alone_and_added() -> None:
    judge = Scorer(reward_model(300), PAD)
    asked, answers = [(5, 6), (7,)], [(40, 41, EOS), (42,)]
    texts = [tokenizer().decode(list(ids), skip_special_tokens=True) for ids in answers]
    plain = [float(len(text)) for text in texts]
    assert rewards_of(None, shouts, tokenizer()).score(asked, answers) == plain
    both = rewards_of(judge, shouts, tokenizer()).score(asked, answers)
    scores = judge.score(asked, answers)
    assert both == pytest.approx([a + b for a, b in zip(plain, scores, strict=True)])


def test_reward_functions_that_cannot_serve_are_refused() -> None:
    wrong = FunctionRewards(lambda prompts, responses: [1.0], tokenizer())
    with pytest.raises(ValueError, match="gave 1 numbers for 2 responses"):
        wrong.score([(5,), (6,)], [(7,), (8,)])
    for told in (None, ["good", "bad"]):
        worded: Any = FunctionRewards(lambda *_, told=told: told, tokenizer())
        with pytest.raises(ValueError, match="must return a list of numbers, one for each"):
            worded.score([(5,), (6,)], [(7,), (8,)])
    found: Any = reward_function("math:fsum")
    assert found is math.fsum
    for name, says in (
        ("math", "write package.module:function"),
        ("math:nothing", "cannot import the reward function"),
        ("math:pi", "is no function"),
    ):
        with pytest.raises(ValueError, match=says):
            reward_function(name)


def test_a_reward_model_with_another_tokenizer_reads_the_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    theirs = train_tokenizer(["Quite other words, and many of them."] * 9, 280)
    judge = reward_model(280, dtype=torch.float32)
    made = rewards_of(judge, None, tokenizer(), theirs)
    assert "scored through their text" in caplog.text
    prompt, response = "Name three fruits.", "Apples, cherries."
    mine = tokenizer()(prompt)["input_ids"]
    answer = [*tokenizer()(response)["input_ids"], EOS]
    expected = Scorer(copy.deepcopy(judge), PAD).score(
        [theirs(prompt)["input_ids"]], [[*theirs(response)["input_ids"], theirs.eos_token_id]]
    )
    assert made.score([mine], [answer]) == pytest.approx(expected, abs=1e-5)
    # cut off: no end is added
    cut = Scorer(copy.deepcopy(judge), PAD).score(
        [theirs(prompt)["input_ids"]], [theirs(response)["input_ids"]]
    )
    assert made.score([mine], [answer[:-1]]) == pytest.approx(cut, abs=1e-5)
    # ended by another token: that is the end, and no part of the text
    stopped = rewards_of(judge, None, tokenizer(), theirs, stop_token_id=9)
    assert stopped.score([mine], [[*answer[:-1], 9]]) == pytest.approx(expected, abs=1e-5)
    same = rewards_of(reward_model(300), None, tokenizer(), copy.deepcopy(tokenizer()))
    assert isinstance(same, Scorer)


def test_a_chat_is_read_in_the_format_of_the_reward_model(
    caplog: pytest.LogCaptureFixture,
) -> None:
    theirs = train_tokenizer(["Quite other words, and many of them."] * 9, 280)
    judge = reward_model(280, dtype=torch.float32)
    messages = [{"role": "user", "content": "Name three."}]
    (asked,) = prompts_from([{"prompt": messages}], tokenizer())
    assert prompts_from([{"prompt": messages, "input_ids": [5]}], tokenizer())[0].messages == ()
    answer = [*tokenizer()("Apples.")["input_ids"], EOS]
    known = conversations_of([asked], None)
    as_text = rewards_of(judge, None, tokenizer(), theirs, conversations=known)
    assert "without the format of a chat" in caplog.text  # theirs has no template
    caplog.clear()
    theirs.chat_template = CHAT_TEMPLATES["plain-turns"]
    made = rewards_of(judge, None, tokenizer(), theirs, conversations=known)
    assert "without the format of a chat" not in caplog.text
    expected = Scorer(judge, PAD).score(
        [prompt_ids(theirs, asked.messages)],
        [[*theirs("Apples.")["input_ids"], theirs.eos_token_id]],
    )
    found = made.score([asked.ids], [answer])
    assert found == pytest.approx(expected, abs=1e-5)
    theirs.chat_template = None
    assert as_text.score([asked.ids], [answer]) != pytest.approx(found, abs=1e-3)


class TurnsToNan:
    """Scores two rollouts and then breaks."""

    def __init__(self) -> None:
        self.asked = 0

    def score(self, prompts: Sequence[Any], responses: Sequence[Any]) -> list[float]:
        self.asked += 1
        return [0.5 if self.asked <= 2 else math.nan] * len(responses)


def test_a_reward_that_is_no_number_saves_and_stops(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, {"save_strategy": "no", "num_sample_generations": 0})
    trainer.roller = type(trainer.roller)(
        **{
            **{n: getattr(trainer.roller, n) for n in trainer.roller.__dataclass_fields__},
            "rewards": TurnsToNan(),
        }
    )
    with pytest.raises(FloatingPointError, match=r"rollout 2: the reward of a response is nan .*"):
        train(trainer)
    saved = newest_checkpoint(tmp_path / "checkpoints")
    assert saved is not None
    assert saved.name == "checkpoint-8"


def test_weights_that_are_no_numbers_are_named_and_not_saved(tmp_path: Path) -> None:
    settings = {"save_strategy": "no", "num_sample_generations": 0}
    broken = trainer_in(tmp_path, settings)
    broken.trained.value_model.score.weight.data.fill_(math.nan)
    with pytest.raises(FloatingPointError, match="rollout 0: the values of the value model are no"):
        broken.train()
    diverging = trainer_in(tmp_path, {**settings, "learning_rate": 1e300})
    with pytest.raises(FloatingPointError, match=r"rollout 1: the .* are not numbers") as error:
        diverging.train()
    assert "saved" not in str(error.value)
    assert newest_checkpoint(tmp_path / "checkpoints") is None


def test_kl_that_explodes_saves_and_stops(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, {"kl_limit": 1e-6, "save_strategy": "no"})
    with pytest.raises(FloatingPointError, match=r"beyond kl_limit \(1e-06\): raise kl_coef"):
        train(trainer)
    assert newest_checkpoint(tmp_path / "checkpoints") is not None


def test_repetition_by_hand() -> None:
    assert repetition([1, 2, 3, 4]) == 0
    assert repetition([1, 2, 3, 1, 2, 3]) == pytest.approx(1 / 4)  # 123 231 312 123
    assert repetition([5] * 10) == pytest.approx(7 / 8)
    assert repetition([1, 2]) == 0


@given(st.lists(st.integers(0, 3), max_size=20))
def test_repetition_is_a_share(ids: list[int]) -> None:
    assert 0 <= repetition(ids) < 1


def seen(episode: int, **changes: float) -> dict[str, float]:
    plain = {
        "reward": 0.0,
        "monitor": 0.0,
        "monitor_se": 0.1,
        "kl": 0.0,
        "tokens": 20.0,
        "entropy": 2.0,
        "repetition": 0.05,
        "finished": 0.95,
    }
    return {"episode": episode, **{f"held_out/{k}": v for k, v in {**plain, **changes}.items()}}


def test_alarms_name_what_they_saw() -> None:
    start = seen(0)
    assert alarms([start, seen(64, reward=1.0, monitor=0.8)]) == []
    best = seen(64, reward=1.0, monitor=0.8)
    gamed = alarms([start, best, seen(128, reward=2.0, monitor=0.5)])
    assert len(gamed) == 1
    assert "rose by 1.00 since episode 64 while the monitor" in gamed[0]
    assert "fell by 0.30" in gamed[0]
    # a fall within twice its standard error is no finding
    assert alarms([start, best, seen(128, reward=2.0, monitor=0.65)]) == []
    for name, value, says in (
        ("repetition", 0.2, "repeats itself: repetition went from 0.05 to 0.20"),
        ("tokens", 31.0, "writes longer: tokens went from 20.00 to 31.00"),
        ("finished", 0.7, "ends its answers less often: finished went from 0.95 to 0.70"),
        ("entropy", 0.5, "has become narrow: entropy went from 2.00 to 0.50"),
    ):
        (said,) = alarms([start, seen(64, **{name: value})])
        assert says in said


def test_the_best_is_the_monitors_choice_and_a_repeated_evaluation_replaces_the_first() -> None:
    watch = Watch()
    assert watch.take(0, seen(0, monitor=0.1), [{"query": "a"}])
    assert watch.take(64, seen(64, monitor=0.9, reward=1.0), [{"query": "a"}])
    assert not watch.take(128, seen(128, monitor=0.5, reward=5.0), [{"query": "a"}])
    assert not watch.take(128, seen(128, monitor=0.6, reward=5.0), [{"query": "b"}])
    assert [row["episode"] for row in watch.history] == [0, 64, 128]
    assert watch.best is watch.history[1]
    assert [row["query"] for row in watch.samples] == ["a", "a", "b"]
