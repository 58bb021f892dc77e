"""One Chromium, one server and one store for all tests of a file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, FLAGS, Office, Site, open_office


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def office(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    opened, close = open_office(tmp_path_factory.mktemp("office") / "store.db", browser)
    yield opened
    close()


@pytest.fixture
def visit(office: Office) -> Iterator[Callable[..., Site]]:
    """Opens a page on a campaign of its own, as `Office.visit` does; closed in the end."""
    opened: list[Site] = []

    def visit(*args: Any, **options: Any) -> Site:
        opened.append(office.visit(*args, **options))
        return opened[-1]

    yield visit
    for site in opened:
        site.page.close()
