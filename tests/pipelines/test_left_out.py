"""A run whose reward model is not fit for RL goes on without RL, and makes it up later."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines import graph
from pipelines.campaigns import campaign_name
from pipelines.config import RunConfig, load_config
from pipelines.fitness import held_out_asked
from pipelines.observer import Observer
from pipelines.opening import open_test_split
from pipelines.runner import Run
from pipelines.stage import Stage, UnfitRewardError, WaitingForPeopleError, Work
from pipelines.stages import label
from pipelines.stages import report as report_stage
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, write_json, write_jsonl
from rlhf.data.records import Prompt, Response
from rlhf.evaluation.openings import read_openings
from rlhf.feedback.store import Item, Judgement, Store

CONFIGS = Path(__file__).parents[2] / "pipelines/configs"
QUICKSTART = CONFIGS / "quickstart.yaml"
UNFIT: Json = {
    "verdict": "not yet",
    "checks": [
        {
            "threshold": {
                "name": "held_out_prompts",
                "title": "held-out prompts with a ranking",
                "remedy": "rank more",
                "rl": 100.0,
            },
            "value": 29.0,
            "passes": {"rl": False},
        }
    ],
    "forecast": None,
}


GIVEN = ("sft", "preferences", "certify")


class Told(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []

    def kept(self, stage: Stage, done: object) -> None:
        self.said.append(f"kept {stage.name}")

    def left_out(self, stage: Stage, why: str) -> None:
        self.said.append(f"left out {stage.name}")

    def finished(self, stage: Stage, done: object) -> None:
        self.said.append(f"done {stage.name}")


def summary_of(one: Run) -> Json:
    return dict(read_json(one.config.folder / "summary.json"))


def row() -> Json:
    equal = {"rate": 0.7, "low": 0.6, "high": 0.8}
    share = {"win_rate": 0.7, "win_rate_low": 0.6, "win_rate_high": 0.8}
    return {**share, "length_controlled": equal, "finished_share": 1.0, "mean_tokens": 9.0}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The stages that matter, doing next to nothing; `certificate` is what certify writes."""
    held: dict[str, Any] = {"certificate": UNFIT}

    def certify(work: Work) -> Json:
        open_test_split(work, ["a"], "certificate")
        write_json(work.folder / "certificate.json", held["certificate"])
        return {"verdict": held["certificate"]["verdict"]}

    def preferences(work: Work) -> Json:
        write_jsonl(work.folder / "ranked.jsonl", [])
        return {}

    def trained(work: Work) -> Json:
        write_json(work.folder / "model.json", [work.config.dpo.beta, work.config.sft.trainer])
        return {}

    def evaluate(work: Work) -> Json:
        names = sorted(work.inputs.keys() & {"dpo", "ppo", "rloo"})
        rows = {name: row() for name in ("sft", *names)}
        return {"judge": "built-in", "prompts": 400, "policies": rows, "best": names[0]}

    def report(work: Work) -> Json:
        page = f"<p>{work.folder.name} on {', '.join(sorted(work.inputs))}</p>"
        (work.folder / "report.html").write_text(page)
        return {}

    def stage(name: str, needs: tuple[str, ...], run: Callable[[Work], Json]) -> Stage:
        def settings(config: RunConfig) -> Json:
            if name == "certify":
                return {"curve": config.certify.curve, "is": held["certificate"]["verdict"]}
            if name not in {"dpo", "ppo", "rloo"}:
                return {}
            return dict(getattr(config, name).model_dump(mode="json"))

        def enabled(config: RunConfig) -> bool:
            return name not in {"dpo", "ppo", "rloo"} or getattr(config, name).enabled

        made = Stage(name, name, needs, 1, settings, run, enabled=enabled)
        return replace(made, show=report_stage.show) if name == "report" else made

    policies = ("dpo", "ppo", "rloo", "rejection")
    stages = (
        stage("sft", (), trained),
        stage("preferences", (), preferences),
        stage("certify", ("preferences",), certify),
        stage("dpo", ("sft",), trained),
        stage("ppo", ("sft", "certify"), trained),
        stage("rloo", ("sft", "certify"), trained),
        stage("evaluate", ("sft", *policies), evaluate),
        stage("report", ("sft", "certify", *policies, "evaluate"), report),
    )
    monkeypatch.setattr(graph, "STAGES", stages)
    return held


def run(folder: Path, *overrides: str, until: str | None = None) -> tuple[Run, list[str]]:
    told = Told()
    words = [f"runs_dir={folder}", "wandb.enabled=false", *overrides]
    return Run(load_config(QUICKSTART, words), until=until, observer=told), told.said


