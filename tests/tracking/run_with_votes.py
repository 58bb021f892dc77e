"""A small run whose votes are known one by one: ada, bob and cyd rank, ada writes and judges.

Written through the run folder's own code, so that every hash is a true one.
"""

import html
from pathlib import Path

from rlhf.data.identity import Json
from rlhf.data.jsonl import write_json, write_jsonl
from rlhf.data.records import Demonstration, Ranking
from rlhf.tracking.run_folder import StageFolder

REASON = "Ada thinks \u201cblue\u201d & round is <better>, says so"
SHORT = "ok"
WRITTEN = "Ada wrote this answer herself, naïvely."
BOBS = "Bob likes the second one because it is short."
SPLITS = {"p1": "train", "p2": "validation", "p3": "test"}
CONFIG: Json = {
    "name": "small",
    "labelers": "people",
    "model": {"path": "hub/base"},
    "prompts": {"source": "file.jsonl"},
    "label": {"store": None},
    "wandb": {"project": "proj", "entity": None},
}


def ranking(prompt: str, labeler: str, order: str, rationale: str = "", **more: Json) -> Ranking:
    """`order` is the response letters, best first."""
    return Ranking.of(
        prompt_id=prompt,
        labeler_id=labeler,
        groups=tuple((f"{prompt}-{letter}",) for letter in order),
        shown=tuple(f"{prompt}-{letter}" for letter in sorted(order)),
        submitted_at="2026-01-05T09:00:00+00:00",
        duration_seconds=30.0,
        rationale=rationale,
        **more,
    )


def rankings() -> list[Ranking]:
    return [
        ranking("p1", "ada", "ab", REASON, details={"flags": {"p1-a": ["violent"]}}),
        ranking("p1", "bob", "ba", BOBS),
        ranking("p1", "cyd", "ab"),
        ranking("p2", "ada", "ba", SHORT),
        ranking("p2", "bob", "ab", SHORT),
        ranking("p3", "ada", "ab"),
    ]


def demonstration() -> Demonstration:
    return Demonstration.of(prompt_id="p1", labeler_id="ada", text=WRITTEN)


def judgements() -> list[Ranking]:
    return [ranking("p3", "ada", "cd", REASON), ranking("p3", "bob", "dc", BOBS)]


def write_run_with_votes(run: Path, config: Json | None = None) -> Path:
    """Writes every stage, complete and in use."""
    config = CONFIG if config is None else config
    made: dict[str, str] = {}
    prompts = [{"id": one, "messages": [], "split": split} for one, split in SPLITS.items()]
    answers = {one: [_response(one, letter) for letter in "ab"] for one in SPLITS}
    given = rankings()
    by_prompt = {one: [r.to_json() for r in given if r.prompt_id == one] for one in SPLITS}
    pairs = [
        {"chosen": r.groups[0][0], "ranking_id": r.id, "prompt_id": r.prompt_id}
        for r in given
        if SPLITS[r.prompt_id] == "train"
    ]

    def stage(name: str, needs: str, files: dict[str, object]) -> Path:
        return _stage(run, config, made, name, needs.split(), files)

    stage("prompts", "", {"prompts.jsonl": prompts})
    wrote = demonstration()
    stage(
        "sft",
        "prompts",
        {
            "model/model.safetensors": "sft weights",
            "written.json": {"p1": WRITTEN},
            "writers.json": [{"id": wrote.id, "labeler_id": "ada", "prompt_id": "p1"}],
        },
    )
    stage(
        "sample", "prompts sft", {"responses.jsonl": [r for row in answers.values() for r in row]}
    )
    stage("label", "prompts sample", {"rankings.jsonl": [r.to_json() for r in given]})
    stage(
        "preferences",
        "prompts sample label",
        {
            "ranked.jsonl": [
                {"prompt": row, "responses": answers[row["id"]], "rankings": by_prompt[row["id"]]}
                for row in prompts
            ],
            "pairs-train.jsonl": pairs,
            "labelers.json": {
                "by": "agreement",
                "weights": {"ada": 0.9, "bob": 0.8, "cyd": 0.0},
                "reliability": {"ada": {"value": 0.9}, "bob": {"value": 0.8}},
                "held_out": ["cyd"],
            },
        },
    )
    stage("reward", "sft preferences", {"model/model.safetensors": "reward weights"})
    rows = [{"name": "ada", "right": 0.7}, {"name": "bob", "right": 0.8}]
    stage("certify", "reward", {"certificate.json": {"evidence": {"by_labeler": rows}}})
    stage("dpo", "sft preferences", {"model/model.safetensors": "dpo weights"})
    stage("evaluate", "prompts sft dpo", {"answers.jsonl": [{"prompt_id": "p3"}]})
    stage("judge", "evaluate", {"judgements.jsonl": [r.to_json() for r in judgements()]})
    page = f'<p>{html.escape(REASON)}</p><tr><th scope="row">ada</th></tr> <p>{BOBS}</p>'
    report = stage("report", "label certify dpo evaluate judge", {"report.html": page})
    (run / "report.html").write_text((report / "report.html").read_text())
    write_json(run / "summary.json", {"run": "small"})
    return run


def _response(prompt: str, letter: str) -> Json:
    return {"id": f"{prompt}-{letter}", "prompt_id": prompt, "text": f"Answer {letter}: {SHORT}"}


def _stage(
    run: Path, config: Json, made: dict[str, str], name: str, needs: list[str], files: Json
) -> Path:
    root = StageFolder(run / "round-1" / name)
    folder = root.begin(f"{name}-aaa")
    read = {need: {"path": f"round-1/{need}/{need}-aaa", "sha256": made[need]} for need in needs}
    write_json(folder / "config.json", {"stage": name, "version": 1, "settings": {}, "run": config})
    write_json(folder / "inputs.json", {"stages": read, "outside": {}})
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            target.write_text(content, encoding="utf-8")
        elif target.suffix == ".jsonl":
            write_jsonl(target, content)
        else:
            write_json(target, content)
    moment = f"2026-01-06T{len(made):02}:00:00.000+00:00"
    done = root.complete(folder.name, seconds=60.0, finished_at=moment, result={})
    made[name] = done.digest
    return folder
