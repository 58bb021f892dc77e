"""What is too long loses its oldest messages whole at every stage, and is counted."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import policy, reward_model, save, tokenizer

from pipelines.config import load_config
from pipelines.stage import Stage, Work
from pipelines.stages import ppo, rejection, rloo, sample
from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import Message, Prompt
from rlhf.models import generation
from rlhf.models.conversation import prompt_ids
from rlhf.policy import best_of_n, ppo_training
from rlhf.policy import rloo as rloo_training
from rlhf.policy.held_out import Watch
from rlhf.policy.sft import demonstrations

TINY = Path(__file__).parent / "tiny.yaml"
TALK = (
    Message("user", "How do I boil an egg?"),
    Message("assistant", "In water, and for as long as you like it to be hard."),
    Message("user", "For how long?"),
)
LAST = tuple(prompt_ids(tokenizer(), TALK[2:]))
PROMPTS = [
    Prompt.of(TALK, split="train", demonstration="Eight minutes."),
    Prompt.of("Name three.", split="train", demonstration="Apples."),
]
ROOM = len(prompt_ids(tokenizer(), TALK[1:])) - 1


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("run")
    save(policy(300, dtype=torch.float32), root / "sft" / "model")
    save(reward_model(300, seed=4, dtype=torch.float32), root / "reward" / "model")
    write_jsonl(root / "prompts" / "prompts.jsonl", (one.to_json() for one in PROMPTS))
    return {name: root / name for name in ("prompts", "sft", "reward")}


@pytest.mark.parametrize(
    ("stage", "settings"),
    [
        (ppo.STAGE, "ppo.trainer={response_length: 4, total_episodes: 8}"),
        (rloo.STAGE, "rloo.trainer={max_completion_length: 4}"),
        (rejection.STAGE, "sample.max_new_tokens=4"),
        (sample.STAGE, "sample.max_new_tokens=4"),
    ],
    ids=lambda one: one.name if isinstance(one, Stage) else "",
)
def test_whole_messages_go_first(
    tmp_path: Path,
    inputs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    stage: Stage,
    settings: str,
) -> None:
    asked: list[Any] = []
    draw = generation.sample

    def drawn(model: Any, prompts: Any, *arguments: Any, **named: Any) -> Any:
        asked.extend(prompts)
        return draw(model, prompts, *arguments, **named)

    def trains(_: Any, __: Any, prompts: Any, *___: Any, **____: Any) -> Any:
        asked.extend(one.ids for one in prompts)
        return ({}, Watch()) if stage is ppo.STAGE else {}

    monkeypatch.setattr(generation, "sample", drawn)
    monkeypatch.setattr(best_of_n, "sample", drawn)
    monkeypatch.setattr(ppo_training, "train_ppo", trains)
    monkeypatch.setattr(rloo_training, "train_rloo", trains)
    config = load_config(TINY, [f"model.max_tokens={ROOM + 4}", settings])
    work = Work(config, tmp_path, inputs, lambda _: None, lambda *_: None, lambda *_: None)
    if stage is rejection.STAGE:
        found: Json = rejection._choose(work, tokenizer())["figures"]
    else:
        found = stage.run(work)
    assert {tuple(one) for one in asked} == {
        LAST,
        tuple(prompt_ids(tokenizer(), PROMPTS[1].messages)),
    }
    assert found["prompts_cut"] == 1


def test_demonstrations_too() -> None:
    found, cut = demonstrations(tokenizer(), PROMPTS, ROOM)
    assert tuple(found[0][0]) == LAST
    assert cut == 1
    assert demonstrations(tokenizer(), PROMPTS, 500)[1] == 0
