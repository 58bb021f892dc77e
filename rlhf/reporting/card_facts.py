"""What the cards say of a run, read off its stages: amounts, sources, costs, code."""

from collections.abc import Sequence
from pathlib import Path

from rlhf.reporting.costs import costs_section
from rlhf.reporting.formatting import count, duration
from rlhf.reporting.reading import RunRecord


def source_of(run: RunRecord) -> str | None:
    """`prompts.source` of the config."""
    return (run.config.get("prompts") or {}).get("source")


def hub_name(given: str | None) -> str | None:
    """`org/name` of the hub; None for folders, files, and what the project makes itself."""
    if given is None or given.count("/") != 1 or given[0] in "./~" or Path(given).exists():
        return None
    return None if given.endswith((".json", ".jsonl", ".gz")) else given


def amounts(run: RunRecord) -> list[str]:
    """How many prompts, responses, rankings and pairs, a sentence each."""
    prompts, label = run.result("prompts"), run.result("label")
    said = []
    if prompts:
        said.append(f"{count(prompts['prompts'], 'prompt')} from {origin(run)}.")
    if run.result("sample"):
        said.append(f"{count(run.result('sample')['responses'], 'response')} were ranked.")
    if label:
        who = "simulated labeler" if run.simulated else "labeler"
        said.append(
            f"{count(label['rankings'], 'ranking')} by {count(label['labelers'], who)}, from "
            f"which {count(label['pairs'], 'pair')} follow."
        )
    return said or ["There are no prompts yet."]


def origin(run: RunRecord) -> str:
    """Where the prompts come from; paths of the user's stay out of a card."""
    if run.config.get("labelers") == "imported":
        return "an import of other people's preferences"
    source = source_of(run)
    if source in {"built-in", "stories"}:
        return f"the project's own {source} world"
    hub = hub_name(source)
    return f"{hub} on the hub" if hub else "a file or store of the user's"


def sources(run: RunRecord) -> list[tuple[str, str]]:
    """The facts of the data card: where prompts and rankings come from, and the splits."""
    prompts = run.result("prompts")
    rows = [("prompts from", origin(run))]
    rows += [
        (f"{name} prompts", count(prompts[name]))
        for name in ("train", "validation", "test")
        if prompts
    ]
    whose = {"simulated": "a simulated crew", "people": "people", "imported": "an import"}
    rows.append(("rankings by", whose.get(run.config.get("labelers", ""), "not recorded")))
    return rows


def costs(run: RunRecord) -> list[tuple[str, str]]:
    """How long each stage took, and all of them."""
    rows = [(name, duration(stage.done.seconds)) for name, stage in run.stages.items()]
    total = sum(stage.done.seconds for stage in run.stages.values())
    return [*rows, ("together", duration(total))]


def costs_note(run: RunRecord) -> str:
    """The machine, the labelers' time, and what nobody measured."""
    environment = run.last.environment
    gpus, cpus = environment.get("gpus") or [], environment.get("cpus")
    machine = f"{len(gpus)} × {gpus[0]}" if gpus else f"{count(cpus, 'CPU core')}" if cpus else ""
    minutes = run.result("label").get("labeler_minutes")
    said = [f"Machine: {machine or 'not recorded'}."]
    if minutes is None:
        said.append("Labelers' time: none recorded.")
    else:
        clock = " by their simulated clock" if run.simulated else ""
        said.append(f"Labelers' time: {minutes:,.0f} minutes{clock}.")
    spent = costs_section(run)
    said += list(spent.sentences) if spent else ["Energy and money: not recorded."]
    return " ".join(said)


def code_of(run: RunRecord) -> Sequence[str]:
    """Which code made it."""
    environment = run.last.environment
    code = environment.get("code") or {}
    if not code.get("commit"):
        return ["The commit of the code is not recorded."]
    changed = ", with changes that are not committed" if code.get("changed") else ""
    version = (environment.get("packages") or {}).get("rlhf-pipeline")
    named = f" {version}" if version else ""
    return [f"Made with rlhf-pipeline{named} at commit {code['commit'][:12]}{changed}."]
