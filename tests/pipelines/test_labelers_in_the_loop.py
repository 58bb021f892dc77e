"""Labelers in the loop: who is held out trains nothing, who disagrees with everybody weighs little,
and the weights reach pairs, reward model and DPO.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import policy, save, tokenizer

from pipelines.artifacts import read_ranked_of
from pipelines.config import load_config
from pipelines.labelers import read_held_out_of, read_labeler_weights_of
from pipelines.ranked import tokenise_ranked
from pipelines.stage import Work
from pipelines.stages import certify, preferences, reward
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, read_jsonl, write_jsonl
from rlhf.data.records import Prompt, Ranking, Response, Split
from rlhf.reward import labelers
from rlhf.reward.scorer import Scorer

TINY = Path(__file__).parent / "tiny.yaml"
CAREFUL = tuple(f"careful-{number}" for number in range(5))
CREW = (*CAREFUL, "contrary-0")
WORDS = ("eggs", "water", "red", "friend", "street", "answer")
SPLIT_OF: tuple[Split, ...] = ("train",) * 6 + ("validation",) * 2 + ("test",) * 2


def gathered(
    folder: Path,
    *,
    each: int,
    prompts: int = 100,
    crew: Sequence[str] = CREW,
    splits: Sequence[Split] = SPLIT_OF,
) -> None:
    """What the stages before wrote: whoever is careful ranks by how often a text says `red`."""
    draw = np.random.default_rng(3)
    asked, answers, rankings = [], [], []
    for number in range(prompts):
        prompt = Prompt.of(f"Request {number}.", split=splits[number % len(splits)])
        texts = {" ".join(draw.choice(WORDS, draw.integers(2, 5))) for _ in range(3)}
        responses = [Response.of(prompt.id, f"{text} {n}") for n, text in enumerate(sorted(texts))]
        asked.append(prompt.to_json())
        answers += [one.to_json() for one in responses]
        if len(responses) < 2:
            continue
        worth = {one.id: 6.0 * one.text.split().count("red") for one in responses}
        for name in draw.choice(crew, each, replace=False):
            heard = {key: value + draw.gumbel() for key, value in worth.items()}
            order = sorted(heard, key=heard.__getitem__, reverse="contrary" not in name)
            rankings.append(
                Ranking.of(
                    prompt_id=prompt.id,
                    labeler_id=str(name),
                    groups=tuple((one,) for one in order),
                    shown=tuple(one.id for one in responses),
                )
            )
    write_jsonl(folder / "prompts" / "prompts.jsonl", asked)
    write_jsonl(folder / "sample" / "responses.jsonl", answers)
    write_jsonl(folder / "label" / "rankings.jsonl", (one.to_json() for one in rankings))


def at_work(folder: Path, stage: str, *overrides: str) -> Work:
    config = load_config(TINY, [f"runs_dir={folder}", *overrides])
    names = ("prompts", "sample", "label", "preferences", "sft")
    (folder / stage).mkdir(exist_ok=True)
    return Work(
        config,
        folder / stage,
        {name: folder / name for name in names},
        lambda _: None,
        lambda *_: None,
        lambda *_: None,
    )


def preferred(folder: Path, *overrides: str) -> tuple[Json, Json]:
    result = preferences.run(at_work(folder, "preferences", *overrides))
    return result, read_json(folder / "preferences" / "labelers.json")


def pair_weights(folder: Path, split: str) -> dict[str, float]:
    """Prompt id -> the summed weights of its pairs."""
    found: dict[str, float] = defaultdict(float)
    for row in read_jsonl(folder / "preferences" / f"pairs-{split}.jsonl"):
        found[row["prompt_id"]] += row["weight"]
    return found


def test_agreement_finds_the_contrarian_and_the_weights_reach_the_pairs(tmp_path: Path) -> None:
    gathered(tmp_path, each=3)
    result, found = preferred(tmp_path, "reward.labelers=agreement")
    assert found["by"] == "agreement"
    assert set(found["weights"]) == set(CREW)
    assert found["weights"]["contrary-0"] < 0.05
    assert min(found["weights"][name] for name in CAREFUL) > 0.8
    about = found["reliability"]["contrary-0"]
    assert about["value"] < -0.8
    assert set(about["leanings"]) == {"longer", "shown first"}
    assert about["comparisons"] > 20
    assert about["standard_error"] < 0.3
    assert result["labelers"]["lowest_weight"] == min(found["weights"].values())
    # A prompt counts once, shared by weight; on the test split everybody counts alike.
    for split, alike in (("train", False), ("test", True)):
        by_prompt: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        rankings = {
            ranking.id: ranking.labeler_id
            for row in read_ranked_of(tmp_path / "preferences")
            for ranking in row.rankings
        }
        for row in read_jsonl(tmp_path / "preferences" / f"pairs-{split}.jsonl"):
            by_prompt[row["prompt_id"]][rankings[row["ranking_id"]]] += row["weight"]
        for shares in by_prompt.values():
            assert sum(shares.values()) == pytest.approx(1)
            if not alike:
                total = sum(found["weights"][name] for name in CREW if name in shares)
                for name, share in shares.items():
                    assert share == pytest.approx(found["weights"][name] / total)
            else:
                assert set(np.round(list(shares.values()), 9)) == {round(1 / len(shares), 9)}


def test_alike_weighs_everybody_one(tmp_path: Path) -> None:
    gathered(tmp_path, each=3, prompts=40)
    _, found = preferred(tmp_path, "reward.labelers=alike")
    assert found["by"] == "alike"
    assert set(found["weights"].values()) == {1.0}
    assert found["reliability"]["contrary-0"]["value"] < 0


def test_a_crew_without_overlap_is_left_alone(tmp_path: Path) -> None:
    gathered(tmp_path, each=1, prompts=40)
    _, found = preferred(tmp_path, "reward.labelers=agreement")
    assert set(found["weights"].values()) == {1.0}


def test_held_out_labelers_train_nothing_and_stay_in_the_rankings(tmp_path: Path) -> None:
    gathered(tmp_path, each=2, prompts=60)
    result, found = preferred(tmp_path, "label.held_out_labelers=0.4")
    held_out = set(found["held_out"])
    assert 0 < len(held_out) < len(CREW)
    assert result["labelers"]["held_out"] == len(held_out)
    assert all(found["weights"][name] == 0 for name in held_out)
    assert not held_out & found["reliability"].keys()
    assert read_held_out_of(tmp_path / "preferences") == held_out
    weights = read_labeler_weights_of(tmp_path / "preferences")
    rows = list(read_ranked_of(tmp_path / "preferences"))
    by = {ranking.id: ranking.labeler_id for row in rows for ranking in row.rankings}
    assert held_out < set(by.values())
    for split in ("train", "validation", "test"):
        pairs = read_jsonl(tmp_path / "preferences" / f"pairs-{split}.jsonl")
        said = {by[row["ranking_id"]] for row in pairs}
        assert bool(said & held_out) == (split == "test")
    ranked, dropped = tokenise_ranked(rows, tokenizer(), 96, labelers=weights)
    alone = {row.prompt.id for row in rows if {one.labeler_id for one in row.rankings} <= held_out}
    assert dropped.rankings_without_weight == sum(name in held_out for name in by.values())
    assert dropped.prompts_without_weight == len(alone) > 0
    assert not alone & {one.prompt_id for one in ranked}


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(policy(300, dtype=torch.float32), tmp_path_factory.mktemp("sft") / "model").parent


def trained(folder: Path, sft: Path, *overrides: str) -> tuple[Json, list[Json]]:
    logged: list[Json] = []
    work = replace(at_work(folder, "reward", *overrides), log=logged.append)
    work.inputs["sft"] = sft
    return reward.run(work), logged


LEARNING = (
    "reward.labelers=learned",
    "reward.trainer.max_steps=30",
    "reward.trainer.learning_rate=0.01",
    "reward.trainer.per_device_train_batch_size=8",
)


def test_learned_trains_again_where_that_helps(tmp_path: Path, sft: Path) -> None:
    gathered(tmp_path, each=2, prompts=200, crew=CREW)
    preferred(tmp_path, LEARNING[0])
    result, logged = trained(tmp_path, sft, *LEARNING)
    assert result["labelers"]["aware"]
    assert result["labelers"]["gain_nats"] > result["labelers"]["gain_standard_error"]
    found = read_json(tmp_path / "reward" / "labelers.json")
    assert found["by"] == "learned"
    assert found["weights"]["contrary-0"] < 0.3
    assert min(found["weights"][name] for name in CAREFUL) > 0.7
    assert result["labelers"]["without_weight"] == sum(
        weight == 0 for weight in found["weights"].values()
    )
    assert [row["step"] for row in logged if "loss" in row] == list(range(1, 61))
    if result["labelers"]["without_weight"]:
        assert result["dropped"]["rankings_without_weight"] > 0


def test_learned_leaves_a_clean_crew_alone(tmp_path: Path, sft: Path) -> None:
    gathered(tmp_path, each=1, prompts=60, crew=CAREFUL)
    preferred(tmp_path, LEARNING[0])
    result, logged = trained(tmp_path, sft, *LEARNING)
    assert not result["labelers"]["aware"]
    assert set(read_labeler_weights_of(tmp_path / "reward").values()) == {1.0}
    assert [row["step"] for row in logged if "loss" in row] == list(range(1, 31))


@pytest.mark.parametrize("splits", [("train", "train", "validation"), ("train",)])
def test_learned_is_judged_by_votes_that_trained_nothing(
    tmp_path: Path, sft: Path, monkeypatch: pytest.MonkeyPatch, splits: tuple[Split, ...]
) -> None:
    heard: list[Ranking] = []
    learn = labelers.learn_from

    def listens(rankings: Any, *arguments: Any) -> Any:
        heard.extend(rankings)
        return learn(rankings, *arguments)

    monkeypatch.setattr(labelers, "learn_from", listens)
    gathered(tmp_path, each=1, prompts=12, splits=splits)
    preferred(tmp_path, LEARNING[0])
    result, _ = trained(tmp_path, sft, LEARNING[0], "reward.trainer={max_steps: 1}")
    validation = read_ranked_of(tmp_path / "preferences", "validation")
    assert {one.id for one in heard} == {one.id for row in validation for one in row.rankings}
    assert bool(heard) == ("validation" in splits)
    assert heard or not result["labelers"]["aware"]


def test_the_certificate_counts_what_the_held_out_said_on_every_split_that_trains(
    tmp_path: Path, sft: Path
) -> None:
    gathered(tmp_path, each=2, prompts=24)
    given = ("label.held_out_labelers=0.4", "certify.curve=[]", "reward.trainer={max_steps: 1}")
    preferred(tmp_path, given[0])
    result, _ = trained(tmp_path, sft, *given)
    work = at_work(tmp_path, "certify", *given)
    work.inputs.update(sft=sft, reward=tmp_path / "reward")
    certify.run(replace(work, table=lambda *_: None))
    evidence = read_json(tmp_path / "certify" / "certificate.json")["evidence"]
    held_out = read_held_out_of(tmp_path / "preferences")
    said = {
        split: sum(
            ranking.labeler_id in held_out
            for row in read_ranked_of(tmp_path / "preferences", split)
            for ranking in row.rankings
        )
        for split in ("train", "validation")
    }
    assert said["train"] == result["dropped"]["rankings_without_weight"] > 0
    assert evidence["dropped"]["rankings_without_weight"] == sum(said.values())


def test_64_prompts_a_step_and_one_epoch_unless_the_config_says_otherwise(
    tmp_path: Path, sft: Path
) -> None:
    gathered(tmp_path, each=1, prompts=70, splits=("train",))
    preferred(tmp_path)
    ranked = len(list(read_ranked_of(tmp_path / "preferences")))
    assert 64 < ranked <= 70
    assert trained(tmp_path, sft, "reward.trainer={learning_rate: 0.001}")[0]["steps"] == 2
    given = "reward.trainer={per_device_train_batch_size: 10, num_train_epochs: 2}"
    assert trained(tmp_path, sft, given)[0]["steps"] == 2 * -(-ranked // 10)


def test_splits_without_a_pair_are_left_out_of_the_result_or_refused(
    tmp_path: Path, sft: Path
) -> None:
    gathered(tmp_path, each=1, prompts=8, splits=("train",))
    preferred(tmp_path)
    result, _ = trained(tmp_path, sft, "reward.trainer={max_steps: 1}")
    assert "train" in result
    assert not {"validation", "test"} & result.keys()
    with pytest.raises(ValueError, match="no validation prompt has a ranking"):
        trained(tmp_path, sft, "reward.trainer={early_stopping_patience: 1}")
    gathered(tmp_path, each=1, prompts=8, splits=("test",))
    preferred(tmp_path)
    with pytest.raises(ValueError, match="no ranking of the train split has a strict pair"):
        trained(tmp_path, sft)


@pytest.mark.parametrize("kind", ["heads", "seeds"])
def test_members_are_trained_and_recorded(tmp_path: Path, sft: Path, kind: str) -> None:
    gathered(tmp_path, each=1, prompts=12)
    preferred(tmp_path)
    steps = "reward.trainer={max_steps: 2}"
    result, logged = trained(
        tmp_path,
        sft,
        steps,
        "reward.members=2",
        f"reward.ensemble={kind}",
        "reward.combine=minimum",
    )
    assert result["members"] == 2
    assert result["steps"] == (2 if kind == "heads" else 4)
    assert [row["step"] for row in logged if "loss" in row] == list(range(1, result["steps"] + 1))
    scorer = Scorer.load(tmp_path / "reward" / "model")
    (row,) = scorer.score_members([(5, 6)], [(7, 1)])
    assert len(row) == 2
    assert scorer.score([(5, 6)], [(7, 1)]) == [min(row)]
