"""The cards: what a hand-written run holds, in the form that the hub reads, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard
from run_by_hand import CONFIG, policy, results, write_run

from rlhf.data.identity import Json
from rlhf.reporting.cards import (
    Stated,
    data_card,
    model_card,
    policy_of,
    verdict_on_policy,
    write_cards,
)
from rlhf.reporting.reading import RunRecord, read_run
from rlhf.reporting.verdict import verdict_of

MODEL = {"path": "org/base-7b"}
PROMPTS = {"source": "org/questions"}


def run_of(folder: Path, found: dict[str, Json] | None = None, **config: object) -> RunRecord:
    return read_run(write_run(folder / "small", found, config=CONFIG | config))


def test_the_front_matter_is_what_the_hub_reads(tmp_path: Path) -> None:
    run = run_of(tmp_path, model=MODEL, prompts=PROMPTS)
    stated = Stated(license="apache-2.0", language=("en", "de"))
    data: Any = ModelCard(model_card(run, "dpo", stated)).data
    assert (data.base_model, data.datasets, data.library_name, data.pipeline_tag) == (
        "org/base-7b",
        "org/questions",
        "transformers",
        "text-generation",
    )
    assert (data.license, data.language, data.tags) == ("apache-2.0", ["en", "de"], ["rlhf", "dpo"])
    (result,) = data.eval_results
    assert (data.model_name, result.metric_type, result.metric_value) == (
        "small-dpo",
        "win_rate",
        0.70,
    )
    assert (result.dataset_type, result.dataset_name) == (
        "org/questions",
        "400 held-out prompts of the run",
    )
    rankings: Any = DatasetCard(data_card(run, stated)).data
    assert rankings.annotations_creators == "machine-generated"
    assert rankings.size_categories == "n<1K"
    assert rankings.source_datasets == ["org/questions"]
    assert rankings.license == "apache-2.0"


def test_the_card_says_what_the_run_holds(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    said = model_card(run, "dpo", Stated())
    verdict = verdict_of(run)
    assert said.index(f"**{verdict.headline}**") < said.index("## Intended use")
    assert all(sentence in said for sentence in verdict.sentences)
    assert "| base model | 910,464 parameters, pretrained in this run |" in said
    assert "| distance from SFT | 3.17 nats of KL on held-out prompts |" in said
    assert "| **DPO** | 70\u202f% | 65–74 | 0.50 | 3.2 | 30 |" in said
    assert "| PPO | 69\u202f% |" in said
    assert "The reward model is fit for RL." in said
    assert "4 rankings by 2 simulated labelers, from which 11 pairs follow." in said
    assert "| together | 11\u202fmin 0\u202fs |" in said
    assert "Labelers' time: 90 minutes by their simulated clock." in said
    assert "at commit 0d2b7c41fd72." in said


def test_what_is_absent_is_said_to_be_absent(tmp_path: Path) -> None:
    bare = run_of(tmp_path, {"sft": results()["sft"]}, labelers="people")
    said = model_card(bare, "sft", Stated())
    for absent in (
        "| language | not stated |",
        "| license | not stated |",
        "| distance from SFT | not measured |",
        "Not stated (`card.intended_use` in the config).",
        "Not stated (`card.limits` in the config).",
        "Not evaluated.",
        "There is none yet.",
        "There are no prompts yet.",
        "Labelers' time: none recorded.",
        "Energy and money: not recorded.",
    ):
        assert absent in said, absent
    data: Any = ModelCard(said).data
    front = set(data.to_dict())
    assert not {"license", "language", "base_model", "datasets", "model-index"} & front
    of_data = data_card(bare, Stated())
    assert "Nobody has ranked yet." in of_data
    assert "None: the preferences are not derived yet." in of_data
    assert "annotations_creators" not in of_data


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("license", "mit", "license: mit"),
        ("language", ["fr"], "| language | fr |"),
        (
            "intended_use",
            "Answers to our customers.",
            "## Intended use\n\nAnswers to our customers.",
        ),
        ("limits", "German only.", "## Limits\n\nGerman only."),
    ],
)
def test_what_the_config_states_is_in_the_card(
    tmp_path: Path, field: str, value: str | list[str], expected: str
) -> None:
    run = run_of(tmp_path, card={field: value})
    assert expected in model_card(run, "dpo", Stated.of(run))
    assert expected not in model_card(run, "dpo", Stated())


def test_labelers_are_numbers_and_personal_data_is_scrubbed(tmp_path: Path) -> None:
    run = run_of(tmp_path, label={"guidelines": "Ask ann@example.org\nor +44 20 7946 0958."})
    for path in write_cards(run, tmp_path / "cards", "dpo", Stated(limits="See bob@example.org.")):
        said = path.read_text(encoding="utf-8")
        assert "@" not in said
        assert "See [email]." in said
    said = (tmp_path / "cards" / "DATA_CARD.md").read_text(encoding="utf-8")
    assert "> Ask [email] or [phone]." in said
    assert "| 1 | 2 | 20\u202fs |" in said
    assert "| bob |" not in said
    assert sorted(path.name for path in (tmp_path / "cards").iterdir()) == [
        "DATA_CARD.md",
        "README.md",
    ]


def test_the_best_policy_is_described_unless_another_is_asked_for(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert (policy_of(run), policy_of(run, "ppo"), policy_of(run, "sft")) == ("dpo", "ppo", "sft")
    with pytest.raises(ValueError, match="small holds no rloo policy: it holds dpo, ppo, sft"):
        policy_of(run, "rloo")
    found = {name: row for name, row in results().items() if name != "evaluate"}
    unjudged = run_of(tmp_path / "unjudged", found)
    with pytest.raises(ValueError, match="not evaluated: name a policy with --policy"):
        policy_of(unjudged)
    assert policy_of(run_of(tmp_path / "one", {"dpo": found["dpo"]})) == "dpo"


def test_a_verdict_is_not_borrowed_from_another_policy(tmp_path: Path) -> None:
    found = results()
    found["evaluate"]["policies"]["ppo"] = policy(0.40, 0.35, 0.45, kl=9.0)
    run = run_of(tmp_path, found)
    assert verdict_on_policy(run, "dpo") == verdict_of(run)
    assert verdict_on_policy(run, "ppo").tone == "stop"
    assert verdict_on_policy(run, "sft").tone == "wait"
    assert "No verdict on SFT." in model_card(run, "sft", Stated())
