"""A run folder written by hand: small, whole, and nothing in it to be wary of."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

from rlhf.data.identity import Json
from rlhf.data.jsonl import write_json, write_jsonl
from rlhf.data.records import Ranking
from rlhf.feedback.intervals import Share
from rlhf.reporting.reading import RunRecord, read_run
from rlhf.reward.accuracy import Accuracy
from rlhf.reward.calibration import Calibration
from rlhf.reward.certificate import (
    Ceiling,
    Curve,
    Disagreement,
    Evidence,
    Part,
    Point,
    certify,
    checks_of,
    thresholds,
)
from rlhf.reward.learning_curve import Forecast, Law
from rlhf.reward.probes import Probed

Found = dict[str, Json]
NEEDS = {
    "prompts": [],
    "pretrain": [],
    "sft": ["prompts", "pretrain"],
    "sample": ["prompts", "sft"],
    "label": ["prompts", "sample"],
    "preferences": ["prompts", "sample", "label"],
    "reward": ["sft", "preferences"],
    "certify": ["sft", "preferences", "reward"],
    "dpo": ["sft", "preferences"],
    "ppo": ["prompts", "sft", "reward", "certify"],
    "rejection": ["prompts", "sft", "reward"],
    "judge": ["evaluate"],
    "evaluate": ["prompts", "sft", "label", "preferences", "reward", "dpo", "ppo", "rejection"],
}


def policy(win_rate: float, low: float, high: float, **changes: float) -> Json:
    """The row of a policy as the evaluation writes it."""
    return {
        "win_rate": win_rate,
        "win_rate_low": low,
        "win_rate_high": high,
        "gold_reward": 1.0,
        "proxy_reward": 0.5,
        "mean_tokens": 30.0,
        "finished_share": 0.99,
        "kl": 2.0,
        **changes,
    }


def measured(accuracy: float, low: float, high: float, baseline: float = 0.55) -> Json:
    """The reward model on one split, as the reward stage writes it."""
    return {
        "accuracy": {"value": accuracy, "low": low, "high": high, "pairs": 1200, "prompts": 150},
        "length_baseline": {"value": baseline, "low": 0.5, "high": 0.6, "pairs": 1, "prompts": 1},
        "calibration_error": 0.03,
        "bins": [[0.2, 0.18, 300], [0.5, 0.5, 600], [0.8, 0.82, 300]],
    }


RESULTS: dict[str, Json] = {
    "prompts": {"prompts": 2400, "train": 1700, "validation": 214, "test": 486},
    "pretrain": {"parameters": 910464, "tokens": 1000, "loss": 0.24},
    "sft": {"demonstrations": 1700, "train_loss": 0.25, "validation_loss": 0.26},
    "sample": {"prompts": 3, "responses": 9, "finished_share": 0.98},
    "label": {
        "rankings": 4,
        "labelers": 2,
        "pairs": 11,
        "ties": 1,
        "none_acceptable": 0,
        "labeler_minutes": 90.0,
        "agreement": {
            "strict": 0.85,
            "strict_interval": [0.83, 0.88],
            "with_ties": 0.74,
            "with_ties_interval": None,
            "pairs_strict": 5,
            "pairs": 6,
            "prompts": 2,
        },
    },
    "preferences": {"prompts": 3},
    "reward": {
        "dropped": {"rankings_without_pair": 1, "responses_too_long": 0, "prompts_cut": 0},
        "train": measured(0.80, 0.79, 0.82),
        "test": measured(0.74, 0.69, 0.77),
    },
    "certify": {"verdict": "fit for RL"},
    "dpo": {"loss": 0.49},
    "ppo": {
        "objective/kl": 1.5,
        "reward_verdict": "fit for RL",
        "unfit_reward_allowed": False,
    },
    "evaluate": {
        "judge": "built-in",
        "prompts": 400,
        "policies": {
            "sft": policy(0.51, 0.46, 0.56, kl=0.0, gold_reward=0.2, proxy_reward=0.0),
            "best_of_16": policy(0.74, 0.69, 0.78, kl_bound=1.835),
            "dpo": policy(0.70, 0.65, 0.74, kl=3.17),
            "ppo": policy(0.69, 0.64, 0.73, kl=2.40),
        },
        "best": "dpo",
        "verdict": "ship",
        "ceiling": {"value": 0.9, "from": "the preference itself"},
    },
}
del RESULTS["evaluate"]["policies"]["best_of_16"]["kl"]
ENVIRONMENT: Json = {
    "python": "3.11.7",
    "cpus": 2,
    "packages": {"transformers": "5.23.0"},
    "code": {"commit": "0d2b7c41fd728fe7a1a5", "changed": False, "diff": ""},
}
CONFIG: Json = {
    "name": "small",
    "seed": 17,
    "runs_dir": "elsewhere",
    "labelers": "simulated",
    "dpo": {"enabled": True},
    "ppo": {"enabled": True},
}
METRICS: dict[str, list[Json]] = {
    "sft": [{"step": s, "loss": 0.4 - s / 100} for s in (5, 10)] + [{"step": 10, "eval_loss": 0.3}],
    "reward": [{"step": s, "loss": 0.7 - s / 100} for s in (5, 10)],
    "dpo": [
        {
            "step": s,
            "rewards/accuracies": 0.5 + s / 100,
            "logps/chosen": -6.0 - s,
            "logps/rejected": -6.0 - 2 * s,
            "rewards/margins": s / 10,
        }
        for s in (5, 10)
    ],
    "ppo": [{"step": s, "objective/scores": s / 10, "objective/kl": s / 5} for s in (2, 4)],
}


def _accuracy(value: float, low: float, high: float) -> Accuracy:
    return Accuracy(value, low, high, 1200, 150)


def _share(value: float | None, count: int) -> Share:
    interval = None if value is None else (value - 0.06, value + 0.06)
    return Share(value, interval, count, count, 15)


EVIDENCE = Evidence(
    split="test",
    accuracy=_accuracy(0.74, 0.69, 0.77),
    train=_accuracy(0.80, 0.79, 0.82),
    validation=_accuracy(0.73, 0.68, 0.78),
    longest=_accuracy(0.55, 0.50, 0.60),
    gain_over_longest=_accuracy(0.19, 0.13, 0.25),
    words=_accuracy(0.68, 0.63, 0.73),
    gain_over_words=_accuracy(0.06, 0.01, 0.11),
    ceiling=Ceiling.of(0.85, (0.83, 0.88), 5),
    by_margin=(Part("1", _share(0.7, 90)), Part("2", _share(None, 9))),
    by_labeler=(Part("ann", _share(0.75, 60)), Part("bob", _share(0.70, 60))),
    held_out_labelers=Part("2 labelers", _share(0.71, 80)),
    calibration=Calibration(0.03, 0.18, 0.53, ((0.2, 0.18, 300), (0.8, 0.82, 300))),
    calibrated=Calibration(0.02, 0.17, 0.52, ((0.3, 0.28, 300), (0.7, 0.72, 300))),
    temperature=1.2,
    temperature_votes=400,
    probes=(
        Probed("swap", _share(0.9, 100), -0.8, 0),
        Probed("truncation", _share(0.8, 97), -0.5, 3),
        Probed("repetition", _share(0.85, 100), -0.4, 0),
        Probed("paraphrase", _share(0.95, 100), 0.1, 0),
    ),
    disagreement=Disagreement(3, 0.2, 0.6, 0.4),
    dropped={"rankings_without_pair": 1, "responses_too_long": 0, "prompts_cut": 2},
    curve=Curve(
        (
            Point(300, 200, _accuracy(0.66, 0.61, 0.71)),
            Point(600, 400, _accuracy(0.71, 0.66, 0.76)),
            Point(1200, 800, _accuracy(0.74, 0.69, 0.77)),
        ),
        Law(0.78, 2.0, 0.5),
    ),
)


def certificate(evidence: Evidence = EVIDENCE, forecast: Forecast | None = None) -> Json:
    """The certificate as the certify stage writes it."""
    return certify(evidence, checks_of(evidence, thresholds()), forecast).to_json()


def rankings() -> list[Ranking]:
    """Two labelers: on p1 they differ in one strict pair of three, on p2 one of them ties two."""
    orders = [
        ("p1", "ann", [["a"], ["b"], ["c"]]),
        ("p1", "bob", [["b"], ["a"], ["c"]]),
        ("p2", "ann", [["d"], ["e", "f"]]),
        ("p2", "bob", [["d"], ["e"], ["f"]]),
    ]
    return [
        Ranking.of(
            prompt_id=prompt,
            labeler_id=labeler,
            groups=tuple(tuple(group) for group in groups),
            shown=tuple(sorted(one for group in groups for one in group)),
            duration_seconds=20.0,
        )
        for prompt, labeler, groups in orders
    ]


def answer_rows(gains: list[float], family: str = "tips", tokens: int = 20) -> list[Json]:
    """A judged prompt per gain of DPO over SFT."""

    def said(text: str, gold: float) -> Json:
        row = {"tokens": tokens, "finished": True, "proxy_reward": 0.25, "kl": None}
        return {"text": text, "gold_reward": gold, **row}

    return [
        {
            "prompt_id": f"prompt-{family}-{place}",
            "prompt": [{"role": "user", "content": f"Question {place} on {family}?"}],
            "family": family,
            "answers": {
                "reference": said(f"SFT says {place}", 1.0),
                "sft": said("drawn again", 1.0),
                "dpo": said(f"DPO says {place}", 1.0 + gain),
                "ppo": said(f"PPO says {place}", 1.0),
            },
        }
        for place, gain in enumerate(gains)
    ]


def results() -> dict[str, Json]:
    """The figures of every stage, to be changed by a test."""
    return deepcopy(RESULTS)


def write_run(
    folder: Path,
    found: dict[str, Json] | None = None,
    *,
    answers: list[Json] | None = None,
    environment: Json | None = None,
    config: Json | None = None,
    certified: Json | None = None,
) -> Path:
    """Writes the stages in `found` (all by default), each complete and in use."""
    found = results() if found is None else found
    for hour, (name, result) in enumerate(found.items()):
        write_stage(folder, name, result, "aaa", found, hour=hour, environment=environment)
        stage = folder / "round-1" / name / "aaa"
        write_json(stage / "config.json", {"stage": name, "run": config or CONFIG})
    if "label" in found:
        rows = (ranking.to_json() for ranking in rankings())
        write_jsonl(folder / "round-1/label/aaa/rankings.jsonl", rows)
    if "certify" in found:
        made = certificate() if certified is None else certified
        write_json(folder / "round-1/certify/aaa/certificate.json", made)
    if "evaluate" in found:
        rows_of_answers = answer_rows([1.0, -2.0, 0.5]) if answers is None else answers
        write_jsonl(folder / "round-1/evaluate/aaa/answers.jsonl", rows_of_answers)
    return folder


def write_stage(
    folder: Path,
    name: str,
    result: Json,
    fingerprint: str,
    present: dict[str, Json],
    *,
    hour: int = 12,
    environment: Json | None = None,
) -> None:
    """Writes one completed stage and points to it."""
    stage = folder / "round-1" / name / fingerprint
    read = [need for need in NEEDS[name] if need in present]
    inputs = {need: {"path": f"round-1/{need}/aaa", "sha256": "0"} for need in read}
    write_json(stage / "inputs.json", {"stages": inputs, "outside": {}})
    write_json(stage / "environment.json", ENVIRONMENT if environment is None else environment)
    write_jsonl(stage / "metrics.jsonl", METRICS.get(name, []))
    marker = {
        "fingerprint": fingerprint,
        "digest": "0",
        "seconds": 60.0,
        "size_bytes": 3_702_059,
        "finished_at": f"2026-11-23T{hour:02}:12:51.000+00:00",
        "result": result,
    }
    write_json(stage / "complete.json", marker)
    link = stage.parent / "current"
    link.unlink(missing_ok=True)
    link.symlink_to(fingerprint)


def run_with(folder: Path, change: Callable[[Found], object] = lambda _: None) -> RunRecord:
    """The run, read, after a change of what its stages found."""
    found = results()
    change(found)
    return read_run(write_run(folder / "small", found))


def plain(text: str) -> str:
    """A text of the page with plain spaces."""
    return text.replace("\u202f", " ")
