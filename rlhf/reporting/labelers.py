"""The people, or the simulated crew, behind the rankings: how much, how fast, how much alike."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from rlhf.data.records import Ranking
from rlhf.feedback.pairs import comparisons
from rlhf.reporting.formatting import ABSENT, THIN, count, duration, percent, with_span
from rlhf.reporting.reading import RunRecord


@dataclass(frozen=True, slots=True)
class LabelerRow:
    """One labeler under a pseudonym, spelled for the table."""

    labeler_id: str
    rankings: str
    median_time: str
    ties: str
    agreement: str
    pairs: str


def labeler_sentences(run: RunRecord) -> list[str]:
    """How many ranked how much, and how far they agree, ties left out and counted."""
    label = run.result("label")
    if not label:
        return []
    said = [_amount(run)]
    agreement = label["agreement"]
    if agreement["strict"] is None:
        return [*said, "No two labelers ranked the same prompt, so their agreement is not known."]
    strict = with_span(agreement["strict"], agreement["strict_interval"])
    with_ties = with_span(agreement["with_ties"], agreement["with_ties_interval"])
    said.append(
        f"Where two of them order a pair strictly, they order it alike in {strict}, over "
        f"{count(agreement['pairs_strict'], 'judgement')} on "
        f"{count(agreement['prompts'], 'prompt')}; with a tie as a verdict of its own, they agree "
        f"in {with_ties}. Half would be chance for the first figure."
    )
    return said


def _amount(run: RunRecord) -> str:
    label = run.result("label")
    kind = "simulated labeler" if run.simulated else "labeler"
    pairs = label["pairs"] + label["ties"]
    ties = percent(label["ties"] / pairs) if pairs else ABSENT
    none = label.get("none_acceptable", 0)
    unacceptable = f" In {count(none, 'ranking')} no answer was acceptable." if none else ""
    minutes = f"{label['labeler_minutes']:,.0f}{THIN}min"
    clock = " by their simulated clock" if run.simulated else ""
    return (
        f"{count(label['labelers'], kind)} made {count(label['rankings'], 'ranking')} in "
        f"{minutes}{clock}: {count(pairs, 'pair')}, {ties} of them ties.{unacceptable}"
    )


def labeler_rows(rankings: Sequence[Ranking]) -> list[LabelerRow]:
    """A row per labeler, in the order of their ids."""
    by_labeler: dict[str, list[Ranking]] = defaultdict(list)
    for ranking in rankings:
        by_labeler[ranking.labeler_id].append(ranking)
    alike = agreement_with_others(rankings)
    rows = []
    for labeler_id, made in sorted(by_labeler.items()):
        margins = [margin for ranking in made for *_, margin in comparisons(ranking)]
        same, judged = alike.get(labeler_id, (0, 0))
        rows.append(
            LabelerRow(
                labeler_id,
                count(len(made)),
                duration(median(ranking.duration_seconds for ranking in made)),
                percent(margins.count(0) / len(margins)) if margins else ABSENT,
                percent(same / judged) if judged else ABSENT,
                count(judged),
            )
        )
    return rows


def agreement_with_others(rankings: Sequence[Ranking]) -> dict[str, tuple[int, int]]:
    """Per labeler: judgements ordered as another labeler did, of those that both order strictly."""
    verdicts: dict[tuple[str, str, str], dict[str, bool]] = defaultdict(dict)
    for ranking in rankings:
        for better, worse, margin in comparisons(ranking):
            if margin:
                low, high = sorted((better, worse))
                verdicts[ranking.prompt_id, low, high][ranking.labeler_id] = better == low
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for by_labeler in verdicts.values():
        for one, two in combinations(by_labeler, 2):
            same = by_labeler[one] == by_labeler[two]
            for labeler_id in (one, two):
                before = found[labeler_id]
                found[labeler_id] = (before[0] + same, before[1] + 1)
    return dict(found)
