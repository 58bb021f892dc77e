"""Hostile texts in a real Chromium: nothing runs, nothing is fetched, and the raw view is exact."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from chromium import PHONE, Site
from hostile import HOSTILE, LARGE

from rlhf.data.records import Message, Prompt, Response
from rlhf.feedback.store import Item

pytest_plugins = ["chromium"]
pytestmark = pytest.mark.browser
UNSAFE = (
    ".md :is(script, iframe, object, embed, style, link, meta, base, form, img[src], video, audio,"
    " input:not([type=checkbox][disabled]), textarea, button:not(.copy_code_button), dialog)"
)
# What is drawn of texts that must not be anything but text.
PROBE = """unsafe => ({
  hit: window.hit ?? null,
  unsafe: [...document.querySelectorAll(unsafe)].map(e => e.outerHTML.slice(0, 200)),
  handlers: [...document.querySelectorAll('.md *')].flatMap(e => [...e.attributes])
    .filter(a => /^on/i.test(a.name)).map(a => a.name + '=' + a.value),
  links: [...document.querySelectorAll('.md a[href]')].map(a => a.protocol),
  raw: [...document.querySelectorAll('.bank.in-view .card:not([hidden]) pre.raw')]
    .map(e => e.textContent),
})"""


def _id(prompt: Prompt, text: str) -> str:
    whole = f"{prompt.id} {text}".encode("utf-8", "surrogatepass")
    return f"response-{hashlib.sha256(whole).hexdigest()[:16]}"


def _items(texts: tuple[str, ...]) -> list[Item]:
    """Nine texts to an item; ids of our own, since half a pair has no hash."""
    items = []
    for start in range(0, len(texts), 9):
        chunk = texts[start : start + 9]
        if len(chunk) < 2:
            chunk = (*chunk, "another")
        first, second = (text.encode(errors="replace").decode() for text in chunk[:2])
        turns = (
            Message("user", f"Earlier: {first[:5_000]}"),
            Message("assistant", second[:5_000] or "-"),
            Message("user", f"Item {start}: {first[:5_000]}"),
        )
        prompt = Prompt.of(turns)
        answers = tuple(Response(_id(prompt, text), prompt.id, text) for text in chunk)
        items.append(Item(prompt, answers))
    return items


@pytest.fixture
def watched(visit: Any) -> Iterator[Any]:
    """Visits a campaign of hostile items; in the end nothing may have been fetched or asked."""
    seen: list[str] = []

    def asked(dialog: Any) -> None:
        seen.append(dialog.message)
        dialog.dismiss()

    def visit_watched(texts: tuple[str, ...], **options: Any) -> Site:
        site: Site = visit(_items(texts), **options)
        site.page.on("request", lambda request: seen.append(request.url))
        site.page.on("dialog", asked)
        site.page.on("popup", lambda popup: seen.append(popup.url))
        site.page.reload()  # so that what the first visit loads is seen too
        site.page.wait_for_selector(".bank.in-view .card")
        return site

    yield visit_watched
    allowed = re.compile(r"http://127\.0\.0\.1:\d+/(\?|api/|assets/|page/|static/|theme|config|$)")
    assert [url for url in seen if not (allowed.match(url) or url.startswith("data:"))] == []
    assert len(seen) > 10


def _check(site: Site, texts: list[str]) -> None:
    found = site.page.evaluate(PROBE, UNSAFE)
    assert found["hit"] is None
    assert found["unsafe"] == []
    assert found["handlers"] == []
    assert set(found["links"]) <= {"http:", "https:", "mailto:", ":"}  # ":": no URL
    assert sorted(found["raw"]) == sorted(texts)


def test_there_are_a_hundred_of_them() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) > 110


def test_hostile_texts_run_and_fetch_nothing_in_any_rendering(watched: Any) -> None:
    guidelines = "They begin here.\n\n" + "\n\n".join(
        text for text in HOSTILE if len(text) < 300 and "\ud800" not in text
    )
    site = watched(HOSTILE, guidelines=guidelines)
    site.press("n")  # the guidelines, all of them at once
    site.page.locator("#guidelines-text").get_by_text("They begin here.").wait_for()
    site.press("Escape")
    for start in range(0, len(HOSTILE), 9):
        texts = list(HOSTILE[start : start + 9])
        site.page.wait_for_selector(f".bank.in-view .conversation >> text=Item {start}:")
        _check(site, texts)
        letters = "abcdefghi"[: len(texts)]
        for letter in letters:
            site.press(letter, "r")
        site.press("a", "v")
        for letter in letters[2:]:
            site.press(letter)  # every text once in the diff
        _check(site, texts)
        site.press("Escape", "0", "Enter")
        site.until_saved(start // 9 + 1)
    site.page.wait_for_selector("#end .over:not([hidden])")
    assert len(site.rankings()) == (len(HOSTILE) + 8) // 9


def test_hostile_words_of_labelers_and_leads_come_back_as_text(watched: Any) -> None:
    short = tuple(text for text in HOSTILE if len(text) < 400)
    written = "\n".join(short).encode(errors="replace").decode().replace("\x00", "")[:3_900]
    site = watched(("first", "second", *short[:7], "third", "fourth"), **PHONE)
    site.store.change_campaign(site.campaign, by="lead", guidelines="New.", note=written[:2_000])
    site.press("0", "w")
    site.page.locator("#rationale").fill(written)
    field = site.page.locator("#rationale").input_value()
    site.until_draft_saved()
    site.press("Escape", "l")
    site.page.locator("#flag-dialog textarea").fill(written[:700])
    site.page.locator("#flag-dialog button.go").click()
    site.press("Enter")
    site.until_saved(1)
    site.press("0", "Enter")
    site.page.wait_for_selector("#end .over:not([hidden])")
    note = site.page.locator("#banner li")
    note.wait_for()
    assert note.text_content() == written[:2_000]
    site.page.locator("#end").get_by_role("button", name="My answers").click()
    site.page.locator("#mine .own").last.click()
    site.page.wait_for_selector(".bank.in-view .card")
    assert site.page.locator("#rationale").input_value() == field
    assert sorted(one.rationale for one in site.rankings()) == ["", field.strip()]
    assert site.page.evaluate("window.hit ?? null") is None
    assert site.page.evaluate("document.documentElement.scrollWidth") == 390


def test_hostile_texts_are_edited_as_they_are(watched: Any) -> None:
    texts = tuple(text for text in HOSTILE if "\x00" not in text and "\ud800" not in text)
    prompt = "".join(sorted({text[:40] for text in texts if text not in LARGE}))
    site = watched((prompt, "x"), mode="evaluate")
    site.press("a", "v")
    assert site.page.locator("#diff-dialog .text").nth(0).text_content() in (prompt, "x")
    site.until_draft_saved()
    campaign = site.store.create_campaign("edited", mode="demonstrate")
    short = [text for text in texts if len(text) < 400]
    whole = "\n".join(short)
    question = Prompt.of(whole)
    site.store.add_items(campaign, [Item(question, (Response.of(question.id, whole),))])
    site.page.goto(site.url.split("?")[0] + "?campaign=edited")
    site.page.wait_for_selector(".bank.in-view .editor textarea")
    site.press("Control+Enter")
    site.page.wait_for_selector("#end .over:not([hidden])")
    (written,) = site.store.demonstrations(campaign)
    lines = whole.replace("\r\n", "\n").replace("\r", "\n")
    assert written.text == lines
    assert site.page.evaluate("window.hit ?? null") is None
