"""The dashboard in a real Chromium: what a lead sees is what is in the store, and stays so."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import CHROMIUM
from busy_campaign import NAME, seed_campaign
from lead_site import lead_app, serve

from labeling_app.visitors import ROLES
from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Campaign, Item, Judgement, Store

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Campaign]]:
    with Store(tmp_path_factory.mktemp("busy") / "store.db") as store:
        yield store, seed_campaign(store, now=time.time())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    closing: list[Callable[[], None]] = []

    def opened(url: str, **context: Any) -> Any:
        tab = browser.new_context(**(context or WIDE))
        closing.append(tab.close)
        page = tab.new_page()
        page.set_default_timeout(30_000)
        page.goto(f"{url}/lead/")
        page.wait_for_selector("#all_items .lead:not(:empty)")
        return page

    yield opened
    for close in closing:
        close()


@pytest.fixture(scope="module")
def site(busy: tuple[Store, Campaign]) -> Iterator[str]:
    url, stop = serve(lead_app(busy[0], page=True))
    yield url
    stop()


def faults(page: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found]


@pytest.mark.parametrize(
    ("screen", "scheme"),
    [
        pytest.param(WIDE, "light", id="wide-light"),
        pytest.param(PHONE, "dark", id="phone-dark"),
        pytest.param(WIDE, "dark", id="wide-dark", marks=pytest.mark.slow),
        pytest.param(PHONE, "light", id="phone-light", marks=pytest.mark.slow),
    ],
)
def test_a_busy_campaign_is_told_whole_and_axe_is_content(
    site: str, visit: Callable[..., Any], screen: dict[str, Any], scheme: str
) -> None:
    page = visit(site, **screen, color_scheme=scheme)
    page.wait_for_selector("#labelers tbody tr")
    said = page.locator("#progress .lead").inner_text()
    assert "374 of 630 answers are in" in said
    assert "an hour, the rest takes about" in said
    findings = page.locator("#findings li").all_inner_texts()
    for labeler, fault in (
        ("labeler-7be4419a", "prefers what is shown first"),
        ("labeler-a06f3d15", "prefers the longer answer"),
        ("labeler-e2c58b70", "agrees with the others on"),
    ):
        assert any(labeler in one and fault in one for one in findings)
    careful = ("labeler-1c77e0d2", "labeler-3a91f4b8", "labeler-58d20c6e")
    assert not any(one in text for one in careful for text in findings)
    assert page.locator("#labelers tbody tr").count() == 6
    assert page.locator("#labelers td.marked").count() == len(findings)
    assert page.locator("#plot-agreement circle").count() >= 3
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert faults(page) == []
    page.locator("#disputes [data-item]").first.click()
    page.wait_for_selector("#item[open] article")
    assert faults(page) == []


@pytest.mark.slow
def test_the_page_lives_without_flicker_and_says_when_the_server_is_gone(
    tmp_path: Path, visit: Callable[..., Any]
) -> None:
    with Store(tmp_path / "store.db") as store:
        campaign = store.create_campaign("Small", settings={"overlap": 2, "overlap_share": 1.0})
        store.add_items(campaign, [_item(f"Question {n}?") for n in range(3)])
        app = lead_app(store, page=True)
        url, stop = serve(app)
        page = visit(url)
        assert "0 of 6 answers are in" in page.locator("#progress .lead").inner_text()
        page.evaluate("window.kept = document.querySelector('#all_items tbody tr')")
        _answer(store, campaign, "labeler-aa")
        page.wait_for_function(
            "document.querySelector('#progress .lead').textContent.includes('1 of 6')"
        )
        assert page.evaluate("window.kept === document.querySelector('#all_items tbody tr')")
        stop()
        page.wait_for_selector("#lead .lost:not([hidden])")
        assert "Connection lost. These figures are from" in page.locator(".lost").inner_text()
        assert "1 of 6" in page.locator("#progress .lead").inner_text()
        _, stop = serve(app, port=int(url.rsplit(":", 1)[1]))
        page.wait_for_selector("#lead .lost", state="hidden")
        stop()


def test_a_lead_acts_by_keyboard_and_mouse(tmp_path: Path, visit: Callable[..., Any]) -> None:
    with Store(tmp_path / "store.db") as store:
        campaign = store.create_campaign("Small", guidelines="Old.")
        store.add_items(campaign, [_item(f"Question {n}?") for n in range(3)])
        url, stop = serve(lead_app(store, page=True))
        page = visit(url)

        page.click('[data-action="pause"]')
        page.wait_for_selector("#lead .state.paused")
        assert store.campaign("Small").settings.open is False
        page.click('[data-action="pause"]')
        page.wait_for_selector("#lead .state:not(.paused)")

        form = page.locator("#change-guidelines")
        form.locator("textarea").fill("New.")
        form.locator('[name="note"]').fill("Clearer.")
        page.keyboard.press("Enter")
        form.locator(".outcome:has-text('version 4')").wait_for()
        assert store.campaign("Small").guidelines == "New."

        settings = page.locator("#change-settings")
        settings.locator('[name="pay_per_answer"]').fill("0.25")
        page.keyboard.press("Enter")  # without a note
        settings.locator(".outcome:has-text('version 5')").wait_for()
        assert store.campaign("Small").settings.pay_per_answer == 0.25

        page.locator("#all_items [data-item]").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#item[open] article")
        page.click('#item [data-action="gold"]')
        assert "Give every response a rank" in page.locator("#item .outcome").inner_text()
        selects = page.locator("#item select")
        for place, rank in enumerate(("2", "1", "2")):
            selects.nth(place).select_option(rank)
        page.click('#item [data-action="gold"]')
        page.wait_for_selector("#item .outcome:has-text('is a gold item now')")
        expected = next(iter(store.items(campaign))).expected
        assert expected is not None
        assert [len(group) for group in expected] == [1, 2]
        page.keyboard.press("Escape")

        page.set_input_files("#add-items [name=file]", files=[_file("bad.jsonl", "{")])
        page.click("#add-items button")
        page.wait_for_selector("#add-items .outcome:has-text('line 1: not JSON')")
        line = json.dumps({"prompt": "More?", "responses": ["a", "b"]})
        page.set_input_files("#add-items [name=file]", files=[_file("good.jsonl", line)])
        page.click("#add-items button")
        page.wait_for_selector("#add-items .outcome:has-text('1 items added.')")
        assert len(list(store.items(campaign))) == 4

        _answer(store, campaign, "labeler-aa")
        with page.expect_download() as download:
            page.click("#export button")
        row = json.loads(Path(download.value.path()).read_text())
        assert row["labeler_id"] == "labeler-aa"
        stop()


def test_two_leads_do_not_overwrite_one_another_silently(
    tmp_path: Path, visit: Callable[..., Any]
) -> None:
    with Store(tmp_path / "store.db") as store:
        campaign = store.create_campaign("Small", guidelines="Old.")
        url, stop = serve(lead_app(store, page=True))
        page = visit(url)
        text, settings = page.locator("#change-guidelines"), page.locator("#change-settings")
        text.locator("textarea").fill("Mine.")
        settings.locator('[name="consent"]').check()
        settings.locator('[name="order"]').select_option("balanced")
        settings.locator('[name="repeat_after"]').fill("7")
        store.change_campaign(
            campaign, by="labeler-bb", guidelines="Theirs.", settings={"overlap": 3}
        )
        page.wait_for_function("document.querySelector('#change tbody').rows.length == 2")
        text.locator("button.go").click()
        text.locator(".outcome:has-text('labeler-bb saved version 2 meanwhile')").wait_for()
        settings.locator("button.go").click()
        settings.locator(".outcome:has-text('labeler-bb saved version 2')").wait_for()
        assert store.campaign("Small").guidelines == "Theirs."
        assert text.locator("textarea").input_value() == "Mine."
        text.locator("summary").click()
        assert text.locator("pre").inner_text() == "Theirs."
        assert settings.locator('[name="overlap"]').input_value() == "3"
        settings.locator("button.go").click()
        settings.locator(".outcome:has-text('Saved as version 3')").wait_for()
        kept = store.campaign("Small")
        assert (kept.guidelines, kept.settings.overlap) == ("Theirs.", 3)
        assert kept.settings.model_dump(exclude_defaults=True) == {
            "overlap": 3, "order": "balanced", "repeat_after": 7, "consent": True,
        }  # fmt: skip
        stop()


def test_ratings_and_faults_are_shown(tmp_path: Path, visit: Callable[..., Any]) -> None:
    with Store(tmp_path / "store.db") as store:
        campaign = store.create_campaign("Small", mode="rate")
        store.add_items(campaign, [_item("Which?")])
        for labeler in ("labeler-aa", "labeler-bb"):
            task = store.claim(campaign, labeler)
            assert task is not None
            by_text = {one.text: one.id for one in task.responses}
            one, two, three = (by_text[text] for text in ("one", "two", "three"))
            details = {"ratings": {one: 6, two: 2, three: 2}, "flags": {two: ["sexual"]}}
            said = Judgement(((one,), (two, three)), details=details)
            store.submit(task.item_id, labeler, said, submission_id=labeler)
            if labeler == "labeler-aa":
                store.flag(task.item_id, labeler, "other")
        url, stop = serve(lead_app(store, page=True))
        page = visit(url)
        page.wait_for_selector("#labelers tbody tr")
        assert page.locator("#progress .too-long").is_hidden()
        page.locator("#flags [data-item]").click()
        page.wait_for_selector("#item[open] article")
        card = page.locator("#item article", has_text="two")
        assert card.locator(".faults").inner_text() == "Sexual content: 2"
        assert page.locator("#item .faults").count() == 1
        assert "(A: 6, B: 2, C: 2)" in page.locator("#item .votes p").first.inner_text()
        stop()


HOSTILE = (
    "<img src=x onerror='window.hit=1'><script>window.hit=1</script>${window.hit=1}{{7*7}}\u202e`"
)


def test_hostile_texts_stay_texts(tmp_path: Path, visit: Callable[..., Any]) -> None:
    with Store(tmp_path / "store.db") as store:
        campaign = store.create_campaign(f"Small {HOSTILE[:60]}", guidelines=HOSTILE)
        prompt = Prompt.of(HOSTILE)
        texts = (HOSTILE, f"{HOSTILE} 2", "c")
        responses = tuple(Response.of(prompt.id, text) for text in texts)
        store.add_items(campaign, [Item(prompt, responses, 2)])
        task = _answer(store, campaign, "labeler-aa", rationale=HOSTILE)
        store.flag(task, "labeler-aa", "other", HOSTILE)
        store.change_campaign(campaign, by="lee", settings={"overlap": 2}, note=HOSTILE)
        url, stop = serve(lead_app(store, page=True))
        page = visit(url)
        page.locator("#all_items [data-item]").first.click()
        page.wait_for_selector("#item[open] article")
        assert page.locator("#item article pre").first.inner_text().startswith("<img")
        assert HOSTILE[:40] in page.locator("#item .votes").inner_text()
        assert HOSTILE[:40] in page.locator("#flags table").inner_text()
        assert HOSTILE[:40] in page.locator("#change .scroll table").inner_text()
        assert page.evaluate("window.hit") is None
        assert page.locator("#lead img, #lead script").count() == 0
        stop()


def test_the_dashboard_is_closed_to_reviewers(tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    with Store(tmp_path / "store.db") as store:
        store.create_campaign("Small")
        for role in ROLES:
            client = TestClient(lead_app(store, role, page=True))
            status = 200 if role in ("lead", "admin") else 403
            assert client.get("/lead/").status_code == status
        assert NAME not in TestClient(lead_app(store, "labeler", page=True)).get("/lead/").text


def _item(question: str) -> Item:
    prompt = Prompt.of(question)
    return Item(prompt, tuple(Response.of(prompt.id, one) for one in ("one", "two", "three")), 2)


def _file(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/x-ndjson", "buffer": text.encode()}


def _answer(store: Store, campaign: Campaign, labeler: str, rationale: str = "") -> int:
    task = store.claim(campaign, labeler)
    assert task is not None
    said = Judgement(tuple((one,) for one in task.shown))
    submission = f"{labeler} {task.item_id}"
    store.submit(
        task.item_id, labeler, said, submission_id=submission, rationale=rationale,
        duration_seconds=20.0,
    )  # fmt: skip
    return task.item_id
