"""`summary.json`: the figures of a run that a reader wants, gathered from what its stages
completed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.config import RunConfig
from pipelines.stage import Stage
from rlhf.data.identity import Json, canonical
from rlhf.data.jsonl import read_json, write_json
from rlhf.evaluation.gate import verdict_on
from rlhf.evaluation.openings import read_openings
from rlhf.tracking.costs import costs_of, win_rate_of
from rlhf.tracking.energy import LedgerSettings
from rlhf.tracking.ledger import read_ledger
from rlhf.tracking.run_folder import Completion, StageFolder


def write_summary(
    run_folder: Path,
    round_folder: Path,
    done: dict[str, Completion],
    ledger: LedgerSettings | None = None,
    *,
    simulated: bool = False,
    left_out: Mapping[str, str] | None = None,
) -> Path:
    """Writes the summary of the stages that are complete so far, and what the run has cost;
    `left_out` says which stages may not start, and why.
    """
    path = run_folder / "summary.json"
    told = summarise(done, openings=read_openings(run_folder), simulated=simulated)
    found = {"run": run_folder.name, "round": round_folder.name, **told}
    if left_out:
        found["left_out"] = dict(left_out)
    faults: list[str] = []
    spent = read_ledger(run_folder, faults, ledger)
    rate = win_rate_of({name: one.result for name, one in done.items()})
    costs = costs_of(spent, labels=found.get("rankings", 0), win_rate=rate)
    if costs is not None:
        found["ledger"] = {**costs.to_json(), "faults": faults}
    write_json(path, found)
    return path


def still_in_use(
    config: RunConfig,
    round_folder: Path,
    stages: Sequence[Stage],
    done: Mapping[str, Completion],
) -> dict[str, Completion]:
    """What later stages completed before, where it was made from what is `done` now as the config
    asks for: a call that goes only so far takes nothing out of the summary that still holds.
    """
    found: dict[str, Completion] = {}
    for stage in stages:
        folder = StageFolder(round_folder / stage.name)
        current = folder.current()
        made = None if current is None else folder.completion(current.name)
        if stage.name in done or current is None or made is None:
            continue
        asked = read_json(current / "config.json")
        same = canonical(asked["settings"]) == canonical(stage.settings(config))
        if asked["version"] != stage.version or not same:
            continue
        known = {**done, **found}
        read = read_json(current / "inputs.json")["stages"]
        if all(need in known and known[need].digest == one["sha256"] for need, one in read.items()):
            found[stage.name] = made
    return found


def summarise(
    done: dict[str, Completion], *, openings: Sequence[Json] = (), simulated: bool = False
) -> Json:
    """The figures, from the results of the stages; sections appear as their stages complete.

    `openings` and `simulated` are what `rlhf verdict` says beside the figures.
    """
    results = {name: completion.result for name, completion in done.items()}
    summary: Json = {
        "seconds": round(sum(completion.seconds for completion in done.values()), 1),
        "stage_seconds": {name: completion.seconds for name, completion in done.items()},
    }
    if "label" in results:
        summary |= _labels(results["label"])
    if "reward" in results:
        summary["reward_model"] = {
            **_reward_model(results["reward"], results.get("evaluate", {})),
            **_certificate(results),
        }
    if "evaluate" in results:
        found = results["evaluate"]
        summary |= {
            "policies": found["policies"],
            "judge": found["judge"],
        }
        if "judge" in results:  # people have the last word
            summary["people"] = results["judge"]
        said = verdict_on(results, openings=openings, simulated=simulated)
        summary |= {
            "best": said.policy,
            "verdict": said.decision,
            "verdict_headline": said.headline,
            "verdict_says": said.sentences,
        }
    return summary


def _labels(label: Json) -> Json:
    agreement = label["agreement"]
    return {
        "rankings": label["rankings"],
        "pairs": label["pairs"],
        "labelers": label["labelers"],
        "labeler_minutes": label["labeler_minutes"],
        "agreement_strict": agreement["strict"],
        "agreement_with_ties": agreement["with_ties"],
    }


def _reward_model(reward: Json, evaluated: Json) -> Json:
    """Held-out accuracy: on the test split, or on validation where that has no rankings."""
    split = next((name for name in ("test", "validation") if name in reward), None)
    if split is None:
        return {"accuracy": None}
    held_out = reward[split]
    return {
        "split": split,
        "accuracy": held_out["accuracy"]["value"],
        "accuracy_low": held_out["accuracy"]["low"],
        "accuracy_high": held_out["accuracy"]["high"],
        "pairs": held_out["accuracy"]["pairs"],
        "prompts": held_out["accuracy"]["prompts"],
        "length_baseline": held_out["length_baseline"]["value"],
        "calibration_error": held_out["calibration_error"],
        "ceiling": (evaluated.get("ceiling") or {}).get("value"),
        "ceiling_from": (evaluated.get("ceiling") or {}).get("from"),
        "train_accuracy": reward.get("train", {}).get("accuracy", {}).get("value"),
    }


def _certificate(results: dict[str, Json]) -> Json:
    """The verdict with what it rests on, and whether PPO was told to start without it."""
    if "certify" not in results:
        return {}
    found = results["certify"]
    return {
        "verdict": found["verdict"],
        "verdict_says": found["sentences"],
        "checks": found["checks"],
        "temperature": found["temperature"],
        "more_rankings": found["more_rankings"],
        "unfit_reward_allowed": results.get("ppo", {}).get("unfit_reward_allowed", False),
    }
