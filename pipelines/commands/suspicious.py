"""`rlhf suspicious`: the answers of a run that rules object to, listed, or queued for people."""

from pathlib import Path

import typer

from pipelines.commands.certify import config_of
from pipelines.commands.status import run_folder
from pipelines.config import RunConfig
from rlhf.data.privacy import scrub
from rlhf.data.records import Message, Prompt, Response
from rlhf.evaluation.suspicion import Suspect
from rlhf.feedback import moving
from rlhf.feedback.store import Campaign, Item, Store
from rlhf.reporting.liked import suspects_of
from rlhf.reporting.reading import read_run

LINE = 100


def suspicious_command(run: Path, *, queue: bool, store: str | None, most: int) -> None:
    """Lists the answers, or puts them into a campaign of the store, each beside SFT's answer."""
    if store is not None and not queue:
        raise ValueError("--store says where to queue: give --queue with it")
    folder = run_folder(run)
    record = read_run(folder)
    if not record.answers:
        raise ValueError(f"{folder} has no evaluated answers yet: bring it up to date first")
    found = suspects_of(record)
    typer.echo(f"{folder}: {len(found)} suspicious answers of trained policies")
    if not queue:
        for one in found[:most]:
            typer.echo("\n".join(_lines(one)))
        if len(found) > most:
            typer.echo(f"and {len(found) - most} more: --most says how many to list")
        return
    if not found:
        typer.echo("nothing to queue")
        return
    config = config_of(folder, [])
    if store is not None:
        moving.check_there(store)
    # A run that was moved or renamed keeps its own store beside it.
    address = store or config.label.store or str(folder / "rankings.db")
    with Store(address) as opened:
        campaign, new = queue_suspects(opened, config, found)
        held = opened.progress(campaign).wanted
    typer.echo(f"campaign {campaign.name!r} holds {held} different pairs, {new} of them new")
    typer.echo("people judge them, blind, with")
    typer.echo(f"  rlhf label --db {address} --campaign {campaign.name}")


def queue_suspects(store: Store, config: RunConfig, found: list[Suspect]) -> tuple[Campaign, int]:
    """The run's campaign of suspicious answers, made or extended; and how many items are new.

    People compare each answer with SFT's, blind; those with the most reasons come first. The
    prompts are test prompts, so the campaign is of the mode that feeds no training.
    """
    campaign = store.create_campaign(
        f"{config.name}/suspicious", mode="evaluate", guidelines=config.evaluate.guidelines
    )
    items = [_item(one) for one in found]
    return campaign, store.add_items(campaign, [item for item in items if item is not None])


def _item(one: Suspect) -> Item | None:
    """The answer and SFT's; None where both say the same."""
    turns = tuple(Message.from_json(turn) for turn in one.row["prompt"])
    prompt = Prompt.of(turns, family=one.row["family"], split="test")
    ours, theirs = (
        Response.of(prompt.id, answer["text"], model=name, finished=answer["finished"])
        for name, answer in ((one.policy, one.answer), ("reference", one.reference))
    )
    if ours.id == theirs.id:
        return None
    return Item(prompt, (ours, theirs), priority=float(len(one.rules)))


def _lines(one: Suspect) -> list[str]:
    """Who answered what, and why that is suspicious; personal data out."""
    asked = scrub(one.row["prompt"][-1]["content"])
    return [
        f"  {one.policy}: {_cut(asked)}",
        f"    said: {_cut(scrub(one.answer['text']))}",
        f"    {'; '.join(one.reasons)}",
    ]


def _cut(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= LINE else f"{plain[: LINE - 1]}…"
