"""The loop, run for real on a tiny config: killed, resumed, repeated, changed, waited for."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from warm import rlhf

from pipelines.campaigns import writing_campaign
from pipelines.config import load_config
from rlhf.data.identity import Json
from rlhf.evaluation.openings import read_openings
from rlhf.feedback.store import Judgement, Store
from rlhf.tracking.run_folder import Completion, StageFolder, owned
from rlhf.tracking.workspace import named

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).parent / "tiny.yaml"
SLOW = pytest.mark.slow
# Runs the shipped runner, and kills its own process with -9 when a stage has come to a given step.
KILLER = """
import os, signal, sys
from pathlib import Path
from pipelines.config import load_config
from pipelines.observer import Observer
from pipelines.runner import Run
stage_name, step, runs_dir = sys.argv[1], int(sys.argv[2]), sys.argv[3]
class Killer(Observer):
    def progressed(self, stage, done, total):
        if stage.name == stage_name and done >= step:
            os.kill(os.getpid(), signal.SIGKILL)
Run(load_config(Path({config!r}), ["runs_dir=" + runs_dir]), observer=Killer()).execute()
"""


def completed(run: Path) -> dict[str, Completion]:
    found = {}
    for root in sorted((run / "round-1").iterdir()):
        current = StageFolder(root).current()
        if current is not None:
            done = StageFolder(root).completion(current.name)
            assert done is not None
            found[root.name] = done
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    runs = tmp_path_factory.mktemp("runs")
    ran = rlhf("run", TINY, f"runs_dir={runs}")
    assert ran.returncode in {0, 3, 4}, ran.stderr
    assert "Verdict:" in ran.stdout
    assert "rlhf label" in ran.stdout
    assert "rlhf chat" in ran.stdout
    return runs / "tiny"


def test_the_whole_loop_leaves_its_evidence(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["rankings"] > 20
    assert summary["pairs"] > 20
    assert 0 <= summary["agreement_with_ties"] <= summary["agreement_strict"] <= 1
    model = summary["reward_model"]
    assert model["accuracy_low"] <= model["accuracy"] <= model["accuracy_high"]
    assert 0 <= model["length_baseline"] <= 1
    assert 0.4 < model["ceiling"] <= 1
    controls = {"best_of_2", "longest_of_2", "null"}
    assert set(summary["policies"]) == {"sft", "dpo", "ppo", *controls}
    for name, row in summary["policies"].items():
        assert row["win_rate_low"] <= row["win_rate"] <= row["win_rate_high"]
        assert row["mean_tokens"] <= 12
        assert ("kl" in row) + ("kl_bound" in row) == (name != "null"), name
        equal = row["length_controlled"]
        assert equal["low"] <= equal["rate"] <= equal["high"]
    *measured, opening = read_openings(whole)
    assert [one["kind"] for one in measured] == ["reward model", "certificate"]
    assert measured[0]["prompts_digest"] == measured[1]["prompts_digest"]
    assert opening["kind"] == "evaluation"
    assert opening["policies"] == ["sft", "dpo", "ppo"]
    assert opening["prompts"] == 10
    assert summary["policies"]["sft"]["kl"] == 0
    assert (whole / "report.html").read_text().startswith("<!doctype html>")
    for stage, done in completed(whole).items():
        folder = whole / "round-1" / stage / done.fingerprint
        assert json.loads((folder / "config.json").read_text())["stage"] == stage
        assert json.loads((folder / "environment.json").read_text())["packages"]["torch"]
        assert not (folder / "checkpoints").exists()


def test_the_panels_in_wandb_show_nothing_that_is_not_logged(whole: Path) -> None:
    """Names that only exist where something is turned on are those of no stage here."""
    unknown = set()
    for stage, name in ((stage, name) for stage, name in named() if stage):
        folder = whole / "round-1" / stage / completed(whole)[stage].fingerprint
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        logged = {key for row in rows for key in row} | set(figures(completed(whole)[stage].result))
        if name not in logged:
            unknown.add((stage, name))
    tables = {("certify", "certificate"), ("ppo", "samples"), ("evaluate", "answers")}
    assert tables <= unknown  # not kept where W&B is off
    off = {"rloo", "rejection", "best_of_4", "best_of_16", "longest_of_16"}
    absent = {name.split(".")[1] for stage, name in unknown - tables if stage == "evaluate"}
    assert absent == off
    assert {one for one in unknown - tables if one[0] != "evaluate"} == {
        ("ppo", "held_out/monitor")
    }


def figures(result: Json, under: str = "") -> Iterator[str]:
    for key, value in result.items():
        if isinstance(value, dict):
            yield from figures(value, f"{under}{key}.")
        else:
            yield f"{under}{key}"


def test_a_second_run_skips_everything_without_torch(whole: Path) -> None:
    before = completed(whole)
    code = (
        "import sys; from pathlib import Path; from pipelines.commands.run import run_command;"
        f"run_command(Path({str(TINY)!r}), ['runs_dir={whole.parent}'], until=None, begin=None,"
        "dry_run=False); assert 'torch' not in sys.modules"
    )
    start = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert time.monotonic() - start < 10
    assert ran.stdout.count("kept") == len(before) == 13
    assert completed(whole) == before


@pytest.mark.parametrize(
    "kills",
    [
        [("label", 9), ("certify", 11), ("ppo", 11)],
        pytest.param([("pretrain", 7), ("reward", 3), ("dpo", 5), ("ppo", 15)], marks=SLOW),
    ],
    ids=["three", "four"],
)
def test_killed_often_it_equals_the_run_never_killed(
    whole: Path, tmp_path: Path, kills: list[tuple[str, int]]
) -> None:
    finished: dict[str, Completion] = {}
    for stage, step in kills:
        ran = rlhf(stage, str(step), tmp_path, code=KILLER.format(config=str(TINY)))
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        now = completed(tmp_path / "tiny")
        assert stage not in now
        assert {name: now[name] for name in finished} == finished, (
            "something complete was done twice"
        )
        finished = now
    checkpoints = list((tmp_path / "tiny" / "round-1" / "ppo").glob("*/checkpoints/*/whole"))
    assert checkpoints, "the interrupted stage had nothing to resume from"
    assert rlhf("run", TINY, f"runs_dir={tmp_path}").returncode in {0, 3, 4}
    ours, theirs = completed(tmp_path / "tiny"), completed(whole)
    for stage in theirs.keys() - {"report"}:  # the report says when, and how long it took
        assert ours[stage].digest == theirs[stage].digest, stage
        assert ours[stage].result == theirs[stage].result, stage


def test_another_config_writes_beside_and_going_back_costs_nothing(whole: Path) -> None:
    before = completed(whole)
    planned = rlhf("run", TINY, f"runs_dir={whole.parent}", "dpo.beta=0.2", "--dry-run").stdout
    assert "run   dpo          changed: dpo.beta (last time" in planned
    assert "keep  reward" in planned
    assert "run   evaluate     after dpo" in planned
    ran = rlhf("run", TINY, f"runs_dir={whole.parent}", "dpo.beta=0.2", "--until", "dpo")
    assert ran.returncode == 0, ran.stderr
    changed = completed(whole)
    assert changed["dpo"].fingerprint != before["dpo"].fingerprint
    assert changed["reward"] == before["reward"]
    again = rlhf("run", TINY, f"runs_dir={whole.parent}", "--until", "dpo")
    assert "done" not in again.stdout
    assert completed(whole)["dpo"] == before["dpo"]
    status = rlhf("status", whole).stdout
    assert "+1 other" in status
    cleaned = rlhf("clean", whole, "--yes")
    assert "Removed 1 folders" in cleaned.stdout
    assert completed(whole) == before


def test_an_unfit_reward_leaves_ppo_out_unless_the_config_says_otherwise(whole: Path) -> None:
    assert rlhf("run", TINY, f"runs_dir={whole.parent}").returncode in {0, 3, 4}
    summary = json.loads((whole / "summary.json").read_text())["reward_model"]
    assert summary["verdict"] == "not yet"
    assert summary["unfit_reward_allowed"] is True
    assert summary["checks"]["held_out_prompts"] < 30
    assert "PPO was told to start all the same" in (whole / "report.html").read_text()
    ppo = completed(whole)["ppo"].result
    assert (ppo["reward_verdict"], ppo["unfit_reward_allowed"]) == ("not yet", True)
    words = ("run", TINY, f"runs_dir={whole.parent}", "ppo.allow_unfit_reward=false")
    (whole / "report.html").unlink()
    refused = rlhf(*words)
    assert refused.returncode == 4
    assert refused.stderr.strip().count("\n") == 0
    assert "PPO does not start: the reward model is not yet fit for RL (held-out" in refused.stderr
    assert "rank answers to more prompts" in refused.stderr
    assert "ppo.allow_unfit_reward=true" in refused.stderr
    page = (whole / "report.html").read_text()
    assert "The reward model is not good enough yet." in page
    assert "PPO was left out." in page
    assert "Verdict:" in refused.stdout
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["best"] == "dpo"
    assert "ppo" not in summary["policies"]
    assert "PPO does not start" in summary["left_out"]["ppo"]
    assert "left out Align with PPO: PPO does not start" in refused.stdout
    assert "left out" in rlhf("status", whole).stdout
    assert "  leave ppo          PPO does not start" in rlhf(*words, "--dry-run").stdout


def test_the_learning_curve_is_of_nested_parts(whole: Path) -> None:
    current = StageFolder(whole / "round-1" / "certify").current()
    assert current is not None
    evidence = json.loads((current / "certificate.json").read_text())["evidence"]
    points = evidence["curve"]["points"]
    prompts = [one["prompts"] for one in points]
    assert len(points) == 3
    assert prompts[0] == round(0.3 * prompts[2])
    assert prompts[1] == round(0.6 * prompts[2])
    assert sorted(one["rankings"] for one in points) == [one["rankings"] for one in points]
    assert points[-1]["accuracy"] == evidence["accuracy"]
    reward = completed(whole)["reward"].result
    assert evidence["accuracy"] == reward["test"]["accuracy"], "the same votes, the same scores"
    assert evidence["dropped"].keys() == reward["dropped"].keys()


@SLOW
def test_reward_certify_shows_the_certificate_of_a_run_or_a_config(whole: Path) -> None:
    before = completed(whole)["certify"]
    ran = rlhf("reward", "certify", whole)
    assert ran.returncode == 4, ran.stderr
    assert "Verdict: not yet" in ran.stdout
    assert "held-out prompts with a ranking" in ran.stdout
    assert ">= 100" in ran.stdout
    assert "done" not in ran.stdout, "nothing was to be done"
    assert completed(whole)["certify"] == before
    words = (TINY, f"runs_dir={whole.parent}", "certify.enabled=false", "certify.curve=[]")
    other = rlhf("reward", "certify", *words)
    assert other.returncode == 4, other.stderr
    assert "done Certify the reward model" in other.stdout
    current = StageFolder(whole / "round-1" / "certify").current()
    assert current is not None
    evidence = json.loads((current / "certificate.json").read_text())["evidence"]
    assert evidence["curve"] is None


def test_from_does_a_stage_again_beside_what_is_there(whole: Path) -> None:
    before = completed(whole)["preferences"]
    ran = rlhf(
        "run", TINY, f"runs_dir={whole.parent}", "--from", "preferences", "--until", "preferences"
    )
    assert ran.returncode == 0, ran.stderr
    again = completed(whole)["preferences"]
    assert again.fingerprint == f"{before.fingerprint}-2"
    assert again.digest == before.digest
    plain = rlhf("run", TINY, f"runs_dir={whole.parent}", "--until", "preferences")
    assert "done" not in plain.stdout
    assert completed(whole)["preferences"] == again, "the newest attempt stays in use"
    late = rlhf("run", TINY, f"runs_dir={whole.parent}", "--from", "evaluate", "--until", "dpo")
    assert late.returncode == 2
    assert "--from evaluate comes after --until dpo" in late.stderr


def test_only_one_process_owns_a_run(whole: Path) -> None:
    with owned(whole):
        ran = rlhf("run", TINY, f"runs_dir={whole.parent}")
    assert ran.returncode == 2
    assert f"is in use by process {os.getpid()}" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    # What a shell starts in the background ignores Ctrl-C, and so would what we start from there.
    code = """
