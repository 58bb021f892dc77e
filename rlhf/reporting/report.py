"""The report: a run folder in, one self-contained HTML page out.

The same run folder gives the same bytes: the page holds no clock of its own.
"""

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rlhf.data.jsonl import AtomicText
from rlhf.data.policies import policy_name
from rlhf.data.privacy import scrub
from rlhf.evaluation.suspicion import RULES
from rlhf.reporting.cautions import CHECKS, cautions_of
from rlhf.reporting.certificate import certificate_of
from rlhf.reporting.certificate_plots import learning_curve_plot, reliability_plot
from rlhf.reporting.costs import costs_section
from rlhf.reporting.frontier import frontier_plot
from rlhf.reporting.generalisation import generalisation_of, generalisation_plot
from rlhf.reporting.glance import glance
from rlhf.reporting.labelers import labeler_rows, labeler_sentences
from rlhf.reporting.liked import (
    listed_suspects,
    most_liked,
    suspect_rows,
    suspects_of,
    trained_in,
)
from rlhf.reporting.lineage import flow, notes, reproduction, subtitle
from rlhf.reporting.policies import TABLE_NOTE, policy_rows
from rlhf.reporting.policy_plots import length_plot, win_rate_plot
from rlhf.reporting.probes import probes_of
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


def write_report(run_folder: Path, target: Path, *, personal: bool = False) -> Path:
    """Writes the report of the newest round of `run_folder` to `target`, whole or not at all.

    Works on a run that has not come to its end, and says what is missing. Personal data and secrets
    in prompts and answers are replaced by their kind unless `personal`. Raises ValueError where no
    stage is complete.
    """
    return write_page(read_run(run_folder), target, personal=personal)


def write_page(run: RunRecord, target: Path, *, personal: bool = False) -> Path:
    """The same of a run that is read already."""
    page = render(run, personal=personal)
    with AtomicText(target) as file:
        file.write(page)
    return target


def render(run: RunRecord, *, personal: bool = False) -> str:
    """The page as HTML."""
    return filled("report.html", _content(run, str if personal else scrub))


def filled(template: str, content: dict[str, Any]) -> str:
    """A template of the page with its content, its script, and a policy that lets nothing but that
    script run and nothing at all be fetched.
    """
    environment = Environment(
        loader=PackageLoader("rlhf.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _script()
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; script-src 'sha256-{digest}'"
    )
    page = environment.get_template(template)
    return page.render(content | {"script": Markup(script), "policy": Markup(policy)})


def _script() -> str:
    return (files("rlhf.reporting") / "templates" / "report.js").read_text(encoding="utf-8")


def _content(run: RunRecord, clean: Callable[[str], str]) -> dict[str, Any]:
    """What the template shows, section by section."""
    cautions = cautions_of(run)
    found = suspects_of(run)
    suspicious = suspect_rows(run, found)
    samples = samples_of(run, found, clean)
    return {
        "title": f"{run.name}, {run.round.replace('-', ' ')}",
        "run_name": run.name,
        "subtitle": subtitle(run),
        "verdict": verdict_of(run),
        "grave": [one for one in cautions if one.grave],
        "cautions": [one for one in cautions if not one.grave],
        "num_checks": len(CHECKS),
        "glance": glance(run, suspicious),
        "flow": flow(run),
        "notes": notes(run),
        "policies": policy_rows(run),
        "table_note": TABLE_NOTE,
        "policy_plots": _drawn(win_rate_plot(run), frontier_plot(run), length_plot(run)),
        "samples": samples,
        "families": sorted({sample.family for sample in samples} - {""}),
        "answering": [(one, policy_name(one)) for one in trained_in(run)],
        "best": policy_name(run.best),
        "most_liked": most_liked(run, found, clean),
        "rules": list(RULES),
        "suspect_rows": suspicious,
        "suspects": listed_suspects(run, found, clean),
        "reward_sentences": reward_sentences(run),
        "splits": split_rows(run),
        "reward_plots": _drawn(
            None if run.certificate else calibration_plot(run), reward_loss_plot(run)
        ),
        "certificate": certificate_of(run),
        "certificate_plots": _drawn(reliability_plot(run), learning_curve_plot(run)),
        "training_plots": _drawn(ppo_plot(run), dpo_plot(run), sft_loss_plot(run)),
        "generalisation": generalisation_of(run),
        "generalisation_plots": _drawn(generalisation_plot(run)),
        "probes": probes_of(run, clean),
        "labeler_sentences": labeler_sentences(run),
        "labelers": labeler_rows(run.rankings),
        "costs": costs_section(run),
        "reproduction": reproduction(run),
    }


def _drawn(*plots: Any) -> list[Any]:
    return [plot for plot in plots if plot is not None]