def test_the_others_are_made_and_compared_without_what_may_not_start(
    tmp_path: Path, made: dict[str, Any]
) -> None:
    first, said = run(tmp_path)
    why = {one.stage.name: one.why for one in first.plan()}
    assert why["ppo"] == "after certify, if that says fit for RL"
    done = first.execute()
    assert said[3:] == ["done dpo", "left out ppo", "done evaluate", "done report"]
    assert first.left_out["ppo"].startswith(
        "PPO does not start: the reward model is not yet fit for RL (held-out prompts with a "
        "ranking): rank answers to more prompts (100 held-out ones are asked, 29 are ranked), or "
    )
    assert done["evaluate"].result["policies"].keys() == {"sft", "dpo"}
    summary = summary_of(first)
    assert (summary["best"], summary["left_out"]) == ("dpo", first.left_out)
    assert not (first.folder / "ppo").exists(), "nothing was begun, nothing is booked"
    (opening,) = read_openings(first.config.folder)
    assert (opening["kind"], opening["prompts"]) == ("certificate", 1)
    planned, _ = run(tmp_path)
    steps = {one.stage.name: one for one in planned.plan()}
    assert (steps["ppo"].left_out, steps["ppo"].runs) == (True, False)
    assert steps["ppo"].why == first.left_out["ppo"]
    assert not any(one.runs for one in steps.values())

    off, said = run(tmp_path, "ppo.enabled=false")
    off.execute()
    assert said == [f"kept {name}" for name in (*GIVEN, "dpo", "evaluate", "report")]

    made["certificate"] = {**UNFIT, "verdict": "fit for RL"}
    later, said = run(tmp_path)
    assert {one.stage.name: one.why for one in later.plan()}["evaluate"] == "after ppo"
    done = later.execute()
    assert said == [
        *("kept sft", "kept preferences", "done certify", "kept dpo"),
        *("done ppo", "done evaluate", "done report"),
    ]
    assert done["evaluate"].result["policies"].keys() == {"sft", "dpo", "ppo"}
    assert "left_out" not in summary_of(later)


@pytest.mark.usefixtures("made")
def test_the_page_on_top_is_that_of_the_config_that_was_run_last(tmp_path: Path) -> None:
    first, _ = run(tmp_path)
    first.execute()
    top = first.config.folder / "report.html"
    page = top.read_text()
    other, _ = run(tmp_path, "dpo.beta=0.7")
    other.execute()
    assert top.read_text() != page
    again, said = run(tmp_path)
    again.execute()
    assert said[-1] == "kept report"
    assert top.read_text() == page
    top.unlink()
    run(tmp_path)[0].execute()
    assert top.read_text() == page, "made again where somebody removed it"


@pytest.mark.usefixtures("made")
def test_what_a_shorter_call_does_not_reach_stays_in_the_summary(tmp_path: Path) -> None:
    first, _ = run(tmp_path)
    first.execute()
    whole = summary_of(first)
    shorter, _ = run(tmp_path, until="certify")
    shorter.execute()
    held = summary_of(shorter)
    assert held["best"] == whole["best"] == "dpo"
    asked, _ = run(tmp_path, "dpo.beta=0.7", until="certify")
    asked.execute()
    assert "policies" not in summary_of(asked), "another DPO is asked for now"
    assert held["policies"] == whole["policies"]
    assert held["verdict_says"] == whole["verdict_says"]
    changed, _ = run(tmp_path, "dpo.beta=0.7", until="dpo")
    changed.execute()
    assert "policies" not in summary_of(changed), "that was of another DPO"
    assert set(summary_of(changed)["stage_seconds"]) == {*GIVEN, "dpo"}
    back, _ = run(tmp_path, until="sft")
    back.execute()
    assert "policies" not in summary_of(back), "the DPO in use is the other one"


@pytest.mark.usefixtures("made")
def test_a_policy_that_is_left_out_now_is_not_in_the_summary(tmp_path: Path) -> None:
    told, _ = run(tmp_path, "ppo.allow_unfit_reward=true")
    told.execute()
    assert "ppo" in summary_of(told)["stage_seconds"]
    refused, said = run(tmp_path)
    assert {one.stage.name: one.why for one in refused.plan()}["evaluate"] == "no longer reads ppo"
    refused.execute()
    assert said[4:] == ["left out ppo", "done evaluate", "done report"]
    assert "ppo" not in summary_of(refused)["stage_seconds"]


