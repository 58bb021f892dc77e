"""Rankings: by the simulated crew, or by people in the page; through the same store, exported as a
snapshot.
"""

from collections.abc import Set
from dataclasses import asdict
from pathlib import Path

from pipelines import imported
from pipelines.artifacts import read_prompts_of, read_responses_of
from pipelines.campaigns import campaign_name, open_campaign, store_is_there
from pipelines.config import RunConfig
from pipelines.fitness import held_out_asked
from pipelines.gold import preference_of
from pipelines.stage import Stage, WaitingForPeopleError, Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import Ranking
from rlhf.feedback.agreement import pair_agreement
from rlhf.feedback.pairs import comparisons
from rlhf.feedback.store import Store
from rlhf.feedback.withdrawal import withdrawn_labelers

# Not read by the crew: people have `min_rankings`, `store` stands for itself, and who is held out
# of training or belongs to a group ranks like everybody.
UNREAD = {"min_rankings", "store", "held_out_labelers", "groups"}


def settings(config: RunConfig) -> Json:
    about = {"labelers": config.labelers, "seed": config.seed, "store": config.label.store}
    if config.labelers == "imported":
        return {**about, "campaign": config.label.campaign}
    if config.labelers == "people":
        return {**about, "min_rankings": config.label.min_rankings}
    return {**about, "label": config.label.model_dump(exclude=UNREAD)}


def outside(config: RunConfig, inputs: dict[str, Path]) -> Json:
    """People's rankings as they stand: one more is another snapshot."""
    if config.labelers == "imported":
        return imported.state(config)
    if config.labelers != "people" or "sample" not in inputs or not store_is_there(config.store):
        return {}
    with Store(config.store) as store:
        name = campaign_name(config, inputs["sample"])
        held = {campaign.name: campaign for campaign in store.campaigns()}
        return {"rankings": store.digest(held[name])} if name in held else {}


def run(work: Work) -> Json:
    """Writes `rankings.jsonl`, the snapshot that later stages read instead of the live store."""
    if work.config.labelers == "imported":
        return _export(work, _of_this_run(work, imported.rankings(work.config)))
    with Store(work.config.store) as store:
        campaign = open_campaign(store, work.config, work.inputs["prompts"], work.inputs["sample"])
        if work.config.labelers != "people":
            _let_the_crew_work(work, store, campaign.name)
        done = store.progress(campaign).done
        rankings = store.rankings(campaign)  # all that are counted, and maybe one more
        if work.config.labelers == "people":
            _wait_for_people(work, done, rankings)
    return _export(work, rankings)


def _of_this_run(work: Work, rankings: list[Ranking]) -> list[Ranking]:
    answered = set(read_responses_of(work.inputs["sample"]))
    return [ranking for ranking in rankings if ranking.prompt_id in answered]


def _export(work: Work, rankings: list[Ranking]) -> Json:
    write_jsonl(work.folder / "rankings.jsonl", (ranking.to_json() for ranking in rankings))
    return figures(rankings)


def figures(rankings: list[Ranking]) -> Json:
    """Counts, agreement and time of a body of rankings."""
    agreement = pair_agreement(rankings)
    pairs = [margin for ranking in rankings for *_, margin in comparisons(ranking)]
    return {
        "rankings": len(rankings),
        "labelers": len({ranking.labeler_id for ranking in rankings}),
        "pairs": sum(margin > 0 for margin in pairs),
        "ties": sum(margin == 0 for margin in pairs),
        "none_acceptable": sum(ranking.none_acceptable for ranking in rankings),
        "labeler_minutes": round(sum(ranking.duration_seconds for ranking in rankings) / 60, 2),
        "agreement": asdict(agreement),
    }


def _wait_for_people(work: Work, done: int, rankings: list[Ranking]) -> None:
    needed = work.config.label.min_rankings
    if done < needed:
        raise WaitingForPeopleError(
            f"{done} of {needed} rankings are there. Rank with `rlhf label CONFIG`, then give the "
            "same command again; it goes on from here. (label.min_rankings sets how many."
            f"{_what_rl_asks(work, {one.prompt_id for one in rankings})})"
        )


def _what_rl_asks(work: Work, ranked: Set[str]) -> str:
    """How many of the test prompts have to be ranked before RL, how many are, and how many there
    are to rank; "" where nobody asks.
    """
    asked = held_out_asked(work.config)
    if asked is None:
        return ""
    answered = read_responses_of(work.inputs["sample"])
    held_out = {
        one.id
        for one in read_prompts_of(work.inputs["prompts"])
        if one.split == "test" and one.id in answered
    }
    said = (
        f" For RL the certificate asks for rankings of {asked} test prompts: "
        f"{len(held_out & ranked)} of {len(held_out)} are there."
    )
    if len(held_out) < asked:
        said += (
            " A larger sample.num_prompts or prompts.shares.test brings more; set it before you "
            "rank, since rankings do not move to other responses."
        )
    return said


def _let_the_crew_work(work: Work, store: Store, name: str) -> None:
    from rlhf.simulation.labelers import crew, label

    members = work.config.label.crew
    campaign = store.campaign(name)
    wanted = store.progress(campaign).wanted
    with store.database.reading() as db:
        gone = withdrawn_labelers(db)
    made = crew(members.careful, members.careless, members.hurried)
    label(
        store,
        campaign,
        [one for one in made if one.id not in gone],
        preference_of(members.preference),
        seed=work.seed("label"),
        progress=lambda done: work.progress(done, wanted),
    )


STAGE = Stage(
    "label",
    "Rank the responses",
    ("prompts", "sample"),
    1,
    settings,
    run,
    outside=outside,
    kind="rankings",
)
