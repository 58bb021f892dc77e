"""The report: reads the run folder and nothing else, writes one page."""

from pathlib import Path

from pipelines.config import RunConfig
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json


def settings(config: RunConfig) -> Json:
    return {"name": config.name, **config.label.grouped()}


def run(work: Work) -> Json:
    """Writes `report.html`; gives back the verdict at its head, where the run has an evaluation."""
    from rlhf.reporting.reading import read_run
    from rlhf.reporting.report import write_page
    from rlhf.reporting.verdict import gated

    record = read_run(work.config.folder)
    page = write_page(record, work.folder / "report.html")
    written = {"bytes": page.stat().st_size}
    if "evaluate" not in record.stages:
        return written
    said = gated(record)
    return written | {"verdict": said.decision, "headline": said.headline}


def show(config: RunConfig, folder: Path) -> None:
    """Copies the page to the top of the run folder: that of this config, whichever was shown."""
    top = config.folder / "report.html"
    temporary = top.with_name(".report.html")
    temporary.write_bytes((folder / "report.html").read_bytes())
    temporary.replace(top)


STAGE = Stage(
    "report",
    "Write the report",
    (
        "prompts",
        "pretrain",
        "sft",
        "sample",
        "label",
        "preferences",
        "reward",
        "certify",
        "dpo",
        "ppo",
        "rloo",
        "rejection",
        "evaluate",
        "probe",
        "judge",
    ),
    2,
    settings,
    run,
    kind="report",
    show=show,
)
