"""The contamination of a run: which of the prompts that its policies are judged on stand in what
they were trained on.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.stage import Work
from rlhf.data.contamination import Overlap, overlap
from rlhf.data.identity import Json
from rlhf.data.records import Prompt

if TYPE_CHECKING:
    from rlhf.evaluation.probes.bench import Bench

EXAMPLES = 10


def contamination_of(work: Work, bench: "Bench") -> tuple[Json, list[Json]]:
    """The figures with a sentence, and the prompts that overlap most beside what they overlap
    with.
    """
    from rlhf.evaluation.contaminated import says, verdict, win_rates

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
