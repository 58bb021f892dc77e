"""The report: a run folder in, one self-contained HTML page out.

The same run folder gives the same bytes: the page holds no clock of its own.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rlhf.data.jsonl import AtomicText
from rlhf.reporting import formatting
from rlhf.reporting.cautions import CHECKS, cautions_of
from rlhf.reporting.certificate import certificate_of
from rlhf.reporting.certificate_plots import learning_curve_plot, reliability_plot
from rlhf.reporting.costs import costs_section
from rlhf.reporting.labelers import labeler_rows, labeler_sentences
from rlhf.reporting.lineage import flow, notes, reproduction, subtitle
from rlhf.reporting.policies import TABLE_NOTE, policy_rows
from rlhf.reporting.policy_plots import frontier_plot, length_plot, win_rate_plot
from rlhf.reporting.reading import RunRecord, read_run
from rlhf.reporting.reward_model import reward_sentences, split_rows
from rlhf.reporting.samples import samples_of
from rlhf.reporting.training_plots import (
    calibration_plot,
    dpo_plot,
    ppo_plot,
    reward_loss_plot,
    sft_loss_plot,
)
from rlhf.reporting.verdict import verdict_of


def write_report(run_folder: Path, target: Path) -> Path:
    """Writes the report of the newest round of `run_folder` to `target`, whole or not at all.

    Works on a run that has not come to its end, and says what is missing. Raises ValueError where
    no stage is complete.
    """
    page = render(read_run(run_folder))
    with AtomicText(target) as file:
        file.write(page)
    return target


def render(run: RunRecord) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("rlhf.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(_content(run))


def _content(run: RunRecord) -> dict[str, Any]:
    """What the template shows, section by section."""
    return {
        "title": f"{run.name}, {run.round.replace('-', ' ')}",
        "subtitle": subtitle(run),
        "verdict": verdict_of(run),
        "cautions": cautions_of(run),
        "num_checks": len(CHECKS),
        "flow": flow(run),
        "notes": notes(run),
        "policies": policy_rows(run),
        "table_note": TABLE_NOTE,
        "policy_plots": _drawn(win_rate_plot(run), frontier_plot(run), length_plot(run)),
        "samples": samples_of(run),
        "best": formatting.policy_name(run.result("evaluate").get("best", "")),
        "reward_sentences": reward_sentences(run),
        "splits": split_rows(run),
        "reward_plots": _drawn(
            None if run.certificate else calibration_plot(run), reward_loss_plot(run)
        ),
        "certificate": certificate_of(run),
        "certificate_plots": _drawn(reliability_plot(run), learning_curve_plot(run)),
        "training_plots": _drawn(ppo_plot(run), dpo_plot(run), sft_loss_plot(run)),
        "labeler_sentences": labeler_sentences(run),
        "labelers": labeler_rows(run.rankings),
        "costs": costs_section(run),
        "reproduction": reproduction(run),
    }


def _drawn(*plots: Any) -> list[Any]:
    return [plot for plot in plots if plot is not None]
