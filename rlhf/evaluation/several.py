"""Many policies compared with one: which of them would win by luck alone."""

from collections.abc import Mapping

from scipy import stats

from rlhf.evaluation.winrate import WinRate
from rlhf.feedback.intervals import holm


def sign_test(won: WinRate) -> float:
    """The two-sided p-value that wins and losses are equally likely; ties say nothing (Dixon and
    Mood 1946). 1 where all are ties.
    """
    decided = won.wins + won.losses
    return float(stats.binomtest(won.wins, decided).pvalue) if decided else 1.0


def corrected(won: Mapping[str, WinRate]) -> dict[str, float]:
    """Holm's corrected p-value of each policy: below 0.05, the chance that any of them only seems
    to differ is at most 5 %.
    """
    return holm({name: sign_test(rate) for name, rate in won.items()})
