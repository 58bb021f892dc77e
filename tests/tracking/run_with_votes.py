"""A small run whose votes are known one by one: ada, bob and cyd rank, ada writes and judges.

Written through the run folder's own code, so that every hash is a true one.
"""

import html
from pathlib import Path

from rlhf.data.identity import Json
from rlhf.data.jsonl import write_json, write_jsonl
from rlhf.data.records import Demonstration, Prompt, Ranking, Response, Split
from rlhf.tracking.run_folder import StageFolder

REASON = "Ada thinks \u201cblue\u201d & round is <better>, says so"
SHORT = "ok"
WRITTEN = "Ada wrote this answer herself, naïvely."
BOBS = "Bob likes the second one because it is short."


def policy(win_rate: float, kl: float) -> Json:
    """The row of a policy as the evaluation writes it."""
    return {
        "win_rate": win_rate,
        "win_rate_low": win_rate - 0.05,
        "win_rate_high": win_rate + 0.05,
        "gold_reward": 1.0,
        "proxy_reward": 0.5,
        "mean_tokens": 30.0,
        "finished_share": 0.99,
        "kl": kl,
    }


RESULTS: dict[str, Json] = {
    "prompts": {"prompts": 3, "train": 1, "validation": 1, "test": 1},
    "sft": {"demonstrations": 1},
    "sample": {"prompts": 3, "responses": 6, "finished_share": 1.0},
    "label": {
        "rankings": 6,
        "labelers": 3,
        "pairs": 6,
        "ties": 0,
        "none_acceptable": 0,
        "labeler_minutes": 3.0,
        "agreement": {"strict": None, "with_ties": None, "pairs_strict": 0, "pairs": 0},
    },
    "evaluate": {
        "judge": "built-in",
        "prompts": 400,
        "policies": {"sft": policy(0.5, 0.0), "dpo": policy(0.7, 3.0)},
        "best": "dpo",
        "verdict": "ship",
    },
    "judge": {
        "judgements": 2,
        "labelers": 2,
        "policies": {
            "dpo": {"rate": 0.5, "low": 0.2, "high": 0.8, "wins": 1, "ties": 0, "losses": 1}
        },
        "best": "dpo",
        "verdict": "not enough evidence",
    },
}
SPLITS: dict[str, Split] = {"p1": "train", "p2": "validation", "p3": "test"}
PROMPTS = {key: Prompt.of(f"Question {key}?", split=split) for key, split in SPLITS.items()}
RESPONSES = {
    key: {letter: Response.of(one.id, f"{key}, answer {letter}: {SHORT}") for letter in "abcd"}
    for key, one in PROMPTS.items()
}
CONFIG: Json = {
    "name": "small",
    "labelers": "people",
    "model": {"path": "hub/base"},
    "prompts": {"source": "file.jsonl"},
    "label": {"store": None},
    "wandb": {"project": "proj", "entity": None},
}


def ranking(
    prompt: str, labeler: str, order: str, rationale: str = "", details: Json | None = None
) -> Ranking:
    """`order` is the response letters, best first."""
    held = RESPONSES[prompt]
    return Ranking.of(
        prompt_id=PROMPTS[prompt].id,
        labeler_id=labeler,
        groups=tuple((held[letter].id,) for letter in order),
        shown=tuple(held[letter].id for letter in sorted(order)),
        submitted_at="2026-01-05T09:00:00+00:00",
        duration_seconds=30.0,
        rationale=rationale,
        details=details,
    )


def rankings() -> list[Ranking]:
    return [
        ranking("p1", "ada", "ab", REASON, details={"flags": {"a": ["violent"]}}),
        ranking("p1", "bob", "ba", BOBS),
        ranking("p1", "cyd", "ab"),
        ranking("p2", "ada", "ba", SHORT),
        ranking("p2", "bob", "ab", SHORT),
        ranking("p3", "ada", "ab"),
    ]


def demonstration() -> Demonstration:
    return Demonstration.of(prompt_id=PROMPTS["p1"].id, labeler_id="ada", text=WRITTEN)


def judgements() -> list[Ranking]:
    return [ranking("p3", "ada", "cd", REASON), ranking("p3", "bob", "dc", BOBS)]


def write_run_with_votes(run: Path, config: Json | None = None) -> Path:
    """Writes every stage, complete and in use."""
    config = CONFIG if config is None else config
    made: dict[str, str] = {}
    prompts = [one.to_json() for one in PROMPTS.values()]
    answers = {
        one.id: [RESPONSES[key][letter].to_json() for letter in "ab"]
        for key, one in PROMPTS.items()
    }
    given = rankings()
    by_prompt = {one: [r.to_json() for r in given if r.prompt_id == one] for one in answers}
    pairs = [
        {"chosen": r.groups[0][0], "ranking_id": r.id, "prompt_id": r.prompt_id}
        for r in given
        if r.prompt_id == PROMPTS["p1"].id
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
            "written.json": {wrote.prompt_id: WRITTEN},
            "writers.json": [{"id": wrote.id, "labeler_id": "ada", "prompt_id": wrote.prompt_id}],
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
    stage("evaluate", "prompts sft dpo", {"answers.jsonl": []})
    stage("judge", "evaluate", {"judgements.jsonl": [r.to_json() for r in judgements()]})
    page = f'<p>{html.escape(REASON)}</p><tr><th scope="row">ada</th></tr> <p>{BOBS}</p>'
    report = stage("report", "label certify dpo evaluate judge", {"report.html": page})
    (run / "report.html").write_text((report / "report.html").read_text())
    write_json(run / "summary.json", {"run": "small"})
    return run


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
    done = root.complete(
        folder.name, seconds=60.0, finished_at=moment, result=RESULTS.get(name, {})
    )
    made[name] = done.digest
    return folder
