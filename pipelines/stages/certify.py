"""The certificate: whether the reward model is fit for RL, for best-of-n only, or not yet.

Reads no gold: what holds for people holds for the simulated crew.
"""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from pipelines.artifacts import CERTIFICATE, read_ranked_of
from pipelines.config import RunConfig
from pipelines.labelers import read_held_out_of
from pipelines.opening import open_test_split
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json, content_id
from rlhf.data.jsonl import write_json
from rlhf.data.records import SPLITS


def settings(config: RunConfig) -> Json:
    return {
        "certify": config.certify.model_dump(exclude={"enabled"}),
        "reward": config.reward.model_dump() if config.certify.curve else {},
        "model": config.model.of_training(),
        "seed": config.seed,
    }


def outside(config: RunConfig, inputs: dict[str, Path]) -> Json:  # noqa: ARG001
    """The thresholds: others are another certificate."""
    text = (files("rlhf.reward") / "thresholds.yaml").read_text(encoding="utf-8")
    return {"thresholds": content_id("thresholds", text)}


def run(work: Work) -> Json:
    """Writes `certificate.json`; returns the verdict with its sentences and the main figures."""
    from pipelines.certifying import Candidate, learning_curve
    from rlhf.reward.certificate import accuracy_needed, certify, checks_of, thresholds
    from rlhf.reward.evidence import ceiling_of, evidence_on

    strangers = read_held_out_of(work.inputs["preferences"])
    rows = {split: list(read_ranked_of(work.inputs["preferences"], split)) for split in SPLITS}
    open_test_split(work, (row.prompt.id for row in rows["test"]), "certificate")
    ceiling = ceiling_of(one for held in rows.values() for row in held for one in row.rankings)
    candidate = Candidate.of(work, rows)
    evidence = replace(
        evidence_on(
            candidate.votes,
            candidate.scores,
            candidate.texts,
            scale=candidate.scorer.scale,
            strangers=strangers,
        ),
        ceiling=ceiling,
        dropped=candidate.dropped,
    )
    split, forecast = evidence.split, None
    if split is not None:
        probes, disagreement = candidate.probe(split, work.config.certify.probes)
        evidence = replace(evidence, probes=probes, disagreement=disagreement)
        target = accuracy_needed(evidence, checks_of(evidence, thresholds()))
        curve, forecast = learning_curve(work, candidate, split, strangers, target)
        evidence = replace(evidence, curve=curve)
    made = certify(evidence, checks_of(evidence, thresholds()), forecast)
    write_json(work.folder / CERTIFICATE, made.to_json())
    work.table("certificate", [_row(check) for check in made.to_json()["checks"]])
    return {
        "verdict": made.verdict,
        "sentences": list(made.sentences),
        "checks": {check.threshold.name: check.value for check in made.checks},
        "temperature": evidence.temperature,
        "more_rankings": None if forecast is None else forecast.more,
    }


def _row(check: Json) -> Json:
    threshold = check["threshold"]
    return {
        "check": threshold["title"],
        "measured": check["value"],
        "must be": "at most" if threshold["most"] else "at least",
        "for RL": threshold["rl"],
        "for best-of-n": threshold["best_of_n"],
        "passes for RL": check["passes"]["rl"],
        "passes for best-of-n": check["passes"]["best_of_n"],
        "why": threshold["why"],
    }


STAGE = Stage(
    "certify",
    "Certify the reward model",
    ("sft", "preferences", "reward"),
    1,
    settings,
    run,
    outside=outside,
    enabled=lambda config: config.certify.enabled,
    kind="certificate",
)
