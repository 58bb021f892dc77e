"""Runs on a campaign of somebody's store: which campaigns can be trained on."""

from pathlib import Path

import pytest

from pipelines.config import load_config
from pipelines.imported import rankings, state
from rlhf.feedback.store import Store

CONFIG = Path(__file__).parents[2] / "pipelines" / "configs" / "imported.yaml"


@pytest.mark.parametrize("mode", ["evaluate", "demonstrate"])
def test_what_judges_policies_trains_none(tmp_path: Path, mode: str) -> None:
    store = tmp_path / "store.db"
    with Store(store) as made:
        made.create_campaign("judged", mode=mode)
        made.create_campaign("compared", mode="compare")
    asked = ["model.path=a/b", f"label.store={store}"]
    config = load_config(CONFIG, [*asked, "label.campaign=judged"])
    for read in (rankings, state):
        with pytest.raises(
            ValueError, match=f"'judged' has the mode '{mode}', which gives no pref"
        ):
            read(config)
    assert rankings(load_config(CONFIG, [*asked, "label.campaign=compared"])) == []
