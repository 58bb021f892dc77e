"""The probes: what else became of the policies, and what of the evaluation training had seen."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json
from rlhf.data.policies import policy_name
from rlhf.data.privacy import scrub
from rlhf.evaluation.probes.bounds import Bound, Unit, bounds_of, spelled
from rlhf.evaluation.spelling import listed
from rlhf.reporting.formatting import ABSENT, MINUS, THIN, count, percent, percent_range
from rlhf.reporting.judges import Judged, judged_by_group, judged_by_labeler
from rlhf.reporting.reading import RunRecord
from rlhf.reporting.samples import Clean

DETAILS = "probes.json"
OVERLAPS = "contamination.json"
MARKS = {"ok": "passed", "beware": "failed", "fail": "failed"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure with its interval, and what the bounds make of it (`mark` is its class): `~` where
    it is ok and the interval does not rule out that it is not.
    """

    value: str
    interval: str
    verdict: str
    mark: str


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One check, with a cell for each policy."""

    check: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class SliceRow:
    """The win rate of one policy in one slice."""

    policy: str
    slice: str
    win_rate: str
    interval: str
    prompts: str


@dataclass(frozen=True, slots=True)
class BiasRow:
    """What the exchange of a name or a role changed, for one policy."""

    policy: str
    axis: str
    slice: str
    pairs: str
    changed: str
    reward: str
    length: str


@dataclass(frozen=True, slots=True)
class Probes:
    """The section."""

    headline: str
    warnings: tuple[str, ...]
    policies: tuple[str, ...]
    rows: tuple[ProbeRow, ...]
    skipped: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...]
    slices: tuple[SliceRow, ...]
    bias: tuple[BiasRow, ...]
    contamination: str
    overlaps: tuple[str, ...]


def probes_of(run: RunRecord, clean: Clean = scrub) -> Probes | None:
    """What the probe stage found; None where it is not complete. Prompts are shown as `clean` makes
    them.
    """
    found = run.result("probe")
    if not found:
        return None
    probes: Json = found["probes"]
    policies = list(dict.fromkeys(name for one in probes.values() for name in one["policy"]))
    bad = {name: one for name, one in probes.items() if one["verdict"] != "ok"}
    return Probes(
        _headline(probes, bad),
        tuple(
            _typeset(row["says"])
            for one in bad.values()
            for row in one["policy"].values()
            if row["verdict"] != "ok"
        ),
        tuple(policy_name(name) for name in policies),
        tuple(row for name, one in probes.items() for row in _rows(one, policies)),
        tuple(f"{name}: {why}" for name, why in found["skipped"].items()),
        tuple(_reasons(probes)),
        tuple(slice_rows(run)),
        tuple(_bias(run)),
        _typeset(found["contamination"]["says"]),
        tuple(_overlaps(run, clean)),
    )


def probe_details(run: RunRecord, probe: str) -> dict[str, Json]:
    """What a probe wrote about each policy beside its figures; {} where there is none."""
    if "probe" not in run.stages:
        return {}
    path = run.stages["probe"].folder / DETAILS
    found = read_json(path)["probes"].get(probe, {}) if path.exists() else {}
    return dict(found.get("details", {}))


@cache
def bounds_named(section: str) -> Mapping[str, Bound]:
    """The committed bounds of a probe, or of the gaps (`generalisation`), by name."""
    return {bound.name: bound for bound in bounds_of(section)}


def _headline(probes: Json, bad: Json) -> str:
    if not probes:
        return "No probe could be asked."
    if not bad:
        return (
            f"{count(len(probes), 'probe')}: none found anything beyond its bounds.{_rough(probes)}"
        )
    titles = {
        verdict: [one["title"] for one in bad.values() if one["verdict"] == verdict]
        for verdict in ("fail", "beware")
    }
    said = [
        f"{listed(held)} {'fails' if len(held) == 1 else 'fail'}"
        if verdict == "fail"
        else f"beware of {listed(held)}"
        for verdict, held in titles.items()
        if held
    ]
    return f"{count(len(probes), 'probe')}: {'; '.join(said)}.{_rough(probes)}"


def _rough(probes: Json) -> str:
    """How many figures of the trained policies are known too roughly to say that all is well."""
    checks = [
        check["sure"]
        for one in probes.values()
        for policy, row in one["policy"].items()
        if policy != "sft"
        for check in row["checks"].values()
    ]
    rough = checks.count(False)
    if not rough:
        return ""
    return (
        f" {count(rough, 'figure')} of {len(checks)} {'is' if rough == 1 else 'are'} known too "
        "roughly to rule worse out (marked ~)."
    )


def _rows(probe: Json, policies: list[str]) -> list[ProbeRow]:
    checks = {
        name: row["checks"][name] for row in probe["policy"].values() for name in row["checks"]
    }
    return [
        ProbeRow(
            checks[name]["title"],
            tuple(
                _cell(probe["policy"].get(policy, {}).get("checks", {}).get(name))
                for policy in policies
            ),
        )
        for name in checks
    ]


def _cell(row: Json | None) -> Cell | None:
    if row is None:
        return None
    unit: Unit = "number" if row["unit"] == "spreads" else row["unit"]
    low, high = (spelled(row[end], unit) for end in ("low", "high"))
    span = f"{low.removesuffix(' points').removesuffix(' nats').removesuffix(' %')} to {high}"
    return Cell(
        _typeset(spelled(row["value"], row["unit"])),
        _typeset(span),
        row["verdict"] if row["sure"] else "~",
        MARKS[row["verdict"]] if row["sure"] else "",
    )


def _reasons(probes: Json) -> list[tuple[str, str]]:
    """The reason of every bound of the built-in probes, once each."""
    found: dict[str, str] = {}
    for one in probes.values():
        for row in one["policy"].values():
            for check in row["checks"].values():
                found.setdefault(check["why"], check["title"])
    return [(title, _typeset(why)) for why, title in found.items()]


def slice_rows(run: RunRecord) -> list[SliceRow]:
    """By task and language, as probed; by group and by labeler where people compared."""
    rows = [
        SliceRow(
            policy_name(policy),
            row["slice"],
            percent(row["value"]),
            percent_range(row["low"], row["high"]),
            count(row["prompts"]),
        )
        for policy, details in probe_details(run, "slices").items()
        for row in details.get("slices", [])
    ]
    groups = [_said(one, f"labelers: {one.labeler}") for one in judged_by_group(run)]
    return [
        *rows,
        *groups,
        *(
            _said(one, f"labeler: {one.labeler}" if one.labeler else "labelers of few comparisons")
            for one in judged_by_labeler(run)
        ),
    ]


def _said(one: Judged, who: str) -> SliceRow:
    return SliceRow(
        policy_name(one.policy),
        who,
        percent(one.rate),
        percent_range(one.low, one.high),
        count(one.comparisons),
    )


def _bias(run: RunRecord) -> list[BiasRow]:
    def span(row: Json, kind: str) -> str:
        if kind not in row:
            return ABSENT
        value, low, high = (_typeset(spelled(one, "spreads")) for one in row[kind])
        return f"{value} ({low} to {high})".replace(" spreads", "")

    return [
        BiasRow(
            policy_name(policy),
            {"gender": "women less men", "origin": "English names less others"}[row["axis"]],
            row["slice"],
            count(row["pairs"]),
            percent(row["changed"]),
            span(row, "reward"),
            span(row, "length"),
        )
        for policy, details in probe_details(run, "bias").items()
        for row in details.get("slices", [])
    ]


def _overlaps(run: RunRecord, clean: Clean) -> list[str]:
    path = run.stages["probe"].folder / OVERLAPS
    rows = read_json(path)["examples"] if path.exists() else []
    return [
        f"{clean(row['prompt'])} ({percent(row['covered'])} of its words are shared"
        + (f"; nearly: {clean(row['near_duplicate_of'])}" if row["near_duplicate_of"] else "")
        + ")"
        for row in rows
    ]


def _typeset(said: str) -> str:
    """Numbers and units as on the rest of the page."""
    return re.sub(r"(?<![\w.])-(?=\d)", MINUS, said.replace(" %", f"{THIN}%"))
