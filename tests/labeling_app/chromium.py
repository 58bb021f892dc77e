"""A real Chromium at a served store: what is on the screen, and what is in the store.

A plugin of pytest: one Chromium, one server and one store for all tests of a file.
PYTEST_DONT_REWRITE: the tests import it first, and it asserts nothing.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from browsers import CHROMIUM

from labeling_app.server import create_app
from rlhf.data.identity import Json
from rlhf.data.records import Message, Prompt, Ranking, Response
from rlhf.feedback.store import Campaign, Item, Store, shown_order

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP: Json = {"viewport": {"width": 1280, "height": 800}}
PHONE: Json = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
    "has_touch": True,
    "is_mobile": True,
}


@dataclass(frozen=True)
class Site:
    """A served campaign, and a browser page that shows it."""

    store: Store
    campaign: Campaign
    page: Any
    url: str

    def rankings(self) -> list[Ranking]:
        return self.store.rankings(self.campaign, with_superseded=True)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def order(self) -> str:
        return " ".join(self.page.locator("#dock .groups").inner_text().split())

    def said(self) -> str:
        found: str = self.page.locator("#dock .live").inner_text()
        return found

    def card(self, letter: str) -> Any:
        return self.page.locator(f".bank.in-view .card[id$='-{letter}']")

    def text(self, letter: str) -> str:
        found: str = self.card(letter).locator(".md").inner_text()
        return found.strip()

    def button(self, name: str, *, exact: bool = False) -> Any:
        return self.page.get_by_role("button", name=name, exact=exact)

    def until_saved(self, number: int) -> None:
        self.page.wait_for_function(
            "wanted => document.querySelector('.progress-text').textContent.includes(wanted)",
            arg=f"{number} by you",
        )
        self.page.wait_for_function("!document.body.classList.contains('saving')")

    def until_draft_saved(self) -> None:
        self.page.wait_for_selector("#header .state[data-kind=saved]")

    def drafts(self) -> list[Json]:
        with self.store.database.reading() as db:
            rows = db.exec_driver_sql(
                "select body from drafts join items on items.id = item_id where campaign_id = ?",
                (self.campaign.id,),
            )
            return [row[0] for row in rows]


@dataclass
class Office:
    """One server over one store, for the labeler 'ada'; each visit opens a campaign of its own."""

    store: Store
    browser: Any
    url: str
    contexts: dict[str, Any] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1))

    def visit(
        self,
        items: list[Item],
        *,
        mode: str = "rank",
        guidelines: str = "**Help** first.",
        settings: Json | None = None,
        prepare: Callable[[Store, Campaign], None] | None = None,
        wait: str = ".bank.in-view .md p",
        review: bool = False,
        **look: Any,
    ) -> Site:
        """Opens a new campaign that holds `items`; `prepare` works on it before that."""
        name = f"Replies {next(self.numbers)}"
        campaign = self.store.create_campaign(
            name, mode=mode, guidelines=guidelines, settings=settings
        )
        self.store.add_items(campaign, items)
        if prepare is not None:
            prepare(self.store, campaign)
        url = f"{self.url}/?campaign={name.replace(' ', '+')}{'&review=true' * review}"
        page = self.context(**look).new_page()
        page.set_default_timeout(30_000)  # a busy machine loads slowly
        page.goto(url)
        page.wait_for_selector(wait)
        return Site(self.store, campaign, page, url)

    def context(self, **look: Any) -> Any:
        look = look or DESKTOP
        key = repr(sorted(look.items()))
        if key not in self.contexts:
            self.contexts[key] = self.browser.new_context(**look)
        return self.contexts[key]


def serve(app: Any) -> tuple[str, Callable[[], None]]:
    """The app on a free port; its address, and what stops it."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(5)
        listening.close()

    return f"http://127.0.0.1:{listening.getsockname()[1]}", stop


def open_office(path: Path, browser: Any) -> tuple[Office, Callable[[], None]]:
    """An office over a new store at `path`, and what closes it."""
    store = Store(path)
    store.create_campaign("opened")
    app = create_app(store.address, "opened", labeler_id="ada", next_step="rlhf run it")
    url, stop = serve(app)
    office = Office(store, browser, url)

    def close() -> None:
        for context in office.contexts.values():
            context.close()
        stop()
        store.close()

    return office, close


def an_item(question: str | tuple[Message, ...], *texts: str, wanted: int = 1) -> Item:
    prompt = Prompt.of(question)
    answers = tuple(Response.of(prompt.id, text, model="secret-model") for text in texts)
    return Item(prompt, answers, wanted)


def some_items(number: int, responses: int = 4) -> list[Item]:
    return [
        an_item(f"Question {n}?", *(f"Answer {n}.{i}" for i in range(responses)))
        for n in range(number)
    ]


def shown_to_ada(item: Item) -> tuple[str, ...]:
    """Ids in the order in which 'ada' must see them."""
    return shown_order("ada", item.prompt.id, [response.id for response in item.responses])


def groups_of(item: Item, *letters: str) -> tuple[tuple[str, ...], ...]:
    """Tie groups of ids from groups of letters: `groups_of(item, "D", "AC", "B")`."""
    shown = shown_to_ada(item)
    return tuple(tuple(sorted(shown["ABCDEFGHI".index(x)] for x in group)) for group in letters)


def faults(page: Any, state: str) -> list[str]:
    """What axe finds that is serious, with the state that the page is in."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [
        f"{state}: {row['id']} {node['html'][:200]}"
        for row in found
        if row["impact"] in ("serious", "critical")
        for node in row["nodes"]
    ]


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
