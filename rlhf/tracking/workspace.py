"""The panels of a project in W&B, section by section, for W&B's workspace library.

What is shown where is data (`SECTIONS`), by the names that the stages log; the library, an extra,
makes W&B's own specification of it and saves it as a view.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rlhf.data.identity import Json
from rlhf.data.policies import TRAINED
from rlhf.tracking.mirror import mirrored_name
from rlhf.tracking.wandb_run import first_line, logged_in

MISSING = (
    "W&B's workspace library is not installed: pip install 'rlhf-pipeline[wandb]' (or "
    "wandb-workspaces)"
)
# Columns beside the list of runs: what a reviewer looks for first.
COLUMNS = ("run:displayName", "run:jobType", "summary:verdict", "summary:best")
POLICIES = ("sft", *TRAINED, "best_of_4", "best_of_16", "longest_of_16")
WELCOME = """\
**How to read this.** Every run here is one stage; the group is the whole run.
The verdict and the best policy stand beside the evaluation's name in the list. Read *Evaluation*
first, then the certificate of the reward model, then whether PPO stayed healthy on its way.
`rlhf report RUN` makes the page that says the same in words.
"""


@dataclass(frozen=True, slots=True)
class Lines:
    """Numbers that a stage logs, over its steps."""

    title: str
    stage: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """Figures in a stage's summary; `a.b` is `b` in `a`. `by_stage` shows those of all stages."""

    title: str
    stage: str
    names: tuple[str, ...]
    by_stage: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """A table that a stage shows."""

    stage: str
    name: str


@dataclass(frozen=True, slots=True)
class Words:
    """A text."""

    markdown: str


Panel = Lines | Bars | Rows | Words


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under one heading; `shown` is whether it is open at first."""

    title: str
    panels: tuple[Panel, ...]
    shown: bool = True


def _of(policies: Sequence[str], figure: str) -> tuple[str, ...]:
    return tuple(f"policies.{policy}.{figure}" for policy in policies)


def _held_out(*names: str) -> tuple[str, ...]:
    return tuple(f"held_out/{name}" for name in names)


SECTIONS = (
    Section(
        "Overview",
        (
            Words(WELCOME),
            Bars("Win rate against SFT", "evaluate", _of(POLICIES, "win_rate")),
            Bars("Held-out accuracy of the reward model", "reward", ("test.accuracy.value",)),
        ),
    ),
    Section(
        "SFT",
        (
            Lines("Loss", "sft", ("loss",)),
            Lines("Token accuracy", "sft", ("mean_token_accuracy",)),
            Lines("Entropy", "sft", ("entropy",)),
            Lines("Gradient norm", "sft", ("grad_norm",)),
            Lines("Learning rate", "sft", ("learning_rate",)),
            Bars("Loss at the end", "sft", ("train_loss", "validation_loss")),
        ),
        shown=False,
    ),
    Section(
        "Reward model and calibration",
        (
            Lines("Loss", "reward", ("loss",)),
            Lines("Gradient norm", "reward", ("grad_norm",)),
            Bars(
                "Accuracy: train, validation, test, and the longest",
                "reward",
                (
                    "train.accuracy.value",
                    "validation.accuracy.value",
                    "test.accuracy.value",
                    "test.length_baseline.value",
                ),
            ),
            Bars(
                "Calibration error",
                "reward",
                tuple(f"{split}.calibration_error" for split in ("train", "validation", "test")),
            ),
            Bars(
                "Certificate: answers changed on purpose",
                "certify",
                tuple(f"checks.{name}" for name in ("swap", "truncation", "paraphrase")),
            ),
            Rows("certify", "certificate"),
        ),
    ),
    Section(
        "PPO",
        (
            Lines(
                "Reward: climbed, and watched by the monitor", "ppo", _held_out("reward", "monitor")
            ),
            Lines(
                "Reward before and after KL", "ppo", ("objective/scores", "objective/rlhf_reward")
            ),
            Lines("KL from SFT", "ppo", ("objective/kl", "objective/kl_k3", "held_out/kl")),
            Lines("KL coefficient", "ppo", ("objective/kl_coef",)),
            Lines("KL of an update", "ppo", ("policy/approxkl_avg", "policy/kl_k3")),
            Lines("Ratio", "ppo", ("val/ratio",)),
            Lines("Variance of the ratio", "ppo", ("val/ratio_var",)),
            Lines("Clip fractions", "ppo", ("policy/clipfrac_avg", "val/clipfrac_avg")),
            Lines("Explained variance", "ppo", ("val/explained_variance",)),
            Lines("Entropy", "ppo", ("policy/entropy_avg", "held_out/entropy")),
            Lines("Response length", "ppo", ("objective/response_tokens", "held_out/tokens")),
            Lines("Share that ends (EOS)", "ppo", ("objective/finished", "held_out/finished")),
            Lines("Repetition", "ppo", _held_out("repetition")),
            Lines("Losses", "ppo", ("loss/policy_avg", "loss/value_avg")),
            Lines("Gradient norm", "ppo", ("grad_norm",)),
            Rows("ppo", "samples"),
        ),
    ),
    Section(
        "DPO",
        (
            Lines("Loss", "dpo", ("loss",)),
            Lines("Implicit reward", "dpo", ("rewards/chosen", "rewards/rejected")),
            Lines("Margin", "dpo", ("rewards/margins",)),
            Lines("Accuracy", "dpo", ("rewards/accuracies",)),
            Lines("Log-probs", "dpo", ("logps/chosen", "logps/rejected")),
            Lines("KL from SFT", "dpo", ("kl/from_reference",)),
        ),
    ),
    Section(
        "Evaluation",
        (
            Bars("Win rate against SFT", "evaluate", _of(POLICIES, "win_rate")),
            Bars("Lower end of its interval", "evaluate", _of(POLICIES, "win_rate_low")),
            Bars("KL from SFT, nats", "evaluate", _of(TRAINED, "kl")),
            Bars("Reward model's score", "evaluate", _of(POLICIES, "proxy_reward")),
            Bars("Tokens of an answer", "evaluate", _of(POLICIES, "mean_tokens")),
            Rows("evaluate", "answers"),
        ),
    ),
    Section(
        "Costs",
        (
            Bars("Seconds of each stage", "", ("_runtime",), by_stage=True),
            Bars("Minutes of labelers", "label", ("labeler_minutes",)),
            Lines(
                "Seconds of a PPO step, by phase",
                "ppo",
                tuple(
                    f"time/{phase}_seconds"
                    for phase in ("generate", "read", "reference", "reward", "update")
                ),
            ),
            Lines("Tokens per second", "ppo", ("time/tokens_per_second",)),
            Lines("Peak memory, MB", "ppo", ("memory/peak_mb",)),
        ),
        shown=False,
    ),
)


def specification(project: str, *, entity: str = "", run: str | None = None) -> Json:
    """W&B's specification of the view. Raises ValueError where the library is not installed."""
    view = _workspace(project, entity, run)._to_model()
    return dict(view.spec.model_dump(mode="json", by_alias=True, exclude_none=True))


