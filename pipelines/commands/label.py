"""`rlhf label`: the pages where people answer, over the responses of a run or over a store."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from pipelines.campaigns import campaign_of_mode
from pipelines.config import load_config
from rlhf.feedback.store import Store

# What the run is told, once people have done their part.
NEXT = {
    "rank": "labelers=people",
    "demonstrate": "sft.written=true",
    "evaluate": "evaluate.people_judgements=100",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pages are served, and to whom: see `labeling_app.server.serve`."""

    host: str
    port: int
    accounts: bool
    public_url: str | None
    proxies: tuple[str, ...]
    open_browser: bool


def label_command(
    path: Path | None,
    overrides: list[str],
    *,
    db: str | None,
    campaign: str | None,
    mode: str,
    labeler: str | None,
    place: Place,
) -> None:
    """Opens the run's campaign of this `mode` (rank, demonstrate or evaluate), or the store at
    `db`; returns when the server is stopped.
    """
    if labeler is not None and place.accounts:
        raise ValueError("with --accounts people have pseudonyms of their own: drop --labeler")
    if path is None:
        store, found, next_step = _of_store(db, campaign, make=place.accounts), campaign, ""
    elif campaign is not None:
        raise ValueError(f"--campaign goes with --db alone: {path} says what its campaign is")
    else:
        given = [*overrides, *([] if db is None else [f"label.store={db}"])]
        store, found = _of_run(path, given, mode)
        next_step = f"rlhf run {shlex.join([str(path), *given])} {NEXT[mode]}"
    from labeling_app.labelers import default_labeler_id
    from labeling_app.server import serve

    serve(
        store,
        found,
        labeler_id=None if place.accounts else labeler or default_labeler_id(),
        accounts=place.accounts,
        host=place.host,
        port=place.port,
        public_url=place.public_url,
        proxies=place.proxies,
        open_browser=place.open_browser,
        next_step="" if place.accounts else next_step,
    )


def _of_run(path: Path, overrides: list[str], mode: str) -> tuple[str, str]:
    """The store of a run and the name of its campaign, made where it is not there yet."""
    config = load_config(path, overrides)
    with Store(config.store) as store:
        return config.store, campaign_of_mode(store, config, config.folder / "round-1", mode).name


def _of_store(db: str | None, campaign: str | None, *, make: bool) -> str:
    """The address of a store; one that is not there is made for a team, which signs in first."""
    if db is None:
        raise ValueError("give a CONFIG, or a store: rlhf label --db STORE [--campaign NAME]")
    if not make and "://" not in db and not Path(db).is_file():
        raise ValueError(f"there is no store at {db}: `rlhf import FILE --into {db}` makes one")
    if campaign is not None:
        with Store(db) as store:
            store.campaign(campaign)
    return db