import os, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
stop = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
stop.daemon = True
stop.start()
from pipelines.cli import main
main()
"""
    ran = rlhf("run", TINY, f"runs_dir={tmp_path}", code=code)
    assert ran.returncode == 130
    assert "stopped; the same command goes on from here" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_run_waits_for_people_and_goes_on_with_their_rankings(whole: Path) -> None:
    words = ("run", TINY, f"runs_dir={whole.parent}", "labelers=people", "--until", "preferences")
    waiting = rlhf(*words)
    assert waiting.returncode == 5
    assert "0 of 5 rankings are there" in waiting.stderr
    assert "the certificate asks" not in waiting.stderr, "this config lets PPO start without one"
    with Store(whole / "rankings.db") as store:
        (campaign,) = (one for one in store.campaigns() if "/people/" in one.name)
        for number in range(6):
            task = store.claim(campaign, "ada")
            assert task is not None
            said = Judgement(tuple((one,) for one in task.shown))
            store.submit(task.item_id, "ada", said, submission_id=f"s{number}")
    assert rlhf(*words).returncode == 0
    assert completed(whole)["label"].result["rankings"] == 6
    with Store(whole / "rankings.db") as store:
        task = store.claim(campaign, "ada")
        assert task is not None
        store.submit(task.item_id, "ada", Judgement((task.shown,)), submission_id="one more")
    assert "what it reads from outside changed" in rlhf(*words, "--dry-run").stdout
    assert rlhf("run", TINY, f"runs_dir={whole.parent}").returncode in {0, 3, 4}


def test_chat_answers_and_compares(whole: Path) -> None:
    asked = "What is a magnet for?\n/new\nHow do I cook rice?\n"
    ran = rlhf("chat", whole, "--compare", "sft", entered=asked)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("\n  sft: ") == 2
    unknown = rlhf("chat", whole, "--policy", "gpt")
    assert unknown.returncode == 2
    assert "no policy named 'gpt'" in unknown.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "none.yaml"), 2, "no config file at none.yaml"),
        (("status", "nowhere"), 2, "no run at nowhere"),
        (("report", "nowhere", "--out", "."), 2, ". is a folder: give --out the name of a file"),
        (("reward", "certify", "nowhere"), 2, "no run at nowhere"),
        (("run", str(TINY), "--until", "rewrad"), 2, "no stage named 'rewrad'"),
        (("label", str(TINY), "runs_dir=nowhere"), 2, "has no responses to rank yet"),
        (("import", "none.jsonl", "--into", "x.db"), 2, "none.jsonl"),
    ],
)
def test_a_mistake_is_one_sentence_without_a_traceback(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    ran = rlhf(*words)
    assert ran.returncode == code
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stderr.strip().count("\n") == 0


@SLOW
def test_people_compare_the_policies_and_their_verdict_counts(whole: Path) -> None:
    other = "dpo.trainer.learning_rate=0.01"  # a policy that answers otherwise
    words = ("run", TINY, f"runs_dir={whole.parent}", other, "evaluate.people_judgements=4")
    waiting = rlhf(*words)
    assert waiting.returncode == 5
    assert "0 of 4 comparisons are there" in waiting.stderr
    assert "label CONFIG --mode evaluate" in waiting.stderr
    with Store(whole / "rankings.db") as store:
        (campaign,) = (one for one in store.campaigns() if "/evaluation/" in one.name)
        policies = {r.id: r.model for item in store.items(campaign) for r in item.responses}
        judged = 0
        while (task := store.claim(campaign, "ada")) is not None:
            trained = next(one for one in task.shown if policies[one] != "reference")
            rest = next(one for one in task.shown if one != trained)
            store.submit(
                task.item_id, "ada", Judgement(((trained,), (rest,))), submission_id=f"j{judged}"
            )
            judged += 1
    assert judged >= 4
    assert rlhf(*words).returncode in {0, 4}
    summary = json.loads((whole / "summary.json").read_text())
    people = summary["people"]
    assert people["judgements"] == judged
    won = people["policies"][people["best"]]
    assert won["losses"] == 0
    assert won["wins"] > 0
    assert won["sequential"]["losses"] == 0
    assert summary["verdict"] == "not enough evidence"  # 30 people's comparisons are asked for
    assert "too few for any verdict: it takes 30" in summary["verdict_says"][0]
    assert rlhf("run", TINY, f"runs_dir={whole.parent}").returncode in {0, 3, 4}


@SLOW
def test_sft_learns_from_what_people_wrote(whole: Path) -> None:
    words = ("run", TINY, f"runs_dir={whole.parent}", "sft.written=true", "--until", "sft")
    config = load_config(TINY, [f"runs_dir={whole.parent}"])
    before = completed(whole)["sft"].digest
    with Store(whole / "rankings.db") as store:
        campaign = writing_campaign(store, config, whole / "round-1")
        for number in range(12):
            task = store.claim(campaign, "ada")
            assert task is not None
            said = Judgement(text=f"Written by hand, number {number}.")
            store.submit(task.item_id, "ada", said, submission_id=f"w{number}")
    assert rlhf(*words).returncode == 0
    after = completed(whole)["sft"]
    assert after.digest != before
    current = StageFolder(whole / "round-1" / "sft").current()
    assert current is not None
    written = json.loads((current / "written.json").read_text())
    assert len(written) == 12
    assert "Written by hand, number 3." in written.values()
    assert rlhf("run", TINY, f"runs_dir={whole.parent}").returncode in {0, 3, 4}
    assert completed(whole)["sft"].digest == before
