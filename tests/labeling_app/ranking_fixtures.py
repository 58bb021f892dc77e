"""A plugin of pytest: a real store with a campaign to rank, and who asks the routes of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from ranking_client import ORIGIN, an_item, routes_of

from labeling_app.server import create_app
from rlhf.feedback.store import Store


@pytest.fixture
def replies(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as opened:
        campaign = opened.create_campaign("replies", guidelines="Be fair.")
        opened.add_items(campaign, [an_item(f"Question {n}?") for n in range(3)])
        yield opened


@pytest.fixture
def client(replies: Store) -> Iterator[TestClient]:
    """The routes of work alone, for ada."""
    with TestClient(routes_of(replies, "replies"), base_url=ORIGIN) as opened:
        yield opened


@pytest.fixture
def whole_app(replies: Store) -> Iterator[TestClient]:
    """The whole app, with its wall and its page."""
    app = create_app(replies.address, "replies", labeler_id="ada", next_step="rlhf run x")
    with TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN}) as opened:
        yield opened
