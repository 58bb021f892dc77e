"""A model card and a data card, as the Hugging Face hub reads them: filled from the run folder.

Nothing is invented: what the run does not hold is said to be absent or not stated.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rlhf.data.jsonl import AtomicText
from rlhf.data.policies import TRAINED, policy_name
from rlhf.data.privacy import scrub
from rlhf.reporting.card_facts import (
    amounts,
    code_of,
    costs,
    costs_note,
    hub_name,
    source_of,
    sources,
)
from rlhf.reporting.cautions import cautions_of
from rlhf.reporting.certificate import certificate_of
from rlhf.reporting.formatting import number
from rlhf.reporting.labelers import labeler_rows, labeler_sentences
from rlhf.reporting.lineage import notes
from rlhf.reporting.policies import policy_rows
from rlhf.reporting.reading import RunRecord
from rlhf.reporting.reward_model import reward_sentences
from rlhf.reporting.verdict import Verdict, verdict_of

CARD = "README.md"
DATA_CARD = "DATA_CARD.md"
NOT_STATED = "Not stated (`card.{}` in the config)."
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
FILES = {
    "ranked.jsonl": "a prompt, its responses and every ranking of them, a line each",
    "labelers.json": "what the rankings of each labeler weigh in training, under a pseudonym",
    "pairs-train.jsonl": "pairs derived from the rankings of the train prompts",
    "pairs-validation.jsonl": "the same, of the validation prompts",
    "pairs-test.jsonl": "the same, of the test prompts",
}
TABLE_NOTE = (
    "Every policy answered the same held-out prompts; each answer is compared with one SFT answer, "
    "ties count one half. The SFT row is a second draw from SFT. The intervals are Wilson's, one "
    "policy at a time: they do not allow for having picked the best of several."
)
PERSONAL = (
    "Labelers are known by pseudonym, and are numbered here. What goes to W&B or to the hub is "
    "searched for e-mail addresses, telephone, card and account numbers, IP addresses and keys, "
    "which are replaced. What has no form, such as names and street addresses, is not found."
)


@dataclass(frozen=True, slots=True)
class Stated:
    """What only people can say of a model: the `card` section of the config."""

    license: str | None = None
    language: tuple[str, ...] = ()
    intended_use: str | None = None
    limits: str | None = None

    @classmethod
    def of(cls, run: RunRecord) -> "Stated":
        """As the run's config states it."""
        given = run.config.get("card") or {}
        return cls(
            given.get("license"),
            tuple(given.get("language") or ()),
            given.get("intended_use"),
            given.get("limits"),
        )

    def said(self, name: str) -> str:
        return str(getattr(self, name) or NOT_STATED.format(name))


def policy_of(run: RunRecord, policy: str | None = None) -> str:
    """The policy that a card is of: the one asked for, else the best, else the only trained one.

    Raises ValueError where the run holds no such policy.
    """
    held = [name for name in (*TRAINED, "sft") if name in run.stages]
    trained = [name for name in held if name != "sft"]
    chosen = policy or run.best or (trained[0] if len(trained) == 1 else None)
    if chosen in held:
        return str(chosen)
    known = f"it holds {', '.join(held)}" if held else "no policy of it is complete yet"
    if chosen is None and held:
        raise ValueError(f"the run is not evaluated: name a policy with --policy ({known})")
    raise ValueError(f"{run.name} holds no {chosen or 'trained'} policy: {known}")


def verdict_on_policy(run: RunRecord, policy: str) -> Verdict:
    """What the gate says of this policy; of SFT, which all are compared with, whose it is."""
    found = run.result("evaluate")
    if not found or (policy in TRAINED and policy in found["policies"]):
        return verdict_of(run, policy if found else None)
    other = f"The verdict of the run is on another policy: {verdict_of(run).headline}"
    return Verdict("wait", f"No verdict on {policy_name(policy)}.", (other,))


def write_cards(
    run: RunRecord, folder: Path, policy: str, stated: Stated | None = None
) -> tuple[Path, Path]:
    """Writes the model card (`README.md`) and the data card (`DATA_CARD.md`) to a folder."""
    stated = stated or Stated.of(run)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in (
        (CARD, model_card(run, policy, stated)),
        (DATA_CARD, data_card(run, stated)),
    ):
        with AtomicText(folder / name) as file:
            file.write(text)
        written.append(folder / name)
    return written[0], written[1]


