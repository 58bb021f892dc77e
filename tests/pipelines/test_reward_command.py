"""`rlhf reward score`, run for real: texts, messages and ids in, rewards out, faults counted."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import EOS, PAD, reward_model, save, tokenizer
from typer.testing import CliRunner

from pipelines.cli import app
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_jsonl, write_json, write_jsonl
from rlhf.data.records import Message, Prompt
from rlhf.models.conversation import prompt_ids, response_ids
from rlhf.models.loading import add_adapters, load_scorer
from rlhf.models.lora import LoraSettings
from rlhf.reward.normalisation import normalise
from rlhf.reward.scorer import Scorer

ASKED = "How do I boil an egg?"
TURNS = (
    Message("system", "Be brief."),
    Message("user", "Name three fruits that are red."),
    Message("assistant", "Apples."),
    Message("user", ASKED),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = reward_model(300, dtype=torch.float32)
    normalise(model, [((5, 6), (7, EOS)), ((5, 6), (8, 9, EOS)), ((4,), (3, EOS))], PAD)
    return save(model, tmp_path_factory.mktemp("model"))


def ids(prompt: Any, response: str, *, finished: bool = True) -> tuple[list[int], list[int]]:
    turns = Prompt.of(prompt).messages
    made = tokenizer()
    return prompt_ids(made, turns), response_ids(made, response, finished=finished)


def test_texts_are_scored_as_their_ids(folder: Path) -> None:
    scorer = Scorer.load(folder)
    found = scorer.score_texts([ASKED, TURNS, ASKED], ["Boil it.", "Red.", ""])
    asked, answers = zip(ids(ASKED, "Boil it."), ids(TURNS, "Red."), ids(ASKED, ""), strict=True)
    assert answers[2] == [EOS]
    assert found == pytest.approx(Scorer.load(folder, PAD).score(asked, answers))
    cut = scorer.score_texts([ASKED], ["Boil it."], finished=False)
    assert cut == scorer.score([asked[0]], [answers[0][:-1]])
    assert abs(cut[0] - found[0]) > 0.01
    assert scorer.score_texts([ASKED] * 2, ["Boil it."] * 2, finished=[True, False]) == (
        pytest.approx([found[0], cut[0]], abs=1e-5)
    )


def test_long_prompts_are_cut_and_what_has_no_room_is_refused(folder: Path) -> None:
    scorer = Scorer.load(folder)
    assert scorer.max_tokens == 128
    _, answer = ids(TURNS, "Red.")
    fits = len(ids(TURNS[3].content, "Red.")[0]) + len(answer)
    last = scorer.score([ids(ASKED, "")[0]], [answer])
    assert scorer.score_texts([TURNS], ["Red."], max_tokens=fits) == pytest.approx(last)
    with pytest.raises(ValueError, match="leaves no room for its prompt in 4 tokens"):
        scorer.score_texts([ASKED], ["Put it in boiling water."], max_tokens=4)
    with pytest.raises(ValueError, match="empty and was not finished"):
        scorer.score_texts([ASKED], [""], finished=False)
    with pytest.raises(ValueError, match="without a folder: score token ids"):
        Scorer(scorer.model, PAD).score_texts([ASKED], ["Yes."])


def scored(file: Path, model: Path, *words: str | Path) -> tuple[list[Json], str]:
    ran = CliRunner().invoke(
        app, ["reward", "score", str(file), "--model", str(model), *map(str, words)]
    )
    if ran.exception is not None:
        raise ran.exception
    return [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr


GOOD: Sequence[Json] = [
    {"prompt": ASKED, "response": "Boil it.", "note": 7},
    {"prompt": [turn.to_json() for turn in TURNS], "responses": ["Red.", "In water."]},
    {"prompt": ASKED, "response": "Boil it.", "finished": False},
    {"prompt_ids": [5, 9, 11], "response_ids": [6, 3, EOS]},
]


def test_each_row_comes_out_with_its_reward(folder: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "asked.jsonl", GOOD)
    rows, said = scored(tmp_path / "asked.jsonl", folder)
    scorer = Scorer.load(folder)
    expected = [
        scorer.score_texts([ASKED], ["Boil it."])[0],
        *scorer.score_texts([TURNS] * 2, ["Red.", "In water."]),
        scorer.score_texts([ASKED], ["Boil it."], finished=False)[0],
        scorer.score([(5, 9, 11)], [(6, 3, EOS)])[0],
    ]
    found = [rows[0]["reward"], *rows[1]["rewards"], rows[2]["reward"], rows[3]["reward"]]
    assert found == pytest.approx(expected, abs=1e-5)
    assert [{k: v for k, v in row.items() if not k.startswith("reward")} for row in rows] == GOOD
    assert said == ""
    scored(tmp_path / "asked.jsonl", folder, "--to", tmp_path / "scored.jsonl", "--members")
    to_file = list(read_jsonl(tmp_path / "scored.jsonl"))
    assert [row.pop("members") for row in to_file] == [
        [rows[0]["reward"]],
        [[one] for one in rows[1]["rewards"]],
        [rows[2]["reward"]],
        [rows[3]["reward"]],
    ]
    assert to_file == rows


FAULTS: Sequence[tuple[Json, str]] = [
    ({"prompt": ASKED}, "needs `response` or `responses`, one of them"),
    ({"prompt": ASKED, "response": "a", "responses": ["b"]}, "one of them"),
    ({"prompt": ASKED, "responses": "b"}, "`responses` is not a list"),
    ({"prompt": ASKED, "responses": []}, "`responses` is not a list"),
    ({"prompt": ASKED, "response": 3}, "a response is not a text"),
    ({"prompt": " ", "response": "a"}, "`prompt` is missing, empty"),
    ({"response": "a"}, "`prompt` is missing, empty"),
    ({"prompt": [{"role": "robot"}], "response": "a"}, "need a role and a text"),
    ({"prompt": [TURNS[2].to_json()], "response": "a"}, "must end in the user's"),
    ({"prompt": ASKED, "response": "a", "finished": "no"}, "`finished` is not true or false"),
    ({"prompt": ASKED, "responses": ["a"], "finished": [True] * 2}, "`finished` is not"),
    ({"prompt": ASKED, "response": "", "finished": False}, "empty and was not finished"),
    ({"prompt": ASKED, "response": "word " * 200}, "leaves no room for its prompt in 128 tokens"),
    ({"prompt_ids": [5], "response_ids": [300]}, "the model's token ids"),
    ({"prompt_ids": [5], "response_ids": []}, "the model's token ids"),
    ({"prompt_ids": [True], "response_ids": [5]}, "the model's token ids"),
    ({"prompt_ids": [5] * 120, "response_ids": [5] * 9}, "more than 128 tokens"),
]


def test_faults_are_named_counted_and_past_a_limit_fatal(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "asked.jsonl"
    write_jsonl(file, [GOOD[0], *(row for row, _ in FAULTS), GOOD[3]])
    rows, said = scored(file, folder, "--max-bad", "0.9")
    for row, (given, fault) in zip(rows[1:-1], FAULTS, strict=True):
        assert fault in row.pop("error")
        assert row == given
    assert {"reward"} <= rows[0].keys() & rows[-1].keys()
    assert f"{len(FAULTS)} of {len(FAULTS) + 2} rows were not scored: 3 x " in said
    with pytest.raises(ValueError, match=f"{len(FAULTS)} of {len(FAULTS) + 2} rows of .* 3 x "):
        scored(file, folder)
    file.write_text("")
    with pytest.raises(ValueError, match="holds no row"):
        scored(file, folder)


def test_the_model_of_a_run_is_found(folder: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "asked.jsonl", GOOD[:1])
    with pytest.raises(ValueError, match="no run at"):
        scored(tmp_path / "asked.jsonl", tmp_path / "nothing")
    (tmp_path / "run" / "round-1").mkdir(parents=True)
    with pytest.raises(ValueError, match="has no reward model"):
        scored(tmp_path / "asked.jsonl", tmp_path / "run")
    stage = tmp_path / "stage"
    stage.mkdir()
    (stage / "model").symlink_to(folder)
    about = {"dtype": "float32", "max_tokens": 14}
    write_json(stage / "config.json", {"stage": "reward", "run": {"model": about}})
    write_jsonl(tmp_path / "asked.jsonl", [GOOD[0], {"prompt": ASKED, "responses": ["a", "b"]}])
    _, said = scored(tmp_path / "asked.jsonl", stage)
    assert "2 prompts were cut on their left to 14 tokens in all" in said


def test_what_an_earlier_scoring_left_is_not_taken_for_this_one(
    folder: Path, tmp_path: Path
) -> None:
    old: Json = {"reward": 3, "rewards": [1], "members": [[2]], "error": "was too long"}
    write_jsonl(tmp_path / "asked.jsonl", [{**GOOD[0], **old}, {"prompt": ASKED, **old}])
    good, bad = scored(tmp_path / "asked.jsonl", folder, "--max-bad", "0.5")[0]
    assert good.keys() == {*GOOD[0], "reward"}
    assert good["reward"] != 3
    assert bad.keys() == {"prompt", "error"}
    assert "needs `response`" in bad["error"]


def test_messages_that_the_chat_template_refuses_are_a_fault_of_their_row(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    template = tmp_path / "model" / "chat_template.jinja"
    template.write_text(refusing + template.read_text())
    write_jsonl(tmp_path / "asked.jsonl", GOOD)
    rows, said = scored(tmp_path / "asked.jsonl", tmp_path / "model", "--max-bad", "0.25")
    assert [row.get("error") for row in rows] == [
        None,
        "the model's chat template refuses the messages: no system",
        None,
        None,
    ]
    assert "1 of 4 rows were not scored" in said


def test_a_reward_that_is_no_number_is_an_error(folder: Path, tmp_path: Path) -> None:
    model = reward_model(300, dtype=torch.float32)
    model.score.weight.data.fill_(3e38)
    save(model, tmp_path / "model")
    write_jsonl(tmp_path / "asked.jsonl", GOOD)
    with pytest.raises(ValueError, match=r"gives NaN or infinity to \d of 5 responses"):
        scored(tmp_path / "asked.jsonl", tmp_path / "model", "--to", tmp_path / "scored.jsonl")
    assert not (tmp_path / "scored.jsonl").exists()


def test_an_adapter_is_a_reward_model_too(folder: Path, tmp_path: Path) -> None:
    adapted = add_adapters(load_scorer(folder, PAD), LoraSettings(r=2), "SEQ_CLS")
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer().save_pretrained(tmp_path / "adapter")
    write_jsonl(tmp_path / "asked.jsonl", GOOD[:1])
    (found,), _ = scored(tmp_path / "asked.jsonl", tmp_path / "adapter")
    (whole,), _ = scored(tmp_path / "asked.jsonl", folder)
    assert found["reward"] == pytest.approx(whole["reward"], abs=1e-5)
