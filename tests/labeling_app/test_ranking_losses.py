"""What the server did not take is not lost: it outlives the page, and is sent when it can be."""

from typing import Any

import pytest
from chromium import an_item, some_items

pytest_plugins = ["chromium"]
pytestmark = pytest.mark.browser

KEPT = "Object.keys(localStorage).filter((name) => name.startsWith('[\"draft\"'))"
# In the page: a request that is cut off from outside while the page goes may still arrive.
CUT_OFF = """(() => {
  const reach = fetch;
  window.cutOff = true;
  window.fetch = (url, asked) =>
    window.cutOff && /api.(submit|draft)/.test(url)
      ? Promise.reject(new TypeError('no way to the server'))
      : reach(url, asked);
  navigator.sendBeacon = () => true;
})()"""
WATCHED = """async (seconds) => {
  const { Stopwatch } = await import(new URL('page/stopwatch.js', document.baseURI));
  return new Stopwatch(seconds).seconds();
}"""
NEWER = """async (whose) => {
  const { Kept } = await import(new URL('page/keeping.js', document.baseURI));
  const [name] = Object.keys(localStorage).filter((name) => name.startsWith('["draft"'));
  const [, , campaign, item] = JSON.parse(name);
  return new Kept(whose, campaign).newer(item, null)?.said.numbers ?? null;
}"""


def test_an_answer_that_was_not_sent_outlives_the_page(visit: Any) -> None:
    site = visit(some_items(2, responses=3))
    asked: list[str] = []

    def leave(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.accept()

    site.page.on("dialog", leave)
    site.page.evaluate(CUT_OFF)
    site.page.add_init_script(CUT_OFF)  # and so is the page after this one
    site.press("1", "2", "3", "Enter")
    site.page.locator("#dock .failure").get_by_text("Your answer is still here").wait_for()
    site.page.reload()
    site.page.wait_for_selector(".bank.in-view .md p")
    assert asked == ["beforeunload"]
    assert site.order() == "A > B > C"
    assert site.page.evaluate(NEWER, "ada") == [1, 2, 3]
    assert site.page.evaluate(NEWER, "bo") is None  # who shares the browser is shown nothing
    assert site.drafts() == []
    site.page.evaluate("window.cutOff = false")
    site.press("Enter")
    site.until_saved(1)
    assert len(site.rankings()) == 1
    site.page.wait_for_function(f"{KEPT}.length === 0")  # the page hears of it after the store
    assert site.page.evaluate(WATCHED, 90_000) == 86_400  # a day, or it could never be sent


def test_a_refused_draft_is_sent_again_once_one_is_signed_in(visit: Any) -> None:
    site = visit(some_items(1, responses=3))
    site.page.route("**/api/draft*", lambda route: route.fulfill(status=401, json={}))
    site.press("2")
    site.page.wait_for_selector("#header .state[data-kind=refused]")
    assert site.drafts() == []
    site.page.unroute("**/api/draft*")
    site.until_draft_saved()
    (draft,) = site.drafts()
    assert '"numbers":[2,null,null]' in str(draft).replace(" ", "").replace("None", "null")
    site.page.wait_for_function(f"{KEPT}.length === 0")  # the page hears of it after the store


def test_a_change_of_an_earlier_answer_that_was_not_saved_says_so(visit: Any) -> None:
    site = visit(some_items(2, responses=3))
    site.press("1", "2", "3", "Enter")
    site.until_saved(1)
    for state, order in (("hidden", "A > B > C"), ("visible", "B > C > A")):
        site.press("m")
        site.page.get_by_role("button", name="Question 0?").click()
        site.page.wait_for_selector(".bank.in-view >> text=Question 0?")
        site.page.locator("#banner .unsaved").wait_for(state=state)
        assert site.order() == order
        if state == "hidden":
            site.press("a", "3", "b", "1", "c", "2")
            site.until_draft_saved()
        else:
            site.press("u")
            assert site.order() == "A > B > C"
        site.press("Escape")
        site.page.wait_for_selector(".bank.in-view >> text=Question 1?")
    assert len(site.rankings()) == 1


def test_the_end_says_that_a_campaign_is_paused_and_finds_what_is_added(visit: Any) -> None:
    site = visit(
        some_items(1, responses=2),
        settings={"lease_minutes": 0.05},  # and so it looks every second
        prepare=lambda store, campaign: store.change_campaign(
            campaign, by="lead", settings={"open": False}
        ),
        wait="#end .over:not([hidden])",
    )
    end = site.page.locator("#end .open")
    assert "The campaign is paused" in end.inner_text()
    site.store.change_campaign(site.campaign, by="lead", settings={"open": True})
    site.page.wait_for_selector(".bank.in-view >> text=Question 0?")
    assert site.said().startswith("There is more to do.")
    site.press("1", "2", "Enter")
    site.until_saved(1)
    site.page.wait_for_selector("#end .over:not([hidden])")
    assert end.inner_text() == "All 1 answers that the campaign asked for are in."
    site.store.add_items(site.campaign, [an_item("And this?", "one", "two")])
    site.page.wait_for_selector(".bank.in-view >> text=And this?")