def model_card(run: RunRecord, policy: str, stated: Stated) -> str:
    """The model card of a policy of a run, in Markdown with YAML before it."""
    return _render(
        "model_card.md.jinja",
        {
            "front": _model_front(run, policy, stated),
            "title": f"{run.name}: {policy_name(policy)}",
            "policy": policy,
            "verdict": verdict_on_policy(run, policy),
            "facts": _facts(run, policy, stated),
            "intended_use": stated.said("intended_use"),
            "limits": stated.said("limits"),
            "cautions": cautions_of(run),
            "policies": policy_rows(run),
            "judge": _judge(run),
            "table_note": TABLE_NOTE,
            "reward": _reward(run),
            "data": amounts(run),
            "costs": costs(run),
            "costs_note": costs_note(run),
            "made": [*notes(run), *code_of(run)],
        },
    )


def data_card(run: RunRecord, stated: Stated) -> str:
    """The card of the rankings and what was derived from them."""
    return _render(
        "data_card.md.jinja",
        {
            "front": _data_front(run, stated),
            "title": f"{run.name}: rankings",
            "summary": amounts(run),
            "facts": [*sources(run), ("license", stated.license or "not stated")],
            "files": list(FILES.items()) if "preferences" in run.stages else [],
            "people": labeler_sentences(run) or ["Nobody has ranked yet."],
            "labelers": labeler_rows(run.rankings),
            "guidelines": " ".join(
                str((run.config.get("label") or {}).get("guidelines") or "not recorded").split()
            ),
            "personal": PERSONAL,
            "intended_use": stated.said("intended_use"),
            "limits": stated.said("limits"),
        },
    )


def _render(template: str, content: dict[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("rlhf.reporting"),
        autoescape=False,  # Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return scrub(environment.get_template(template).render(content))


def _model_front(run: RunRecord, policy: str, stated: Stated) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    base = hub_name((run.config.get("model") or {}).get("path"))
    source = hub_name(source_of(run))
    row, people = (run.result("evaluate").get("policies") or {}).get(policy), run.people(policy)
    results = None
    if row is not None:
        judge = "people" if people else run.result("evaluate")["judge"]
        asked = (
            people["wins"] + people["ties"] + people["losses"]
            if people
            else run.result("evaluate")["prompts"]
        )
        results = [
            EvalResult(
                task_type="text-generation",
                dataset_type=source or "other",
                dataset_name=f"{asked} held-out prompts of the run",
                metric_type="win_rate",
                metric_name=f"win rate against SFT, judge: {judge}",
                metric_value=people["rate"] if people else row["win_rate"],
            )
        ]
    data = ModelCardData(
        base_model=base,
        datasets=source,
        language=list(stated.language) or None,
        license=stated.license,
        library_name="transformers",
        pipeline_tag="text-generation",
        model_name=f"{run.name}-{policy}",
        tags=["rlhf", policy],
        eval_results=results,
    )
    return str(data.to_yaml())


def _data_front(run: RunRecord, stated: Stated) -> str:
    from huggingface_hub import DatasetCardData

    rankings = run.result("label").get("rankings")
    source = hub_name(source_of(run))
    data = DatasetCardData(
        language=list(stated.language) or None,
        license=stated.license,
        annotations_creators="machine-generated" if run.simulated else None,
        size_categories=None if rankings is None else _size(rankings),
        source_datasets=[source] if source else None,
        task_categories=["text-generation"],
        pretty_name=f"{run.name}: rankings",
        tags=["rlhf", "preferences"],
    )
    return str(data.to_yaml())


def _size(rankings: int) -> str:
    return next((name for limit, name in SIZES if rankings < limit), "n>1M")


def _facts(run: RunRecord, policy: str, stated: Stated) -> list[tuple[str, str]]:
    made = run.result("pretrain").get("parameters")
    base = (run.config.get("model") or {}).get("path")
    return [
        ("base model", f"{made:,} parameters, pretrained in this run" if made else str(base)),
        ("aligned with", "SFT alone" if policy == "sft" else f"SFT, then {policy_name(policy)}"),
        ("distance from SFT", _distance(run, policy)),
        ("language", ", ".join(stated.language) or "not stated"),
        ("license", stated.license or "not stated"),
    ]


def _distance(run: RunRecord, policy: str) -> str:
    row = (run.result("evaluate").get("policies") or {}).get(policy, {})
    if "kl" not in row:
        return "not measured"
    return f"{number(row['kl'])} nats of KL on held-out prompts"


def _reward(run: RunRecord) -> list[str]:
    certificate = certificate_of(run)
    if certificate is None:
        said = ["It has no certificate."]
    else:
        said = [certificate.headline, *certificate.sentences]
    return [*said, *reward_sentences(run)] if run.result("reward") else ["There is none yet."]


def _judge(run: RunRecord) -> str:
    name = run.result("evaluate").get("judge")
    if name == "reward":
        return "the reward model itself, which the training followed"
    if not run.independent:
        return f"the {name}, a reward model from the same rankings, which chose the checkpoints"
    return str(name)
