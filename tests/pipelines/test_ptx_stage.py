"""The texts that PPO mixes in: the demonstrations that SFT trained on, of the train split alone."""

from pathlib import Path

import pytest
import torch
from tiny_models import policy, reward_model, save, tokenizer

from pipelines.config import load_config
from pipelines.stage import Work
from pipelines.stages import ppo
from rlhf.data.identity import Json
from rlhf.data.jsonl import write_json, write_jsonl
from rlhf.data.records import Prompt
from rlhf.models.conversation import prompt_ids, response_ids
from rlhf.models.loading import load_policy
from rlhf.policy.ptx import ptx_loss

TINY = Path(__file__).parent / "tiny.yaml"
PROMPTS = [
    Prompt.of("How do I boil an egg?", split="train", demonstration="In boiling water."),
    Prompt.of("Name three fruits.", split="train", demonstration="Apples."),
    Prompt.of("Say nothing.", split="train"),
    Prompt.of("Write to a friend.", split="validation", demonstration="Dear Ann."),
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("run")
    save(policy(300, dtype=torch.float32), root / "sft" / "model")
    save(reward_model(300, seed=4, dtype=torch.float32), root / "reward" / "model")
    write_jsonl(root / "prompts" / "prompts.jsonl", (one.to_json() for one in PROMPTS))
    return {name: root / name for name in ("prompts", "sft", "reward")}


def at_work(folder: Path, inputs: dict[str, Path], coef: float) -> Work:
    trainer = (
        f"{{ptx_coef: {coef}, total_episodes: 16, per_device_train_batch_size: 4, "
        "response_length: 4, learning_rate: 0.003, num_sample_generations: 0}"
    )
    config = load_config(TINY, [f"ppo.trainer={trainer}", "ppo.held_out_prompts=0"])
    return Work(config, folder, inputs, lambda _: None, lambda *_: None, lambda *_: None)


def ids(prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
    return list(prompt_ids(tokenizer(), prompt.messages)), list(response_ids(tokenizer(), answer))


def test_the_texts_are_the_demonstrations_of_the_train_split(
    tmp_path: Path, inputs: dict[str, Path]
) -> None:
    work = at_work(tmp_path, inputs, 1.0)
    expected = [ids(PROMPTS[0], "In boiling water."), ids(PROMPTS[1], "Apples.")]
    assert [(list(p), list(r)) for p, r in ppo.texts_to_mix(work)] == expected


def test_what_people_wrote_comes_first(tmp_path: Path, inputs: dict[str, Path]) -> None:
    written = tmp_path / "sft"
    save(policy(300, dtype=torch.float32), written / "model")
    write_json(written / "written.json", {PROMPTS[2].id: "Very well."})
    work = at_work(tmp_path, {**inputs, "sft": written}, 1.0)
    assert ids(PROMPTS[2], "Very well.") in [(list(p), list(r)) for p, r in ppo.texts_to_mix(work)]


def test_the_stage_mixes_them_in(tmp_path: Path, inputs: dict[str, Path]) -> None:
    """The same training with and without: the mix changes the loss, and keeps the texts likely."""
    losses, likely = [], []
    for coef in (0.0, 5.0):
        logged: list[Json] = []
        folder = tmp_path / str(coef)
        folder.mkdir()
        work = at_work(folder, inputs, coef)
        ppo.run(Work(work.config, folder, inputs, logged.append, work.progress, work.table))
        losses.append(logged[0]["loss"])
        with torch.no_grad():
            texts = ppo.texts_to_mix(work)
            likely.append(float(ptx_loss(load_policy(folder / "model"), texts, 0)))
    assert losses[1] > losses[0] + 5  # five times the nats a token of untrained texts
    assert likely[1] < likely[0] - 5


def test_without_demonstrations_it_says_so(tmp_path: Path, inputs: dict[str, Path]) -> None:
    bare = tmp_path / "prompts"
    rows = [Prompt.of("Say nothing.", split="train"), PROMPTS[3]]
    write_jsonl(bare / "prompts.jsonl", (one.to_json() for one in rows))
    with pytest.raises(ValueError, match=r"ppo.trainer.ptx_coef mixes demonstrations in, and no"):
        ppo.texts_to_mix(at_work(tmp_path, {**inputs, "prompts": bare}, 1.0))