@pytest.mark.usefixtures("made")
def test_what_is_allowed_starts_and_each_climber_is_asked_for_itself(tmp_path: Path) -> None:
    allowed, said = run(tmp_path, "rloo.enabled=true", "rloo.allow_unfit_reward=true")
    allowed.execute()
    assert said[4:6] == ["left out ppo", "done rloo"]
    assert allowed.left_out.keys() == {"ppo"}


@pytest.mark.usefixtures("made")
def test_where_nothing_else_is_trained_the_run_stops(tmp_path: Path) -> None:
    alone, said = run(tmp_path, "dpo.enabled=false", "rloo.enabled=true")
    with pytest.raises(UnfitRewardError, match=r"PPO does not start: .* RLOO does not start: "):
        alone.execute()
    assert said == [*(f"done {name}" for name in GIVEN), "left out ppo", "left out rloo"]
    assert summary_of(alone)["left_out"].keys() == {"ppo", "rloo"}
    planned, _ = run(tmp_path, "dpo.enabled=false", "rloo.enabled=true")
    assert [one.stage.name for one in planned.plan()] == [*GIVEN, "ppo", "rloo"]


def test_a_run_that_waits_for_people_says_what_the_certificate_will_ask(tmp_path: Path) -> None:
    prompts = [Prompt.of(f"Question {n}?", split="test" if n < 3 else "train") for n in range(9)]
    answers = {
        one.id: [Response.of(one.id, text, model="sft") for text in ("yes", "no")]
        for one in prompts
    }
    write_jsonl(tmp_path / "prompts/prompts.jsonl", (one.to_json() for one in prompts))
    write_jsonl(
        tmp_path / "sample/responses.jsonl", (r.to_json() for row in answers.values() for r in row)
    )
    words = [f"runs_dir={tmp_path}", "labelers=people", f"label.store={tmp_path / 'store.db'}"]
    config = load_config(QUICKSTART, words)
    inputs = {name: tmp_path / name for name in ("prompts", "sample")}
    nothing = lambda *_: None  # noqa: E731
    work = Work(config, tmp_path, inputs, nothing, nothing, nothing)
    with Store(config.store) as store:
        name = campaign_name(config, inputs["sample"])
        campaign = store.create_campaign(name, guidelines=config.label.guidelines)
        items = [Item(one, tuple(answers[one.id]), 1) for one in prompts[:1]]
        store.add_items(campaign, items)
        task = store.claim(campaign, "ada")
        assert task is not None
        said = Judgement(tuple((one,) for one in task.shown))
        store.submit(task.item_id, "ada", said, submission_id="one")
    with pytest.raises(
        WaitingForPeopleError,
        match=r"1 of 60 rankings .* asks for rankings of 100 test prompts: 1 of 3 are there\. "
        r"A larger sample.num_prompts or prompts.shares.test brings more; set it before",
    ):
        label.run(work)
    assert held_out_asked(config) == 100
    for word in ("certify.enabled=false", "ppo.allow_unfit_reward=true", "ppo.enabled=false"):
        assert held_out_asked(load_config(QUICKSTART, [word])) is None


def test_new_rankings_in_a_store_behind_a_url_are_seen(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'shared.db'}"
    config = load_config(QUICKSTART, ["labelers=people", f"label.store={store}"])
    prompt = Prompt.of("Why?", split="train")
    answers = tuple(Response.of(prompt.id, text, model="sft") for text in ("yes", "no"))
    write_jsonl(tmp_path / "sample/responses.jsonl", (one.to_json() for one in answers))
    inputs = {"sample": tmp_path / "sample"}
    assert label.outside(config, inputs) == {}
    assert not (tmp_path / "shared.db").exists(), "looking makes no store"
    with Store(store) as held:
        campaign = held.create_campaign(campaign_name(config, inputs["sample"]))
        held.add_items(campaign, [Item(prompt, answers, 1)])
        before = label.outside(config, inputs)
        task = held.claim(campaign, "ada")
        assert task is not None
        held.submit(task.item_id, "ada", Judgement((task.shown,)), submission_id="one")
    assert before.keys() == {"rankings"}
    assert label.outside(config, inputs) != before


def test_the_hub_config_asks_for_as_many_rankings_as_its_certificate_does() -> None:
    config = load_config(CONFIGS / "hub.yaml")
    asked = held_out_asked(config)
    assert asked is not None
    fewest = min(config.sample.num_prompts, config.label.min_rankings)
    assert fewest * config.prompts.shares.test >= asked
    assert config.prompts.count is not None
    assert config.prompts.count * config.prompts.shares.test >= config.evaluate.num_prompts
