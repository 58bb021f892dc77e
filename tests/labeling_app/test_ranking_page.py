"""The ranking page in a real Chromium: what is on the screen is what is in the store."""

import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from labeling_app.server import create_app
from rlhf.data.records import Message, Prompt, Ranking, Response
from rlhf.feedback.store import Campaign, Item, Store, shown_order

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium on this machine"),
]
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}


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

    def card(self, letter: str) -> Any:
        return self.page.locator(f".bank.in-view .card[id$='-{letter}']")

    def text(self, letter: str) -> str:
        found: str = self.card(letter).locator(".md").inner_text()
        return found.strip()

    def until_saved(self, count: int) -> None:
        self.page.wait_for_function(
            "wanted => document.querySelector('.progress-text').textContent.includes(wanted)",
            arg=f"{count} by you",
        )
        self.page.wait_for_function("!document.body.classList.contains('saving')")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Serves items to the labeler 'ada' and opens the page; closes all of it in the end."""
    closing: list[Callable[[], None]] = []

    def open_site(items: list[Item], **context: Any) -> Site:
        store = Store(tmp_path / "store.db")
        campaign = store.create_campaign("Replies", guidelines="**Help** first.")
        store.add_items(campaign, items)
        app = create_app(store.address, "Replies", labeler_id="ada", next_step="rlhf run it")
        url, stop = _serve(app)
        tab = browser.new_context(**(context or DESKTOP))
        page = tab.new_page()
        page.set_default_timeout(30_000)  # a busy machine loads slowly
        page.goto(url)
        page.wait_for_selector(".bank.in-view .md p")
        closing.extend((tab.close, stop, store.close))
        return Site(store, campaign, page, url)

    yield open_site
    for close in closing:
        close()


def _serve(app: Any) -> tuple[str, Callable[[], None]]:
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


def _item(question: str | tuple[Message, ...], *texts: str) -> Item:
    prompt = Prompt.of(question)
    answers = tuple(Response.of(prompt.id, text, model="secret-model") for text in texts)
    return Item(prompt, answers)


def _items(count: int, responses: int = 4) -> list[Item]:
    return [
        _item(f"Question {n}?", *(f"Answer {n}.{i}" for i in range(responses)))
        for n in range(count)
    ]


def _shown(item: Item) -> tuple[str, ...]:
    """Ids in the order in which 'ada' must see them."""
    return shown_order("ada", item.prompt.id, [response.id for response in item.responses])


def _groups(item: Item, *letters: str) -> tuple[tuple[str, ...], ...]:
    """Tie groups of ids from groups of letters: `_groups(item, "D", "AC", "B")`."""
    shown = _shown(item)
    return tuple(tuple(sorted(shown["ABCDEFGHI".index(x)] for x in group)) for group in letters)


def test_keys_rank_with_a_tie_and_what_is_saved_is_what_was_shown(visit: Any) -> None:
    items = _items(2)
    site = visit(items)
    assert "secret-model" not in site.page.content()
    text_of = {response.id: response.text for response in items[0].responses}
    assert [site.text(letter) for letter in "ABCD"] == [text_of[i] for i in _shown(items[0])]
    assert site.page.locator(".bank.in-view input:checked").count() == 0
    assert site.order() == "nothing ranked yet"

    site.press("Enter")  # nothing is ranked: nothing is sent
    assert "A, B, C, D" in site.page.locator("#dock .live").inner_text()
    site.press("d", "1", "2", "b", "4", "2")  # d 1, on to a: 2, then b 4, on to c: 2
    assert site.order() == "D > A = C > B"
    assert "Enter submits" in site.page.locator("#dock .live").inner_text()
    assert site.card("A").locator(".tie").inner_text() == "tied with C"
    assert site.rankings() == []
    site.press("Enter")
    site.until_saved(1)
    assert site.page.locator(".bank.in-view .conversation").inner_text() == "Question 1?"
    assert site.page.locator(".bank.in-view input:checked").count() == 0
    (ranking,) = site.rankings()
    assert ranking.groups == _groups(items[0], "D", "AC", "B")
    assert ranking.shown == _shown(items[0])
    assert 0 < ranking.duration_seconds < 60
    assert not ranking.none_acceptable


def test_backspace_clears_and_undo_goes_back_step_by_step(visit: Any) -> None:
    site = visit(_items(1, responses=3))
    site.press("1", "2", "3")
    assert site.order() == "A > B > C"
    site.press("b", "Backspace")
    assert site.order() == "A > C still to rank: B"
    site.press("1", "0")
    assert site.order() == "A = B > C None is acceptable"
    site.press("u")
    assert site.order() == "A = B > C"
    site.press("u")
    assert site.order() == "A > C still to rank: B"
    site.press("u", "u")
    assert site.order() == "A > B still to rank: C"
    site.press("u", "u", "u", "u")
    assert site.order() == "nothing ranked yet"
    site.press("9", "7")  # there is no such rank among three
    assert site.order() == "nothing ranked yet"


def test_the_mouse_ranks_clears_submits_and_keys_go_on_from_there(visit: Any) -> None:
    items = _items(2, responses=2)
    site = visit(items)
    site.card("B").get_by_text("1", exact=True).click()
    site.card("A").get_by_text("1", exact=True).click()
    assert site.order() == "A = B"
    site.card("A").get_by_role("button", name="Clear").click()
    assert site.order() == "B still to rank: A"
    site.card("A").get_by_text("2", exact=True).click()
    site.page.get_by_role("button", name="None is acceptable").click()
    site.page.get_by_role("button", name="Undo").click()
    assert site.order() == "B > A"
    site.page.get_by_role("button", name="Submit and next").click()
    site.until_saved(1)
    site.card("B").get_by_text("1", exact=True).click()
    site.card("A").get_by_text("2", exact=True).click()
    site.press("Enter")  # after clicks, Enter still submits
    site.until_saved(2)
    assert [ranking.groups for ranking in site.rankings()] == [
        _groups(items[0], "B", "A"),
        _groups(items[1], "B", "A"),
    ]


def test_radios_are_radios(visit: Any) -> None:
    site = visit(_items(1, responses=3))
    group = site.page.get_by_role("radiogroup", name="Rank of response B")
    assert group.get_by_role("radio").count() == 3
    group.get_by_role("radio", name="Rank 2").focus()
    site.press("Space")
    assert site.order() == "B still to rank: A, C"
    site.press("ArrowRight")
    assert group.get_by_role("radio", name="Rank 3").is_checked()


def test_none_is_acceptable_without_an_order_and_with_one(visit: Any) -> None:
    items = _items(2, responses=2)
    site = visit(items)
    site.press("0", "a", "1", "Enter")  # half an order is neither
    assert "clear every rank" in site.page.locator("#dock .live").inner_text()
    assert site.rankings() == []
    site.press("u", "Enter")
    site.until_saved(1)
    site.press("0", "a", "2", "1", "Enter")
    site.until_saved(2)
    bare, ordered = site.rankings()
    assert (bare.none_acceptable, bare.groups) == (True, ())
    assert (ordered.none_acceptable, ordered.groups) == (True, _groups(items[1], "B", "A"))


def test_skipping_asks_why_saves_nothing_and_the_end_says_what_is_next(visit: Any) -> None:
    items = _items(2, responses=2)
    site = visit(items)
    site.press("1", "s", "Escape")
    assert site.order() == "A still to rank: B"  # looked, did not skip
    site.press("s")
    site.page.get_by_label("I do not know enough about this").check()
    site.page.get_by_label("In your own words").fill("a s 1 u")  # no key of the page
    site.page.get_by_role("button", name="Skip it").click()
    site.page.wait_for_selector(".bank.in-view >> text=Question 1?")
    assert site.rankings() == []
    with site.store.database.reading() as db:
        rows = db.exec_driver_sql("select state, reason from assignments order by item_id")
        assert list(rows) == [
            ("skipped", "I do not know enough about this: a s 1 u"),
            ("open", ""),
        ]
    site.press("2", "1", "Enter")
    site.page.wait_for_selector("#end .over:not([hidden])")
    ending = site.page.locator("#end").inner_text()
    assert "You answered one item" in ending
    assert "1 of 2 answers are still wanted" in ending
    assert "rlhf run it" in ending
    assert not site.page.locator("#dock").is_visible()


def test_a_failed_save_keeps_the_ranking_and_a_lost_answer_is_saved_once(visit: Any) -> None:
    items = _items(2, responses=2)
    site = visit(items)
    sent: list[dict[str, Any]] = []

    def lose_the_answer(route: Any) -> None:
        sent.append(route.request.post_data_json)
        if len(sent) > 1:  # the second one arrives, but its answer gets lost
            route.fetch()
        route.abort()

    site.page.route("**/api/submit", lose_the_answer)
    site.press("1", "2", "Enter")
    failure = site.page.locator("#dock .failure")
    failure.get_by_text("Not saved").wait_for()
    assert "Your answer is still here" in failure.inner_text()
    assert site.order() == "A > B"
    failure.get_by_role("button", name="Try again").click()
    site.page.wait_for_function("!document.body.classList.contains('saving')")
    assert len(site.rankings()) == 1
    site.page.unroute("**/api/submit")
    site.page.wait_for_selector("#dock .failure:not([hidden])")
    site.press("Enter")
    site.until_saved(1)
    assert len({answer["submission_id"] for answer in sent}) == 1
    assert [ranking.submission_id for ranking in site.rankings()] == [sent[0]["submission_id"]]
    assert failure.is_hidden()


def test_the_next_item_is_there_at_once_and_never_an_old_text(visit: Any) -> None:
    items = _items(8, responses=2)
    site = visit(items)
    site.page.evaluate(
        """() => { window.seen = []; const look = () => {
             const bank = document.querySelector('.bank.in-view');
             const texts = [...bank.querySelectorAll('.card:not([hidden]) .md')];
             window.seen.push(texts.map(text => text.textContent.trim()).join('|'));
           }; look();
           new MutationObserver(look).observe(document.getElementById('bank-0'),
             {attributes: true, attributeFilter: ['class']}); }"""
    )
    for count in range(1, 8):
        site.press("1", "2", "Enter")
        site.until_saved(count)
    seen = list(dict.fromkeys(site.page.evaluate("window.seen")))
    text_of = {response.id: response.text for item in items for response in item.responses}
    assert seen == ["|".join(text_of[i] for i in _shown(item)) for item in items]


HOSTILE = (
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=2> ![i](http://evil.test/i.png)",
    "${window.hit=3} {{value}} {{#each value}}x{{/each}} `${window.hit=4}`",
    "[link](javascript:window.hit=5) <a href=javascript:window.hit=6>a</a>",
    "```mermaid\ngraph TD; A[<img src=y onerror=window.hit=7>]\n```",
    '<svg onload="window.hit=8"><iframe srcdoc="<script>parent.hit=9</script>"></iframe>',
    "`$HOME` is $HOME and \\theta, 1 < 2\n\n```sh\necho ${HOME} <b>\n```",
    "![x]: http://evil.test\n<style>body{display:none}</style>\u202e😀",
    "x" * 20_000,
)


def test_hostile_texts_are_shown_as_text_and_run_nothing(visit: Any) -> None:
    item = _item(
        (
            Message("user", "Hi <img src=z onerror=window.hit=10>"),
            Message("assistant", "Hello."),
            Message("user", "${window.hit=11} <script>window.hit=12</script> `$HOME` \\theta"),
        ),
        *HOSTILE,
    )
    tried: list[str] = []
    site = visit([*_items(1), item], **PHONE)
    site.page.on("request", lambda request: tried.append(request.url))
    site.press("1", "2", "3", "4", "Enter")
    site.until_saved(1)
    site.page.wait_for_timeout(300)
    by_id = {response.id: response.text for response in item.responses}
    for letter, shown in zip("ABCDEFGHI", _shown(item), strict=True):
        raw = site.card(letter).locator("pre.raw").text_content()
        assert raw == by_id[shown]
    texts = dict(zip((by_id[i] for i in _shown(item)), map(site.text, "ABCDEFGHI"), strict=True))
    assert texts[HOSTILE[0]] == HOSTILE[0]
    assert texts[HOSTILE[1]] == HOSTILE[1]
    assert texts[HOSTILE[2]] == HOSTILE[2].replace("`", "")
    assert "echo ${HOME} <b>" in texts[HOSTILE[6]]
    assert texts[HOSTILE[6]].startswith("$HOME is $HOME and \\theta, 1 < 2")
    prompt = site.page.locator(".bank.in-view .conversation").inner_text()
    assert "${window.hit=11} <script>window.hit=12</script> $HOME \\theta" in prompt
    for letter in "ABCDEFGHI":
        site.press(letter.lower(), "r")
        assert site.card(letter).locator("pre.raw").is_visible()
    assert site.page.evaluate("window.hit") is None
    assert [
        url for url in tried if not re.match(rf"{site.url}/(api|assets|page|static)/", url)
    ] == []
    width = site.page.evaluate("document.documentElement.scrollWidth")
    assert width == 390


def test_the_prompt_progress_and_ranks_stay_in_sight_on_a_phone(visit: Any) -> None:
    turns = tuple(
        Message("user" if n % 2 == 0 else "assistant", f"Turn {n} of a long conversation. " * 4)
        for n in range(15)
    )
    item = _item(turns, *("A long answer. " * 200 + str(n) for n in range(9)))
    site = visit([item], **PHONE)
    conversation = site.page.locator(".bank.in-view .conversation")
    assert "User: Turn 0 of a long" in conversation.inner_text()
    for keys in ("", "c", "i"):
        site.press(*keys)
        sights = [
            site.page.locator("#header .progress-text"),
            conversation.locator("[data-last=true] .md"),
            site.card((keys or "a").upper()).locator(".ranks"),
            site.page.locator("#dock .go"),
        ]
        for sight in sights:
            box = sight.bounding_box()
            assert box["y"] >= 0
            assert box["y"] + min(box["height"], 40) <= 844
        assert site.page.evaluate("document.documentElement.scrollWidth") == 390
    site.page.mouse.wheel(0, 900)  # in the middle of a response its ranks are still there
    site.page.wait_for_timeout(100)
    ranks, prompt = site.card("I").locator(".ranks").bounding_box(), conversation.bounding_box()
    assert ranks["y"] >= prompt["y"] + prompt["height"] - 1


@pytest.mark.parametrize("look", [DESKTOP, PHONE])
def test_axe_finds_nothing_serious(visit: Any, look: dict[str, Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    site = visit([_item("Which?", "**a** `code`", "[b](http://b.test)", "- c"), *_items(1)], **look)

    def faults(state: str) -> list[str]:
        found = axe.run(site.page).response["violations"]
        return [
            f"{state}: {row['id']} {node['html'][:200]}"
            for row in found
            if row["impact"] in ("serious", "critical")
            for node in row["nodes"]
        ]

    serious = faults("fresh")
    site.press("1", "1", "0")
    site.page.get_by_role("button", name="Guidelines").click()
    assert site.page.locator("#guidelines-text strong").inner_text() == "Help"
    serious += faults("ranked")
    site.press("Escape", "?")
    serious += faults("keys")
    site.press("Escape", "s")
    serious += faults("skip")
    assert serious == []


def test_two_labelers_work_side_by_side_and_leave_each_their_own(visit: Any, browser: Any) -> None:
    items = _items(3, responses=2)
    site = visit(items)
    app = create_app(site.store.address, "Replies", labeler_id="bo")
    url, stop = _serve(app)
    try:
        tab = browser.new_context(**DESKTOP)
        page = tab.new_page()
        page.goto(url)
        page.wait_for_selector(".bank.in-view >> text=Question 2?")  # ada holds 0 and 1
        for key in ("1", "2", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector("#end .over:not([hidden])")
        tab.close()
    finally:
        stop()
    site.press("1", "1", "Enter")
    site.until_saved(1)
    site.press("1", "1", "Enter")
    site.page.wait_for_selector("#end .over:not([hidden])")
    assert "All 3 answers" in site.page.locator("#end").inner_text()
    assert sorted(ranking.labeler_id for ranking in site.rankings()) == ["ada", "ada", "bo"]
