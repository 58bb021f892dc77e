"""People compare the trained policies with SFT, blind, and their verdict is the run's."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.artifacts import Contest, read_contests_of
from pipelines.campaigns import evaluation_campaign, evaluation_name
from pipelines.config import RunConfig
from pipelines.stage import Stage, WaitingForPeopleError, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_jsonl, write_jsonl
from rlhf.data.policies import TRAINED
from rlhf.feedback.store import Store

if TYPE_CHECKING:
    from rlhf.evaluation.people import ByPeople


def settings(config: RunConfig) -> Json:
    return {
        "judgements": config.evaluate.people_judgements,
        "may_stop": config.evaluate.people_may_stop,
        "store": config.label.store,
        **config.label.grouped(),  # the report finds them in this stage's config
    }


def enabled(config: RunConfig) -> bool:
    """Whether people are asked at all."""
    return config.evaluate.people_judgements > 0


def outside(config: RunConfig, inputs: dict[str, Path]) -> Json:
    """People's judgements as they stand: one more is another snapshot."""
    if "evaluate" not in inputs:
        return {}
    with Store(config.store) as store:
        name = evaluation_name(config, inputs["evaluate"])
        held = {campaign.name: campaign for campaign in store.campaigns()}
        return {"judgements": store.digest(held[name])} if name in held else {}


def run(work: Work) -> Json:
    """Writes `judgements.jsonl`, a snapshot; returns each policy's win rate, also at equal length
    and as one of so many, what may be said though somebody looked after every judgement, and which
    two policies can be told apart.
    """
    from rlhf.evaluation.people import ByPeople, differences, looks, may_stop, preferred, same
    from rlhf.evaluation.several import corrected, sign_test
    from rlhf.evaluation.winrate import verdict

    with Store(work.config.store) as store:
        campaign = evaluation_campaign(store, work.config, work.inputs["evaluate"])
        judgements = store.rankings(campaign)
        # Answers that are the same are ties that nobody has to look at.
        asked = store.progress(campaign).wanted
    _, contests = read_contests_of(work.inputs["evaluate"])
    people = ByPeople(judgements)
    sequential = looks(people, contests)
    needed = min(work.config.evaluate.people_judgements, asked)
    stopped = len(judgements) < needed
    if stopped and not (work.config.evaluate.people_may_stop and may_stop(sequential.values())):
        raise WaitingForPeopleError(
            f"{len(judgements)} of {needed} comparisons are there. Compare with `rlhf label CONFIG "
            "--mode evaluate`, then give the same command again; it goes on from here. "
            "(evaluate.people_judgements sets how many.)"
        )
    write_jsonl(work.folder / "judgements.jsonl", (one.to_json() for one in judgements))
    found = {name: preferred(people, rows) for name, rows in contests.items()}
    unseen = [name for name, won in found.items() if won is None]
    if unseen:
        raise WaitingForPeopleError(
            f"nobody has compared {' or '.join(unseen)} with sft yet: go on with `rlhf label "
            "CONFIG --mode evaluate`, then give the same command again."
        )
    longer = _longer(work.inputs["evaluate"])
    known = {name: won for name, won in found.items() if won is not None}
    together = corrected(known)
    policies = {
        name: {
            **won.to_json(),
            "same": sum(map(same, contests[name])),
            "p_value": sign_test(won),
            "p_holm": together[name],
            "length_controlled": _at_equal_length(people, contests[name], longer[name]),
            "sequential": sequential[name].to_json(),
        }
        for name, won in known.items()
    }
    best = max(policies, key=lambda name: policies[name]["low"])
    return {
        "judgements": len(judgements),
        "labelers": len({one.labeler_id for one in judgements}),
        "policies": policies,
        "differences": differences(people, contests, seed=work.config.seed),
        "best": best,
        "stopped_early": stopped,
        "verdict": verdict(policies[best]["low"], policies[best]["high"]),
    }


def _longer(evaluated: Path) -> dict[str, list[int]]:
    """By how many tokens each answer of a trained policy is longer than SFT's, as the contests are
    ordered.
    """
    found: dict[str, list[int]] = {}
    for row in read_jsonl(evaluated / "answers.jsonl"):
        answers = row["answers"]
        for name in TRAINED:
            if name in answers:
                apart = answers[name]["tokens"] - answers["reference"]["tokens"]
                found.setdefault(name, []).append(apart)
    return found


def _at_equal_length(
    people: "ByPeople", contests: Sequence[Contest], longer: Sequence[int]
) -> Json | None:
    """None where no answers differ."""
    from rlhf.evaluation.length_control import length_controlled
    from rlhf.evaluation.winrate import outcome

    means = zip(people.judged(contests), longer, strict=True)
    judged = [(mean, apart) for mean, apart in means if mean is not None]
    if not judged:
        return None
    # A contest counts as it does in the win rate: won, tied or lost.
    shares = [outcome(mean, 0.5) for mean, _ in judged]
    return length_controlled(shares, [apart for _, apart in judged]).to_json()


STAGE = Stage(
    "judge",
    "Ask people",
    ("evaluate",),
    3,
    settings,
    run,
    outside=outside,
    enabled=enabled,
    kind="evaluation",
)
