"""The labeling campaigns of a run: one for the simulated crew, one for people, over the same
responses.

A campaign belongs to one set of sampled responses: other responses are another campaign.
"""

from pathlib import Path

from pipelines.artifacts import read_prompts_of, read_responses_of
from pipelines.config import RunConfig
from rlhf.data.identity import seed_from, tree_sha256
from rlhf.data.records import Prompt
from rlhf.feedback.store import Campaign, Item, Store
from rlhf.tracking.run_folder import StageFolder, outputs


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
    folders = [StageFolder(round_folder / stage).current() for stage in ("prompts", "sample")]
    prompts, responses = folders
    if prompts is None or responses is None:
        raise ValueError(
            f"run {config.name!r} has no responses to rank yet: `rlhf run CONFIG --until sample` "
            "makes them"
        )
    people = config.model_copy(update={"labelers": "people"})
    return open_campaign(store, people, prompts, responses)
