"""Prompts that policies are judged on and that stand in what they were trained on: what their share
means, and whether policies win more on them.
"""

from collections.abc import Sequence, Set

from rlhf.data.identity import Json
from rlhf.evaluation.probes.bench import Answered
from rlhf.evaluation.probes.bounds import Verdict, bounds_of
from rlhf.evaluation.probes.measure import Measure
from rlhf.evaluation.winrate import wilson


def verdict(overlapping: int, prompts: int) -> Verdict:
    """What the committed bound makes of the share of prompts that overlap."""
    [bound] = bounds_of("contamination")
    share = overlapping / prompts
    return bound.verdict(Measure(share, *wilson(share, prompts), prompts))


def win_rates(answered: Sequence[Answered], policies: Sequence[str], overlapping: Set[str]) -> Json:
    """Each policy's win rate, ties as half, on the prompts that overlap or share most of their
    words, and on the others; None where there are none.
    """
    made: Json = {}
    for policy in policies:
        sides: dict[bool, list[float]] = {True: [], False: []}
        for one in answered:
            won = one.won(policy)
            if won is not None:
                sides[one.prompt.id in overlapping].append(won)
        rates = {side: round(sum(w) / len(w), 4) if w else None for side, w in sides.items()}
        made[policy] = {"overlapping": rates[True], "others": rates[False]}
    return made


def says(figures: Json, *, built_in: bool) -> str:
    """What was found, in plain words, and what it means in the built-in world."""
    count, overlapping = figures["prompts"], figures["overlapping"]
    if overlapping:
        said = (
            f"{overlapping} of the {count} prompts that policies are judged on stand in the "
            f"training data: {figures['whole']} whole inside one of its texts, "
            f"{figures['near_duplicates']} as near-duplicates of a prompt that was trained on."
        )
    else:
        said = (
            f"None of the {count} prompts that policies are judged on stands whole in the training "
            "data, nor does a near-duplicate."
        )
    if not figures["mostly_shared"]:
        return said
    said += (
        f" {figures['mostly_shared']} have four fifths or more of their words in stretches of "
        "eight that it holds somewhere."
    )
    if built_in:
        said += (
            " The built-in world puts the same complaints and topics into many frames and divides "
            "frames, not topics: these ask in other words what training asked as well."
        )
    rates = [
        f"{policy.upper()} {100 * row['overlapping']:.0f} % there and "
        f"{100 * row['others']:.0f} % elsewhere"
        for policy, row in figures["win_rates"].items()
        if row["overlapping"] is not None and row["others"] is not None
    ]
    return f"{said} Win rates: {'; '.join(rates)}." if rates else said
