"""What was done, in order and in counts; what is missing; and what it takes to do it again."""

from dataclasses import dataclass
from statistics import multimode

import yaml

from rlhf.data.identity import Json
from rlhf.data.policies import TRAINED, policy_name
from rlhf.evaluation.spelling import listed
from rlhf.reporting.formatting import count, day, duration, percent, size
from rlhf.reporting.length import held_out
from rlhf.reporting.reading import STAGES, RunRecord

TITLES = {
    "prompts": "the prompts",
    "pretrain": "pretraining",
    "sft": "SFT",
    "sample": "the sampled responses",
    "label": "the rankings",
    "preferences": "the preferences",
    "reward": "the reward model",
    "certify": "the certificate of the reward model",
    "monitor": "the monitor of PPO",
    "dpo": "DPO",
    "ppo": "PPO",
    "rloo": "RLOO",
    "rejection": "Rejection SFT",
    "evaluate": "the evaluation",
    "probe": "probing",
    "judge": "the comparison by people",
}


def subtitle(run: RunRecord) -> list[str]:
    """The line under the title: when, which code, how long, on what, whose rankings."""
    seconds = sum(stage.done.seconds for stage in run.stages.values())
    parts = [day(run.last.done.finished_at), *_commit(run.last.environment)]
    parts.append(f"{duration(seconds)}{_machine(run.last.environment)}")
    label = run.result("label")
    if label:
        who = count(label["labelers"], "simulated labeler" if run.simulated else "labeler")
        hours = label["labeler_minutes"] / 60
        parts.append(f"{count(label['rankings'], 'ranking')} by {who} ({hours:.1f} labeler hours)")
    return parts


def _commit(environment: Json) -> list[str]:
    code = environment.get("code")
    if not code:
        return []
    return [f"commit {code['commit'][:7]}{' with changes' if code.get('changed') else ''}"]


def _machine(environment: Json) -> str:
    gpus, cpus = environment.get("gpus") or [], environment.get("cpus")
    if gpus:
        return f" on {len(gpus)} × {gpus[0]}"
    return f" on {count(cpus, 'core')}" if cpus else ""


Lane = tuple[str, ...]  # boxes, one after the other


def flow(run: RunRecord) -> list[tuple[Lane, ...]]:
    """The steps that were done, with their counts; where a step has several lanes, each of them
    goes from what stands before to what stands after.
    """
    found = {name: run.result(name) for name in run.stages}
    steps: list[str] = []
    if "prompts" in found:
        steps.append(count(found["prompts"]["prompts"], "prompt"))
    if "pretrain" in found:
        steps.append("pretraining")
    if "sft" in found:
        steps.append("SFT" if found["sft"].get("demonstrations") else "base model as SFT")
    if "sample" in found:
        steps.append(count(found["sample"]["responses"], "response"))
    if "label" in found:
        steps.append(f"{count(found['label']['rankings'], 'ranking')}{_width(run)}")
    boxes: list[tuple[Lane, ...]] = [((step,),) for step in steps]
    lanes = _ways_to_train(run)
    if lanes:
        boxes.append(lanes)
    if "evaluate" in found:
        boxes.append(((f"compared on {count(found['evaluate']['prompts'], 'test prompt')}",),))
    return boxes


def _ways_to_train(run: RunRecord) -> tuple[Lane, ...]:
    """From the rankings through the reward model, and from the rankings alone: as the stages'
    own lists of what they read say.
    """
    trained = [name for name in TRAINED if name in run.stages]
    driven = [name for name in trained if "reward" in run.stages[name].inputs]
    direct = [policy_name(name) for name in trained if name not in driven]
    lanes: list[Lane] = []
    if "reward" in run.stages:
        measured = held_out(run.result("reward"))
        accuracy = f" {percent(measured[1]['accuracy']['value'])}" if measured else ""
        verdict = run.certificate.get("verdict")
        watched = " with a monitor" if "monitor" in run.stages else ""
        lanes.append(
            (
                f"reward model{accuracy}",
                *([f"certified {verdict}"] if verdict else []),
                *([f"{listed([policy_name(one) for one in driven])}{watched}"] if driven else []),
            )
        )
    if direct:
        lanes.append((listed(direct),))
    return tuple(lanes)


