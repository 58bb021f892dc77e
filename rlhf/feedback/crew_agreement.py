"""How far a whole crew agrees: every figure at once, of a campaign or of a file of verdicts."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf.data.identity import Json
from rlhf.data.importing import annotators
from rlhf.data.importing.reading import rows_of
from rlhf.data.records import Ranking
from rlhf.feedback.agreement import Agreement, Majority, agreement_over, majority_labels
from rlhf.feedback.coefficients import (
    Coefficient,
    Kappa,
    alpha_over_pairs,
    alpha_over_places,
    kappas,
    kendall_tau,
)
from rlhf.feedback.disagreement import work_votes
from rlhf.feedback.intervals import Share, share_of
from rlhf.feedback.observations import Observations
from rlhf.feedback.verdicts import Ints, Judged, Verdicts, verdicts_of, votes_on_pairs


class Said(NamedTuple):
    """A ranking as agreement sees it."""

    prompt_id: str
    labeler_id: str
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class LabelerAgreement:
    """One labeler beside all others: pairs on which both have a strict order and it is the same
    (`strict`), both gave the same verdict (`with_ties`); and the share of their own pairs that
    they tied. Each pair counts once for each colleague who judged it too.
    """

    labeler_id: str
    rankings: int
    pairs: int
    strict: Share
    with_ties: Share
    ties: Share


@dataclass(frozen=True, slots=True)
class CrewAgreement:
    """All figures of a crew. `listed` says how pairs are directed, which kappa and the majority
    labels depend on; `left_out` counts what could not be read, by reason.
    """

    rankings: int
    prompts: int
    pairs: int
    agreement: Agreement
    alpha_pairs: Coefficient
    alpha_places: Coefficient
    tau: Coefficient
    kappas: tuple[Kappa, ...]
    majority: Majority
    labelers: tuple[LabelerAgreement, ...]
    listed: str
    left_out: Mapping[str, int]


def agreement_of_campaign(observed: Observations) -> CrewAgreement:
    """Of the answers in force on a campaign's items of work, before any review."""
    votes = work_votes(observed)
    listed = {
        observed.items[vote.item_id].response_ids: Said(vote.prompt_id, "", ()) for vote in votes
    }
    orders = [one._replace(groups=(responses,)) for responses, one in listed.items()]
    without = sum(
        not vote.groups and observed.items[vote.item_id].kind == "work" for vote in observed.votes
    )
    left_out = {"answers without an order": without} if without else {}
    return _measured(orders, votes, "as the item lists them", left_out)


def agreement_of_file(path: Path) -> CrewAgreement:
    """Of a file with a column for each annotator, every row as it stands (rows that repeat others,
    and those whose texts an import would refuse, count too); or of a file of our rankings.

    Raises ValueError where the rows are neither.
    """
    rows = list(rows_of(path))
    if not rows:
        raise ValueError(f"{path} holds no row: there is nothing to compare")
    if all("labeler_id" in row and "groups" in row for _, row in rows):
        return agreement_of_rankings([Ranking.from_json(row) for _, row in rows])
    if not any(annotators.fits(row) for _, row in rows):
        raise ValueError(
            f"{path} does not say who judged what: agreement needs columns annotator1, annotator2, "
            "..., or our own rankings.jsonl"
        )
    return _of_columns(rows)


def agreement_of_rankings(rankings: Iterable[Ranking]) -> CrewAgreement:
    """Of rankings, superseded ones left out by the caller. Pairs are directed by id."""
    held = list(rankings)
    ordered = [one for one in held if one.groups]
    listed = {(one.prompt_id, tuple(sorted(one.shown))) for one in ordered}
    orders = [Said(prompt_id, "", (responses,)) for prompt_id, responses in sorted(listed)]
    without = len(held) - len(ordered)
    left_out = {"rankings without an order": without} if without else {}
    return _measured(orders, ordered, "by their ids", left_out)


def _of_columns(rows: Sequence[tuple[int, Json]]) -> CrewAgreement:
    orders, said = [], []
    left_out: dict[str, int] = defaultdict(int)
    for number, row in rows:
        prompt = "\n\n".join(str(row.get(key, "")) for key in ("prompt", "instruction", "input"))
        replies = (f"{number}.1", f"{number}.2")
        verdicts = annotators.orders(row)
        if isinstance(verdicts, str):
            left_out[f"rows: {verdicts}"] += 1
            continue
        orders.append(Said(prompt, "", (replies,)))
        for labeler, order in verdicts.items():
            groups = tuple(tuple(replies[index] for index in group) for group in order)
            said.append(Said(prompt, labeler, groups))
    return _measured(orders, said, "response1, response2", dict(left_out))


def _measured(
    orders: Sequence[Judged], said: Sequence[Judged], listed: str, left_out: Mapping[str, int]
) -> CrewAgreement:
    """All figures of what was `said`. `orders` name the responses in a direction that no vote
    decides: their codes are given first.
    """
    every = verdicts_of([*orders, *said])
    table = every.where(every.rankings >= len(orders)).latest()
    return CrewAgreement(
        len(said),
        len(np.unique(table.prompts)),
        len(np.unique(table.pairs)),
        agreement_over(table),
        alpha_over_pairs(table),
        alpha_over_places(said),
        kendall_tau(table),
        tuple(kappas(table)),
        majority_labels(table),
        tuple(_labelers(table)),
        listed,
        left_out,
    )


def _labelers(table: Verdicts) -> list[LabelerAgreement]:
    """Every labeler, in the order of their ids."""
    votes = votes_on_pairs(table)  # (pairs, 3)
    same = votes[table.pairs, table.signs + 1] - 1
    others = votes[table.pairs].sum(1) - 1
    strict = np.where(table.signs == 0, 0, votes[table.pairs][:, [0, 2]].sum(1) - 1)
    found = []
    for code, name in sorted(enumerate(table.labeler_ids), key=lambda one: one[1]):
        own = np.flatnonzero(table.labelers == code)
        if not len(own):
            continue
        tied = table.signs[own] == 0
        found.append(
            LabelerAgreement(
                name,
                len(np.unique(table.rankings[own])),
                len(own),
                _by_prompt(table.prompts[own], np.where(tied, 0, same[own]), strict[own]),
                _by_prompt(table.prompts[own], same[own], others[own]),
                _by_prompt(table.prompts[own], tied, np.ones(len(own))),
            )
        )
    return found


def _by_prompt(prompts: Ints, alike: NDArray[Any], total: NDArray[Any]) -> Share:
    """The share of `alike` in `total`; known from two prompts on."""
    _, cluster = np.unique(prompts, return_inverse=True)
    return share_of(
        np.bincount(cluster, weights=alike).astype(np.float64),
        np.bincount(cluster, weights=total).astype(np.float64),
        2,
    )
