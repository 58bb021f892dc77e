"""Probes: what else became of the policies, beside winning more often; and whether the prompts that
they are judged on stand in what they were trained on.
"""

from importlib.resources import files
from pathlib import Path

from pipelines.config import RunConfig
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json, content_id, file_sha256
from rlhf.data.jsonl import write_json
from rlhf.data.policies import TRAINED
from rlhf.evaluation.probes.names import PACKAGE


def settings(config: RunConfig) -> Json:
    return {
        "probe": config.probe.model_dump(exclude={"enabled"}),
        "sample": config.sample.model_dump(include={"max_new_tokens", "temperature", "top_p"}),
        "model": config.model.model_dump(include={"max_tokens", "dtype"}),
        "seed": config.seed,
    }


def outside(config: RunConfig, inputs: dict[str, Path]) -> Json:  # noqa: ARG001
    """The bounds and what is asked, and the files of a user's probes: others are another result."""
    from rlhf.evaluation.probes.registry import source_of

    committed = sorted(one.name for one in files(PACKAGE).iterdir() if one.name.endswith(".yaml"))
    texts = [(files(PACKAGE) / name).read_text(encoding="utf-8") for name in committed]
    sources = {name: source_of(name) for name in config.probe.probes}
    return {
        "asked": content_id("asked", texts),
        "probes": {name: file_sha256(path) for name, path in sources.items() if path is not None},
    }


def run(work: Work) -> Json:
    """Writes `probes.json`: every figure of every policy, and `contamination.json`: the prompts
    that overlap. Returns the same without the details.
    """
    from rlhf.evaluation.probes.finding import NothingToProbeError, judged
    from rlhf.evaluation.probes.registry import probe_named

    probes = [probe_named(name) for name in work.config.probe.probes]  # a wrong name costs nothing
    from pipelines.contaminated import contamination_of
    from pipelines.probing import bench_of

    bench = bench_of(work)
    found: Json = {}
    skipped: Json = {}
    for number, probe in enumerate(probes):
        try:
            findings = probe.ask(bench)
        except NothingToProbeError as reason:
            skipped[probe.name] = str(reason)
        else:
            found[probe.name] = judged(probe.title, findings, probe.bounds, bench.trained)
        work.progress(number + 1, len(probes) + 1)
    contamination, examples = contamination_of(work, bench)
    write_json(work.folder / "contamination.json", {**contamination, "examples": examples})
    write_json(work.folder / "probes.json", {"probes": found, "skipped": skipped})
    work.table("probes", _rows(found))
    return {
        "probes": {name: _without_details(one) for name, one in found.items()},
        "skipped": skipped,
        "contamination": contamination,
    }


def _without_details(found: Json) -> Json:
    return {key: value for key, value in found.items() if key != "details"}


def _rows(found: Json) -> list[Json]:
    return [
        {"probe": name, "policy": policy, "check": check, **figures}
        for name, one in found.items()
        for policy, row in one["policy"].items()
        for check, figures in row["checks"].items()
    ]


STAGE = Stage(
    "probe",
    "Probe the policies",
    ("prompts", "pretrain", "sft", "preferences", "reward", *TRAINED, "evaluate"),
    1,
    settings,
    run,
    outside=outside,
    enabled=lambda config: config.probe.enabled,
)
