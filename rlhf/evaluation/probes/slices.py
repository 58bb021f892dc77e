"""Slices: the win rate against SFT for each kind of task and each language, so that a policy that
wins on the whole and loses for some is seen.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from scipy import stats

from rlhf.data.identity import Json
from rlhf.evaluation.probes.bench import Answered, Bench
from rlhf.evaluation.probes.finding import Finding, NothingToProbeError
from rlhf.evaluation.probes.language import language_of
from rlhf.evaluation.probes.means import LEVEL
from rlhf.evaluation.probes.measure import Measure
from rlhf.evaluation.winrate import wilson

TITLE = "Win rate by slice"
FEWEST = 20  # prompts, below which a slice is shown and not judged


def probe(bench: Bench) -> dict[str, Finding]:
    """The worst slice of each policy, with an interval that allows for how many were looked at."""
    found: dict[str, Finding] = {}
    for policy in bench.trained:
        judged = [one for one in bench.answered if one.won(policy) is not None]
        won = [one.won(policy) or 0.0 for one in judged]
        slices = slices_of(judged)
        large = [name for name, places in slices.items() if len(places) >= FEWEST]
        if not large:
            continue
        quantile = float(stats.norm.ppf(1 - (1 - LEVEL) / (2 * len(large))))
        rows = {name: _rate(won, places, quantile) for name, places in slices.items()}
        worst = min(large, key=lambda name, held=rows: held[name].value)  # type: ignore[misc]
        found[policy] = Finding(
            {"worst_slice": rows[worst]},
            {
                "worst": worst,
                "fewest": FEWEST,
                "slices": [_row(name, rows[name]) for name in slices],
            },
        )
    if not found:
        raise NothingToProbeError(f"no kind of task has {FEWEST} judged prompts")
    return found


def slices_of(answered: Sequence[Answered]) -> dict[str, list[int]]:
    """Which prompts belong to each slice: by family, where prompts have one, and by language."""
    found: dict[str, list[int]] = {}
    for place, one in enumerate(answered):
        if one.prompt.family:
            found.setdefault(f"task: {one.prompt.family}", []).append(place)
        found.setdefault(f"language: {language_of(one.prompt.text)}", []).append(place)
    return dict(sorted(found.items()))


def _rate(won: Sequence[float], places: Sequence[int], quantile: float) -> Measure:
    rate = fmean(won[place] for place in places)
    return Measure(rate, *wilson(rate, len(places), quantile), len(places))


def _row(name: str, found: Measure) -> Json:
    figures: Mapping[str, float] = {"value": found.value, "low": found.low, "high": found.high}
    rounded = {key: round(value, 4) for key, value in figures.items()}
    return {"slice": name, "prompts": found.count, **rounded}
