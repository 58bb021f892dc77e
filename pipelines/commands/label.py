"""`rlhf label`: the page where people rank the responses of a run."""

import shlex
from pathlib import Path

from pipelines.campaigns import campaign_for_people
from pipelines.config import load_config
from rlhf.feedback.store import Store


def label_command(
    path: Path,
    overrides: list[str],
    *,
    labeler: str | None,
    host: str,
    port: int,
    open_browser: bool,
) -> None:
    """Opens the people's campaign over the run's current responses; returns when the server is
    stopped.
    """
    config = load_config(path, overrides)
    with Store(config.store) as store:
        campaign = campaign_for_people(store, config, config.folder / "round-1")
    from labeling_app.labelers import default_labeler_id
    from labeling_app.server import serve

    serve(
        config.store,
        campaign.name,
        labeler_id=labeler or default_labeler_id(),
        host=host,
        port=port,
        open_browser=open_browser,
        next_step=f"rlhf run {shlex.join([str(path), *overrides])} labelers=people",
    )