def _width(run: RunRecord) -> str:
    """How many responses a ranking orders, where most are alike."""
    widths = multimode(len(ranking.shown) for ranking in run.rankings)
    return f" of {widths[0]}" if len(widths) == 1 else ""


def notes(run: RunRecord) -> list[str]:
    """The splits, how the algorithms differ in what they read, and what is missing."""
    said = []
    split = run.result("prompts")
    if split:
        rows = [f"{count(split[name])} {name}" for name in ("train", "validation", "test")]
        said.append(f"Prompts were divided by content before anything else: {listed(rows)}.")
    made = run.result("pretrain")
    if made:
        millions = f"{made['parameters'] / 1e6:.1f} million"
        said.append(f"The base model, of {millions} parameters, was pretrained in this run.")
    given = run.result("sft").get("demonstrations")
    if given:
        said.append(f"SFT learned from {count(given, 'demonstration')}.")
    if "dpo" in run.stages and "ppo" in run.stages:
        said.append("DPO learns from the rankings themselves, PPO through the reward model.")
    return said + missing(run)


def missing(run: RunRecord) -> list[str]:
    """A sentence for what the config turns off, and one for what is not complete."""
    gone = [name for name in STAGES if name not in run.stages and _expected(run, name)]
    given = (run.config.get("model") or {}).get("path")
    off = [name for name in gone if (run.config.get(name) or {}).get("enabled", True) is False]
    if "pretrain" in gone and given:
        off.append("pretrain")
    waiting = [TITLES[name] for name in gone if name not in off]
    said = []
    if "pretrain" in off:
        said.append(f"The base model is {given}; nothing was pretrained.")
    said += [
        f"{TITLES[name][0].upper()}{TITLES[name][1:]} is turned off in the config."
        for name in off
        if name != "pretrain"
    ]
    if waiting:
        verb = "is" if len(waiting) == 1 else "are"
        sentence = f"{listed(waiting)} {verb} not complete in this run, and not on this page."
        said.append(sentence[0].upper() + sentence[1:])
    return said


def _expected(run: RunRecord, name: str) -> bool:
    """Whether a page without this stage says so: those that are off by default only where they
    were asked for.
    """
    if name == "judge":
        return bool((run.config.get("evaluate") or {}).get("people_judgements", 0))
    if name == "probe":  # runs of before it was there have no such section
        return "probe" in run.config
    if name == "monitor":
        ppo = run.config.get("ppo") or {}
        return bool(ppo.get("enabled", True) and ppo.get("monitor", False))
    if name in {"rloo", "rejection"}:
        return bool((run.config.get(name) or {}).get("enabled", False))
    return True


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What one needs to do the run again, and the account of its stages.

    `changed` says that the code held more than the commit does.
    """

    commands: tuple[str, ...]
    changed: bool
    seed: int | None
    config: str
    versions: tuple[tuple[str, str], ...]
    stages: tuple[tuple[str, str, str, str, str], ...]


def reproduction(run: RunRecord) -> Reproduction:
    """Commands, the resolved config, versions, and a row per stage."""
    environment = run.last.environment
    code = environment.get("code") or {}
    checkout = (f"git checkout {code['commit'][:12]}",) if code.get("commit") else ()
    config = {name: value for name, value in run.config.items() if name != "runs_dir"}
    versions = {"python": environment.get("python"), **(environment.get("packages") or {})}
    return Reproduction(
        (*checkout, f"rlhf run {run.name}.yaml"),
        bool(code.get("changed")),
        run.config.get("seed"),
        yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else "",
        tuple((name, str(version)) for name, version in versions.items() if version),
        tuple(
            (
                name,
                duration(stage.done.seconds),
                size(stage.done.size_bytes),
                stage.done.fingerprint,
                f"{stage.done.finished_at[:10]} {stage.done.finished_at[11:16]} UTC",
            )
            for name, stage in run.stages.items()
        ),
    )