def save(project: str, *, entity: str | None = None, run: str | None = None) -> str:
    """Saves the view in W&B; returns its address.

    Raises ValueError where the library or an account is missing, and where W&B refuses.
    """
    _library()
    if not logged_in():
        raise ValueError("W&B has no account on this machine: log in with `wandb login` first")
    import wandb

    try:
        owner = entity or wandb.Api().default_entity
        return str(_workspace(project, owner, run).save().url)
    except Exception as error:  # the library and its network may fail in many ways
        raise ValueError(f"W&B did not take the workspace: {first_line(error)}") from error


def named(sections: Sequence[Section] = SECTIONS) -> Iterator[tuple[str, str]]:
    """Every (stage, name) that a panel shows, as the stage logs it."""
    for section in sections:
        for panel in section.panels:
            if isinstance(panel, Lines | Bars):
                yield from ((panel.stage, name) for name in panel.names)
            elif isinstance(panel, Rows):
                yield panel.stage, panel.name


def _library() -> tuple[Any, Any, Any]:
    try:
        with warnings.catch_warnings():  # of its use of pydantic 1
            warnings.simplefilter("ignore", DeprecationWarning)
            from wandb_workspaces import expr, workspaces
            from wandb_workspaces.reports import v2
    except ImportError as error:
        raise ValueError(MISSING) from error
    return workspaces, v2, expr


def _workspace(project: str, entity: str, run: str | None) -> Any:
    """The library's object; with `run`, of the stages of that run alone, else a group for each."""
    workspaces, v2, expr = _library()
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="rlhf" if run is None else f"rlhf: {run}",
        sections=[
            workspaces.Section(
                name=section.title,
                panels=[_panel(v2, panel) for panel in section.panels],
                is_open=section.shown,
            )
            for section in SECTIONS
        ],
        settings=workspaces.WorkspaceSettings(max_runs=50),
        runset_settings=workspaces.RunsetSettings(
            filters="" if run is None else expr.And(expr.Metric("Group") == run),
            groupby=[expr.Metric("Group")] if run is None else [],
            pinned_columns=list(COLUMNS),
        ),
    )


def _panel(v2: Any, panel: Panel) -> Any:
    if isinstance(panel, Lines):
        y = [mirrored_name(panel.stage, name) for name in panel.names]
        return v2.LinePlot(title=panel.title, y=y)
    if isinstance(panel, Bars):
        grouped = v2.Metric("JobType") if panel.by_stage else None
        return v2.BarPlot(title=panel.title, metrics=list(panel.names), groupby=grouped)
    if isinstance(panel, Rows):
        return v2.WeavePanelSummaryTable(table_name=panel.name)
    return v2.MarkdownPanel(markdown=panel.markdown)
