"""The labeling campaigns of a run: rankings by the simulated crew and by people, demonstrations,
and blind comparisons of the trained policies.

A campaign belongs to one set of texts: other responses are another campaign.
"""

from pathlib import Path

from pipelines.artifacts import read_contests_of, read_prompts_of, read_responses_of
from pipelines.config import RunConfig
from rlhf.data.identity import seed_from, tree_sha256
from rlhf.data.records import Prompt
from rlhf.feedback.database import database_url
from rlhf.feedback.store import Campaign, Item, Store
from rlhf.tracking.run_folder import StageFolder, outputs


def store_is_there(address: str) -> bool:
    """Whether there is a store to look into: a file of it, or a server that is asked then."""
    url = database_url(address)
    return url.get_backend_name() != "sqlite" or Path(str(url.database)).is_file()


def campaign_name(config: RunConfig, responses: Path) -> str:
    """`<run>/<simulated|people>/<hash of the responses>`."""
    return f"{config.name}/{config.labelers}/{tree_sha256(responses, outputs(responses))[:8]}"


def open_campaign(store: Store, config: RunConfig, prompts: Path, responses: Path) -> Campaign:
    """The campaign of this run's labelers over these responses, made and filled where it is not
    there yet.
    """
    campaign = store.create_campaign(
        campaign_name(config, responses), guidelines=config.label.guidelines
    )
    answers = read_responses_of(responses)
    store.add_items(
        campaign,
        (
            Item(prompt, tuple(answers[prompt.id]), _wanted(config, prompt))
            for prompt in read_prompts_of(prompts)
            if prompt.id in answers
        ),
    )
    return campaign


def _wanted(config: RunConfig, prompt: Prompt) -> int:
    """How many labelers: `overlap` for a share of prompts chosen by content, else one."""
    drawn = seed_from("overlap", config.seed, prompt.id) / (1 << 63)
    return config.label.overlap if drawn < config.label.overlap_share else 1


def campaign_for_people(store: Store, config: RunConfig, round_folder: Path) -> Campaign:
    """The people's campaign over the run's current responses.

    Raises ValueError where the run has not sampled any responses yet.
    """
    responses, prompts = (_current(config, round_folder, stage) for stage in ("sample", "prompts"))
    people = config.model_copy(update={"labelers": "people"})
    return open_campaign(store, people, prompts, responses)


def writing_campaign(store: Store, config: RunConfig, round_folder: Path) -> Campaign:
    """Where people write demonstrations for the prompts that SFT may train on."""
    prompts = _current(config, round_folder, "prompts")
    campaign = store.create_campaign(
        writing_name(config), mode="demonstrate", guidelines=config.sft.guidelines
    )
    trained_on = (p for p in read_prompts_of(prompts) if p.split in ("train", "validation"))
    store.add_items(campaign, (Item(prompt, ()) for prompt in trained_on))
    return campaign


def writing_name(config: RunConfig) -> str:
    """`<run>/demonstrations`."""
    return f"{config.name}/demonstrations"


def evaluation_campaign(store: Store, config: RunConfig, evaluated: Path) -> Campaign:
    """Where people compare each trained policy's answers with those of SFT, blind."""
    campaign = store.create_campaign(
        evaluation_name(config, evaluated),
        mode="evaluate",
        guidelines=config.evaluate.guidelines,
    )
    prompts, contests = read_contests_of(evaluated)
    store.add_items(
        campaign,
        (
            Item(prompts[ours.prompt_id], (ours, theirs))
            for rows in contests.values()
            for ours, theirs in rows
            if ours.id != theirs.id
        ),
    )
    return campaign


def evaluation_name(config: RunConfig, evaluated: Path) -> str:
    """`<run>/evaluation/<hash of the answers>`."""
    return f"{config.name}/evaluation/{tree_sha256(evaluated, [evaluated / 'answers.jsonl'])[:8]}"


def campaign_of_mode(store: Store, config: RunConfig, round_folder: Path, mode: str) -> Campaign:
    """The campaign that people work on in this mode of the page; ValueError where the run is not
    that far yet.
    """
    if mode == "rank":
        return campaign_for_people(store, config, round_folder)
    if mode == "demonstrate":
        return writing_campaign(store, config, round_folder)
    if mode == "evaluate":
        return evaluation_campaign(store, config, _current(config, round_folder, "evaluate"))
    raise ValueError(f"a run has no campaign of the mode {mode!r}: rank, demonstrate or evaluate")


_MADE_BY = {
    "prompts": "prompts",
    "sample": "responses to rank",
    "evaluate": "answers to compare",
}


def _current(config: RunConfig, round_folder: Path, stage: str) -> Path:
    folder = StageFolder(round_folder / stage).current()
    if folder is None:
        raise ValueError(
            f"run {config.name!r} has no {_MADE_BY[stage]} yet: `rlhf run CONFIG --until {stage}` "
            "makes them"
        )
    return folder
