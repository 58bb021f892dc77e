"""Which of the prompts that policies are judged on stand in what they were trained on, and whether
they win more on those.
"""

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from pipelines.stage import Work
from rlhf.data.contamination import Overlap, overlap
from rlhf.data.identity import Json
from rlhf.data.records import Prompt
from rlhf.evaluation.winrate import wilson

if TYPE_CHECKING:
    from rlhf.evaluation.probes.bench import Answered, Bench
    from rlhf.evaluation.probes.bounds import Verdict

EXAMPLES = 10


def contamination_of(work: Work, bench: "Bench") -> tuple[Json, list[Json]]:
    """The figures with a sentence, and the prompts that overlap most beside what they overlap
    with.
    """
    evaluated = [one.prompt for one in bench.answered]
    trained = {one.id: one for one in bench.prompts["train"]}
    trained |= {row.prompt.id: row.prompt for row in bench.ranked["train"]}
    found = overlap(evaluated, list(trained.values()), bench.texts)
    made: Json = {
        "prompts": len(evaluated),
        "overlapping": len(found.overlapping),
        "share": round(len(found.overlapping) / len(evaluated), 6),
        "whole": len(found.whole),
        "near_duplicates": len(found.near),
        "mostly_shared": len(found.mostly_shared),
        "trained_on": len(trained),
        "win_rates": win_rates(
            bench.answered, bench.trained, {*found.overlapping, *found.mostly_shared}
        ),
    }
    made["verdict"] = verdict(len(found.overlapping), len(evaluated))
    made["says"] = says(made, built_in=work.config.prompts.source == "built-in")
    read = _pretrained_on(work, evaluated)
    if read is not None:
        made["pretraining"] = {"prompts": len(evaluated), "read": read}
        made["says"] += (
            f" The model itself read {read} of the {len(evaluated)} prompts in pretraining, each "
            "with somebody's answer, as a model from the web may have: all policies alike."
        )
    return made, _examples(found, evaluated, trained)


def verdict(overlapping: int, prompts: int) -> "Verdict":
    """What the committed bound makes of the share of prompts that overlap."""
    from rlhf.evaluation.probes.bounds import bounds_of
    from rlhf.evaluation.probes.measure import Measure

    [bound] = bounds_of("contamination")
    share = overlapping / prompts
    return bound.verdict(Measure(share, *wilson(share, prompts), prompts))


def win_rates(
    answered: "Sequence[Answered]", policies: Sequence[str], overlapping: Set[str]
) -> Json:
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


def _pretrained_on(work: Work, evaluated: Sequence[Prompt]) -> int | None:
    """How many of the prompts the small model read in pretraining; None for another model, whose
    texts nobody here knows.
    """
    if "pretrain" not in work.inputs:
        return None
    from rlhf.simulation.world import documents

    unread = {one.text for one in evaluated}
    for text in documents(work.config.pretrain.documents, seed=work.seed("documents")):
        unread.discard(text.partition("\n")[0])
        if not unread:
            break
    return sum(one.text not in unread for one in evaluated)


def _examples(
    found: Overlap, evaluated: Sequence[Prompt], trained: dict[str, Prompt]
) -> list[Json]:
    texts = {one.id: one.text for one in evaluated}
    worst = list(dict.fromkeys([*found.overlapping, *found.mostly_shared]))
    return [
        {
            "prompt_id": one,
            "prompt": texts[one],
            "covered": round(found.covered[one], 4),
            "stands_whole_in": found.whole.get(one),
            "near_duplicate_of": trained[found.near[one]].text if one in found.near else None,
        }
        for one in worst[:EXAMPLES]
    ]
