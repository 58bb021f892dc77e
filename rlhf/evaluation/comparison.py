"""Policies beside one another: the same prompts, the same judge, a row of figures each."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from rlhf.data.identity import Json
from rlhf.evaluation.answers import Answer
from rlhf.evaluation.winrate import win_rate


@dataclass(frozen=True, slots=True)
class Contestant:
    """One policy's answers, one per prompt, with what the judge and the reward model say of them.

    `kl` holds log policy - log SFT of each answer (nats), or is None where only a bound is known.
    """

    name: str
    answers: tuple[Answer, ...]
    judged: tuple[float, ...]
    proxy: tuple[float, ...]
    kl: tuple[float, ...] | None = None
    kl_bound: float | None = None


def figures(contestant: Contestant, reference: Sequence[float]) -> Json:
    """The row of a policy: win rate against the judged SFT answers, mean rewards, tokens,
    distance.
    """
    won = win_rate(contestant.judged, reference)
    row: Json = {
        "win_rate": won.rate,
        "win_rate_low": won.low,
        "win_rate_high": won.high,
        "wins": won.wins,
        "ties": won.ties,
        "losses": won.losses,
        "gold_reward": fmean(contestant.judged),
        "proxy_reward": fmean(contestant.proxy),
        "mean_tokens": fmean(len(answer.ids) for answer in contestant.answers),
        "finished_share": fmean(answer.finished for answer in contestant.answers),
    }
    if contestant.kl is not None:
        row["kl"] = fmean(contestant.kl)
        count = len(contestant.kl)
        row["kl_standard_error"] = stdev(contestant.kl) / count**0.5 if count > 1 else None
    if contestant.kl_bound is not None:
        row["kl_bound"] = contestant.kl_bound
    return {name: round(v, 6) if isinstance(v, float) else v for name, v in row.items()}
