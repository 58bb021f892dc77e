"""The probe stage: real models behind the bench, its settings, what it says of contamination."""

from pathlib import Path

import pytest
import torch
from tiny_models import EOS, PAD, policy, reward_model, save, tokenizer

from pipelines.config import load_config
from pipelines.console import headline
from pipelines.graph import stages_of
from pipelines.probing import RunModels, bench_of
from pipelines.stage import Work
from pipelines.stages import probe
from rlhf.data.identity import Json, seed_from
from rlhf.data.jsonl import read_json, write_jsonl
from rlhf.data.records import Prompt, Ranking, Response
from rlhf.evaluation.answers import Asked, answer
from rlhf.evaluation.contaminated import says, verdict, win_rates
from rlhf.evaluation.probes.bench import Answered, Reply
from rlhf.evaluation.probes.names import BUILT_IN
from rlhf.models.batching import make_rows, response_logprobs
from rlhf.models.conversation import prompt_ids, response_ids
from rlhf.models.generation import Sampling
from rlhf.reward.scorer import Scorer

TINY = Path(__file__).parent / "tiny.yaml"
ASKED = [Prompt.of("How do I boil an egg?"), Prompt.of("Name three fruits.")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stages written by hand: four models that know nothing, prompts, rankings and answers."""
    root = tmp_path_factory.mktemp("stages")
    for seed, name in enumerate(("sft", "dpo", "ppo")):
        save(policy(300, seed=seed, dtype=torch.float32), root / name / "model")
    save(reward_model(300, dtype=torch.float32), root / "reward/model")
    prompts = [
        Prompt.of(
            f"What is {i}?",
            split="train" if i < 12 else "test",
            demonstration=f"It is {i} and no more.",
        )
        for i in range(24)
    ]
    (root / "prompts").mkdir()
    write_jsonl(root / "prompts/prompts.jsonl", (one.to_json() for one in prompts))
    (root / "preferences").mkdir()
    write_jsonl(root / "preferences/ranked.jsonl", map(ranked_row, prompts))
    (root / "evaluate").mkdir()
    write_jsonl(root / "evaluate/answers.jsonl", map(answer_row, prompts[12:]))
    return root


def ranked_row(prompt: Prompt) -> Json:
    good, poor = (Response.of(prompt.id, text) for text in ("It is.", "No."))
    ranking = Ranking.of(
        prompt_id=prompt.id,
        labeler_id="ann",
        groups=((good.id,), (poor.id,)),
        shown=(good.id, poor.id),
        duration_seconds=1.0,
    )
    responses = [good.to_json(), poor.to_json()]
    return {
        "prompt": prompt.to_json(),
        "responses": responses,
        "rankings": [ranking.to_json()],
    }


def answer_row(prompt: Prompt) -> Json:
    def said(text: str, tokens: int, worth: float) -> Json:
        return {
            "text": text,
            "tokens": tokens,
            "finished": True,
            "gold_reward": worth,
            "proxy_reward": worth,
            "kl": None,
        }

    return {
        "prompt_id": prompt.id,
        "prompt": [one.to_json() for one in prompt.messages],
        "family": "what",
        "answers": {
            "reference": said("It is.", 4, 0.0),
            "sft": said("drawn again", 9, 9.0),
            "dpo": said("It is so.", 5, 1.0),
            "ppo": said("It.", 2, -1.0),
        },
    }


def work(folder: Path, out: Path, *overrides: str) -> Work:
    every = f"probe.probes=[{','.join(BUILT_IN)}]"
    config = load_config(TINY, ["sample.max_new_tokens=6", "probe.limit=20", every, *overrides])
    names = ("prompts", "sft", "preferences", "reward", "dpo", "ppo", "evaluate")
    inputs = {name: folder / name for name in names}
    return Work(config, out, inputs, lambda _: None, lambda *_: None, lambda *_: None)


@pytest.fixture(scope="module")
def models(folder: Path) -> RunModels:
    return RunModels.of(work(folder, folder))


def test_a_policy_is_asked_as_the_evaluation_asks_it(models: RunModels) -> None:
    seeds = [seed_from("evaluate", 3, one.id, 0) for one in ASKED]
    found = models.respond("dpo", ASKED, seeds)
    asked = [Asked(one.id, tuple(prompt_ids(tokenizer(), one.messages))) for one in ASKED]
    rows = answer(
        policy(300, seed=1, dtype=torch.float32), tokenizer(), asked, [0], Sampling(6), seed=3
    )
    assert [(one.ids, one.text, one.finished) for one in found] == [
        (row[0].ids, row[0].text, row[0].finished) for row in rows
    ]
    assert [one.tokens for one in found] == [len(one.ids) for one in found]
    assert models.respond("dpo", [], []) == []


def test_nats_are_those_of_the_whole_reply(models: RunModels) -> None:
    replies = [Reply("Put it in water.", 0), Reply("Apples", 0, finished=False)]
    found = models.nats("ppo", ASKED, replies)
    for prompt, one, (nats, tokens) in zip(ASKED, replies, found, strict=True):
        ids = response_ids(tokenizer(), one.text, finished=one.finished)
        assert (ids[-1] == EOS) == one.finished
        rows = make_rows([prompt_ids(tokenizer(), prompt.messages)], [ids], PAD)
        with torch.no_grad():
            expected = -response_logprobs(policy(300, seed=2, dtype=torch.float32), rows).sum()
        assert nats == pytest.approx(float(expected), rel=1e-4)
        assert tokens == len(ids)


def test_rewards_are_the_scorers_and_a_reply_that_is_too_long_is_cut(
    models: RunModels, folder: Path
) -> None:
    scorer = Scorer.load(folder / "reward/model", PAD)
    ids = prompt_ids(tokenizer(), ASKED[0].messages)
    text = "Put it in boiling water."
    given = response_ids(tokenizer(), text)
    assert models.reward(ASKED[:1], [Reply(text, 0)]) == pytest.approx(
        scorer.score([ids], [given]), abs=1e-5
    )
    long = tuple(5 for _ in range(500))  # tiny.yaml reads 96 tokens: the prompt keeps its last
    assert models.reward(ASKED[:1], [Reply("", 500, ids=long)]) == pytest.approx(
        scorer.score([ids[-1:]], [long[:95]]), abs=1e-5
    )


def test_the_bench_compares_with_the_reference_and_not_with_the_second_draw(folder: Path) -> None:
    found = bench_of(work(folder, folder))
    assert found.trained == ("dpo", "ppo")
    assert found.policies == ("sft", "dpo", "ppo")
    assert [one.replies["sft"].text for one in found.answered] == ["It is."] * 12
    assert found.tokens_of("sft") == [4] * 12
    assert found.answered[0].judged == {"sft": 0.0, "dpo": 1.0, "ppo": -1.0}
    assert len(found.texts["demonstrations"]) == 12
    assert len(found.texts["ranked responses"]) == 24
    assert found.limit == 20


def test_an_answer_that_was_not_judged_is_left_out(folder: Path, tmp_path: Path) -> None:
    prompt = Prompt.of("Who?")
    row = answer_row(prompt)
    row["answers"]["dpo"]["unusable"] = row["answers"]["reference"]["unusable"] = True
    write_jsonl(tmp_path / "answers.jsonl", [row])
    one = work(folder, folder)
    one.inputs["evaluate"] = tmp_path
    assert bench_of(one).answered[0].judged == {"sft": 0.0, "ppo": -1.0}


def test_the_stage_writes_the_contract(folder: Path, tmp_path: Path) -> None:
    result = probe.run(work(folder, tmp_path))
    assert set(result["probes"]) == {"bias", "safety", "length", "regression", "overfitting"}
    assert set(result["skipped"]) == {"memorisation", "slices"}
    for one in result["probes"].values():
        assert one["low"] <= one["value"] <= one["high"]
        assert one["verdict"] in {"ok", "beware", "fail"}
        assert one["says"].endswith(".")
        assert set(one["policy"]) <= {"sft", "dpo", "ppo"}
        assert "details" not in one
    drift = result["probes"]["length"]["policy"]["ppo"]["checks"]["drift"]
    assert (drift["value"], drift["verdict"]) == (-0.5, "beware")
    kept = read_json(tmp_path / "probes.json")
    assert kept["probes"]["regression"]["details"]["sft"]["demonstrations"] == 12
    assert result["contamination"]["prompts"] == 12
    assert result["contamination"]["overlapping"] == 0
    assert result["contamination"]["verdict"] == "ok"
    assert read_json(tmp_path / "contamination.json")["examples"] == []
    assert headline("probe", result).startswith("5 probes: ")


def test_the_config_chooses_the_probes(folder: Path, tmp_path: Path) -> None:
    result = probe.run(work(folder, tmp_path, "probe.probes=[length]"))
    assert set(result["probes"]) == {"length"}
    with pytest.raises(ValueError, match="no probe 'lenght'"):
        probe.run(work(folder, tmp_path, "probe.probes=[lenght]"))
    with pytest.raises(ValueError, match="probes names length more than once"):
        load_config(TINY, ["probe.probes=[length, length]"])
    off = load_config(TINY, ["probe.enabled=false"])
    assert "probe" not in [stage.name for stage in stages_of(off)]
    assert "probe" in [stage.name for stage in stages_of(load_config(TINY))]


def test_fewer_words_make_a_repeated_text(folder: Path, tmp_path: Path) -> None:
    one = work(folder, tmp_path, "probe.probes=[memorisation]", "probe.verbatim_words=4")
    assert bench_of(one).verbatim_words == 4
    assert probe.run(one)["skipped"].keys() == {"memorisation"}  # no answer has even four words


def test_another_probe_or_bound_is_another_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("TITLE = 'Mine'\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = load_config(TINY, ["probe.probes=[length, mine]"])
    before = probe.outside(config, {})
    (tmp_path / "mine.py").write_text("TITLE = 'Mine, changed'\n")
    after = probe.outside(config, {})
    assert before["asked"] == after["asked"]
    assert before["probes"]["length"] == after["probes"]["length"]
    assert before["probes"]["mine"] != after["probes"]["mine"]
    assert probe.settings(config) != probe.settings(load_config(TINY))


def contest(name: str, ours: float, theirs: float) -> Answered:
    prompt = Prompt.of(name)
    return Answered(prompt, {}, {"dpo": ours, "sft": theirs}, {})


def test_win_rates_are_told_on_either_side() -> None:
    rows = [contest("a", 2, 1), contest("b", 1, 1), contest("c", 0, 1)]
    ids = [one.prompt.id for one in rows]
    assert win_rates(rows, ["dpo"], {ids[0], ids[1]}) == {
        "dpo": {"overlapping": 0.75, "others": 0.0}
    }
    assert win_rates(rows, ["dpo"], set())["dpo"]["overlapping"] is None


def test_a_verdict_on_contamination_takes_more_than_chance() -> None:
    # Wilson's lower edges: 0 of 250 0.0 %, 8 of 250 1.6 %, 24 of 250 6.5 %
    assert [verdict(found, 250) for found in (0, 8, 24)] == ["ok", "beware", "fail"]


def test_what_is_said_of_contamination_is_what_was_found() -> None:
    figures: Json = {
        "prompts": 40,
        "overlapping": 0,
        "whole": 0,
        "near_duplicates": 0,
        "mostly_shared": 0,
        "win_rates": {"dpo": {"overlapping": None, "others": 0.6}},
    }
    assert says(figures, built_in=True) == (
        "None of the 40 prompts that policies are judged on stands whole in the training data, nor "
        "does a near-duplicate."
    )
    found = {**figures, "overlapping": 3, "whole": 1, "near_duplicates": 2, "mostly_shared": 5}
    found["win_rates"] = {"dpo": {"overlapping": 0.9, "others": 0.6}}
    said = says(found, built_in=False)
    assert said.startswith(
        "3 of the 40 prompts that policies are judged on stand in the training data: 1 whole"
    )
    assert said.endswith("Win rates: DPO 90 % there and 60 % elsewhere.")
    assert "frames" not in said
    assert "divides frames, not topics" in says(found, built_in=True)
