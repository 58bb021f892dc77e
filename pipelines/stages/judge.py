"""People compare the trained policies with SFT, blind, and their verdict is the run's."""

from pathlib import Path

from pipelines.artifacts import read_contests_of
from pipelines.campaigns import evaluation_campaign, evaluation_name
from pipelines.config import RunConfig
from pipelines.stage import Stage, WaitingForPeopleError, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.feedback.store import Store


def settings(config: RunConfig) -> Json:
    return {"judgements": config.evaluate.people_judgements, "store": config.label.store}


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
    """Writes `judgements.jsonl`, a snapshot; returns each policy's win rate and the verdict."""
    from rlhf.evaluation.people import preferred
    from rlhf.evaluation.winrate import verdict

    with Store(work.config.store) as store:
        campaign = evaluation_campaign(store, work.config, work.inputs["evaluate"])
        judgements = store.rankings(campaign)
        # Answers that are the same are ties that nobody has to look at.
        asked = store.progress(campaign).wanted
    needed = min(work.config.evaluate.people_judgements, asked)
    if len(judgements) < needed:
        raise WaitingForPeopleError(
            f"{len(judgements)} of {needed} comparisons are there. Compare with `rlhf label CONFIG "
            "--mode evaluate`, then give the same command again; it goes on from here. "
            "(evaluate.people_judgements sets how many.)"
        )
    write_jsonl(work.folder / "judgements.jsonl", (one.to_json() for one in judgements))
    _, contests = read_contests_of(work.inputs["evaluate"])
    found = {name: preferred(judgements, rows) for name, rows in contests.items()}
    unseen = [name for name, won in found.items() if won is None]
    if unseen:
        raise WaitingForPeopleError(
            f"nobody has compared {' or '.join(unseen)} with sft yet: go on with `rlhf label "
            "CONFIG --mode evaluate`, then give the same command again."
        )
    policies = {name: won.to_json() for name, won in found.items() if won is not None}
    best = max(policies, key=lambda name: policies[name]["low"])
    return {
        "judgements": len(judgements),
        "labelers": len({one.labeler_id for one in judgements}),
        "policies": policies,
        "best": best,
        "verdict": verdict(policies[best]["low"], policies[best]["high"]),
    }


STAGE = Stage(
    "judge",
    "Ask people",
    ("evaluate",),
    1,
    settings,
    run,
    outside=outside,
    enabled=enabled,
    kind="evaluation",
)
