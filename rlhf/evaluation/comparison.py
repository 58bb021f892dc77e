"""Policies beside one another: the same prompts, the same judge, a row of figures each."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from rlhf.data.identity import Json
from rlhf.evaluation.judges import Judged, share
from rlhf.evaluation.length_control import length_controlled
from rlhf.evaluation.paired import each_two
from rlhf.evaluation.several import corrected, sign_test
from rlhf.evaluation.winrate import WinRate, win_rate

if TYPE_CHECKING:
    from rlhf.evaluation.answers import Answer

CONTROLS = ("sft", "longest_of_", "null")  # rows that nobody would ship


@dataclass(frozen=True, slots=True)
class Contestant:
    """One policy's answers, one per prompt, with what the judge says of each beside the reference's
    (None: nothing usable), and the scores of the reward model and of the monitor where there is
    one.

    `kl` holds log policy - log SFT of each answer (nats), or is None where only a bound is known,
    or nothing.
    """

    name: str
    answers: "tuple[Answer, ...]"
    judged: tuple[Judged | None, ...]
    proxy: tuple[float, ...]
    monitor: tuple[float, ...] | None = None
    kl: tuple[float, ...] | None = None
    kl_bound: float | None = None

    def won(self) -> WinRate:
        """How often the judge prefers its answer, where it said anything usable."""
        usable = [one for one in self.judged if one is not None]
        return win_rate([one.ours for one in usable], [one.theirs for one in usable])


def table(contestants: Sequence[Contestant], reference: Contestant) -> dict[str, Json]:
    """The row of every policy by name. Those that could be shipped also have the p-value of beating
    SFT, alone (`p_value`) and as one of so many (`p_holm`).
    """
    rows = {one.name: figures(one, reference) for one in contestants}
    rivals = {one.name: one.won() for one in contestants if not one.name.startswith(CONTROLS)}
    together = corrected(rivals)
    for name, won in rivals.items():
        rows[name] |= {"p_value": sign_test(won), "p_holm": together[name]}
    return rows


def figures(contestant: Contestant, reference: Contestant) -> Json:
    """The row of a policy: win rates against the SFT answers (as judged, without ties, at equal
    length, under the reward model), mean rewards, tokens, distance.
    """
    won, decided = contestant.won(), contestant.won().decided()
    usable = [one for one in contestant.judged if one is not None]
    row: Json = {
        "win_rate": won.rate,
        "win_rate_low": won.low,
        "win_rate_high": won.high,
        "wins": won.wins,
        "ties": won.ties,
        "losses": won.losses,
        "unusable": len(contestant.judged) - len(usable),
        "win_rate_without_ties": None if decided is None else decided[0],
        "length_controlled": _rounded(_length_controlled(contestant, reference)),
        "gold_reward": fmean(one.ours for one in usable),
        "proxy_reward": fmean(contestant.proxy),
        "mean_tokens": fmean(len(answer.ids) for answer in contestant.answers),
        "finished_share": fmean(answer.finished for answer in contestant.answers),
    }
    proxy = win_rate(contestant.proxy, reference.proxy)
    row |= {"proxy_win_rate": proxy.rate, "proxy_win_rate_low": proxy.low}
    if contestant.monitor is not None:
        row["monitor_reward"] = fmean(contestant.monitor)
    if contestant.kl is not None:
        row["kl"] = fmean(contestant.kl)
        count = len(contestant.kl)
        row["kl_standard_error"] = stdev(contestant.kl) / count**0.5 if count > 1 else None
    if contestant.kl_bound is not None:
        row["kl_bound"] = contestant.kl_bound
    return _rounded(row)


def _length_controlled(contestant: Contestant, reference: Contestant) -> Json:
    rows = zip(contestant.answers, reference.answers, contestant.judged, strict=True)
    found = [
        (share(judged), len(ours.ids) - len(theirs.ids))
        for ours, theirs, judged in rows
        if judged is not None
    ]
    return length_controlled([won for won, _ in found], [longer for _, longer in found]).to_json()


def differences(contestants: Sequence[Contestant], *, seed: int = 0) -> list[Json]:
    """Each two policies: by how much the first wins more often against SFT than the second, on the
    prompts where both were judged.
    """
    shares = {
        one.name: {n: share(judged) for n, judged in enumerate(one.judged) if judged is not None}
        for one in contestants
    }
    return [_rounded(row) for row in each_two(shares, seed=seed)]


def _rounded(row: Json) -> Json:
    return {name: round(v, 6) if isinstance(v, float) else v for name, v in row.items()}
