"""`rlhf agreement`: how far labelers agree, of a store's campaign or of a file."""

import json
from dataclasses import asdict
from pathlib import Path

import typer

from pipelines.commands.store import campaign_named
from rlhf.feedback import moving
from rlhf.feedback.agreement import Interval
from rlhf.feedback.coefficients import Coefficient, Kappa
from rlhf.feedback.crew_agreement import (
    CrewAgreement,
    agreement_of_campaign,
    agreement_of_file,
)
from rlhf.feedback.intervals import Share
from rlhf.feedback.observations import Observer
from rlhf.feedback.store import Store

FILES = (".json", ".jsonl", ".gz")
KAPPAS_SHOWN = 15


def agreement_command(source: str, *, campaign: str | None, as_json: bool) -> None:
    """Prints every figure; as one JSON object with `as_json`."""
    if Path(source).suffix in FILES:
        if campaign is not None:
            raise ValueError(f"--campaign goes with a store, and {source} is a file")
        found, name = agreement_of_file(Path(source)), source
    else:
        moving.check_there(source)
        with Store(source) as store:
            chosen = campaign_named(store, campaign)
            found = agreement_of_campaign(Observer(store.database, chosen.id).read())
            name = f"campaign {chosen.name}"
    typer.echo(json.dumps(asdict(found)) if as_json else "\n".join(_lines(name, found)))


def _lines(name: str, found: CrewAgreement) -> list[str]:
    agreement, majority = found.agreement, found.majority
    judged = majority.first + majority.second + majority.tie + majority.none
    left_out = [f"left out: {count:,} {what}" for what, count in found.left_out.items()]
    return [
        f"{name}: {found.rankings:,} rankings by {len(found.labelers)} labelers, {found.pairs:,} "
        f"pairs of responses, {found.prompts:,} prompts",
        *left_out,
        "",
        f"{'agreement without ties':26}{_percent(agreement.strict, agreement.strict_interval)}"
        f"   of {agreement.pairs_strict:,} times that two labelers both ordered a pair",
        f"{'agreement with ties':26}{_percent(agreement.with_ties, agreement.with_ties_interval)}"
        f"   of {agreement.pairs:,} times that two judged a pair: win, tie or loss",
        f"{'Krippendorff alpha':26}{_number(found.alpha_pairs)}   nominal, verdicts on pairs",
        f"{'Krippendorff alpha':26}{_number(found.alpha_places)}   ordinal, places in a list",
        f"{'Kendall tau-b':26}{_number(found.tau)}   between two labelers of an item",
        f"{'majority labels':26}{majority.tie:,} tie, {majority.first:,} the first, "
        f"{majority.second:,} the second, {majority.none:,} none   of {judged:,} pairs that two or "
        "more judged",
        "",
        *_kappa_lines(found.kappas),
        f"(the first of a pair: {found.listed}; intervals are 95 %, clustered by prompt)",
        "",
        *_labeler_lines(found),
    ]


def _kappa_lines(kappas: tuple[Kappa, ...]) -> list[str]:
    """The lowest, where there are many."""
    if not kappas:
        return ["Cohen's kappa: no two labelers judged the same pair"]
    worst = sorted(kappas, key=lambda one: (one.coefficient.value is None, one.coefficient.value))
    shown = kappas if len(kappas) <= KAPPAS_SHOWN else worst[:KAPPAS_SHOWN]
    width = max(len(one.first) + len(one.second) for one in shown) + 2
    more = len(kappas) - len(shown)
    return [
        f"Cohen's kappa{f' (the lowest; {more:,} more with --json)' if more else ''}",
        *(
            f"  {one.first + ', ' + one.second:{width}}  {_number(one.coefficient)}   "
            f"{one.pairs:,} pairs"
            for one in shown
        ),
    ]


def _labeler_lines(found: CrewAgreement) -> list[str]:
    width = max([len(one.labeler_id) for one in found.labelers] + [len("labeler")])
    head = (
        f"{'labeler':{width}}  {'rankings':>8}  {'pairs':>7}  {'as others, no ties':25}"
        f"{'as others, with ties':25}ties"
    )
    return [
        head,
        *(
            f"{one.labeler_id:{width}}  {one.rankings:>8,}  {one.pairs:>7,}  "
            f"{_share(one.strict):25}{_share(one.with_ties):25}{_share(one.ties)}".rstrip()
            for one in found.labelers
        ),
    ]


def _share(share: Share) -> str:
    return _percent(share.value, share.interval)


def _percent(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "unknown"
    reach = "" if interval is None else f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
    return f"{100 * value:.1f} %{reach}"


def _number(coefficient: Coefficient) -> str:
    if coefficient.value is None:
        return "unknown"
    low_high = coefficient.interval
    reach = "" if low_high is None else f" ({low_high[0]:.3f} to {low_high[1]:.3f})"
    return f"{coefficient.value:.3f}{reach}"
