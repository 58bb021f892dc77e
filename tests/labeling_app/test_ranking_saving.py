"""Nothing is lost: drafts, a lost connection, corrections, consent, changes, leases."""

import time
from typing import Any

import pytest
from chromium import Site, an_item, faults, groups_of, shown_to_ada, some_items

from rlhf.feedback.modes import Judgement

pytest_plugins = ["chromium"]
pytestmark = pytest.mark.browser


def _reload(site: Site) -> None:
    site.page.reload()
    site.page.wait_for_selector(".bank.in-view .md p")


def test_a_draft_is_saved_as_one_goes_and_is_there_on_another_machine(
    visit: Any, browser: Any
) -> None:
    items = some_items(2, responses=3)
    site = visit(items)
    site.press("2", "1", "0", "w")
    site.page.keyboard.type("because s1 & <b>")
    site.until_draft_saved()
    site.press("Escape", "c")
    other = browser.new_context()  # another machine
    page = other.new_page()
    page.goto(site.url)
    page.wait_for_selector(".bank.in-view .md p")
    elsewhere = Site(site.store, site.campaign, page, site.url)
    assert elsewhere.order() == "B > A None is acceptable still to rank: C"
    assert page.locator("#rationale").input_value() == "because s1 & <b>"
    elsewhere.press("c", "3")
    page.close()  # before the draft is saved: it goes with the page
    other.close()
    for _ in range(50):
        if site.drafts() and '"numbers":[2,1,3]' in str(site.drafts()).replace(" ", ""):
            break
        time.sleep(0.1)
    _reload(site)
    assert site.order() == "B > A > C None is acceptable"
    site.press("Enter")
    site.until_saved(1)
    (ranking,) = site.rankings()
    assert ranking.rationale == "because s1 & <b>"
    assert ranking.groups == groups_of(items[0], "B", "A", "C")
    assert ranking.duration_seconds > 0.5  # what was worked before the reload counts
    assert site.drafts() == []
    _reload(site)
    assert site.order() == "nothing ranked yet"


def test_a_lost_connection_is_said_and_work_goes_on_until_it_is_back(visit: Any) -> None:
    site = visit(some_items(2, responses=2))
    state = site.page.locator("#header .state")
    site.page.context.set_offline(True)
    try:
        site.press("2")
        site.page.wait_for_selector("#header .state[data-kind=kept]")
        assert state.inner_text() == "Not connected: your work is kept here"
        site.press("1", "Enter")
        site.page.locator("#dock .failure").get_by_text("is sent again by itself").wait_for()
        assert site.drafts() == []
        assert site.rankings() == []
    finally:
        site.page.context.set_offline(False)
    site.until_saved(1)
    assert len(site.rankings()) == 1
    assert state.inner_text() == "Connected again"
    assert site.drafts() == []


def test_an_earlier_answer_is_corrected_while_the_present_one_waits(visit: Any) -> None:
    items = some_items(4, responses=3)
    site = visit(items)
    for number, keys in ((1, "123"), (2, "321")):
        site.press(*keys, "Enter")
        site.until_saved(number)
    site.press("2", "m")  # the third has begun
    own = site.page.locator("#mine .own .title")
    own.first.wait_for()
    assert own.all_inner_texts() == ["Question 1?", "Question 0?"]
    found = faults(site.page, "own answers")
    site.page.get_by_role("button", name="Question 0?").press("Enter")
    site.page.wait_for_selector(".bank.in-view >> text=Question 0?")
    assert site.order() == "A > B > C"
    found += faults(site.page, "correcting")
    site.press("a", "3", "Enter")
    site.page.wait_for_selector(".bank.in-view >> text=Question 2?")
    assert site.order() == "A still to rank: B, C"
    assert site.page.locator("#banner .correcting").is_hidden()
    site.press("m")
    own.first.wait_for()
    site.page.get_by_role("button", name="Question 1?").click()
    site.page.wait_for_selector(".bank.in-view >> text=Question 1?")
    site.press("1", "Escape")  # looked, and went back
    site.page.wait_for_selector(".bank.in-view >> text=Question 2?")
    site.press("b", "1", "1", "Enter")
    site.until_saved(3)
    assert site.page.locator(".bank.in-view .conversation").inner_text().endswith("Question 3?")
    site.press("1", "1", "1", "Enter")
    site.page.wait_for_selector("#end .over:not([hidden])")
    site.page.locator("#end").get_by_role("button", name="My answers").click()
    site.page.get_by_role("button", name="Question 3?").click()
    site.page.wait_for_selector(".bank.in-view >> text=Question 3?")
    site.button("None is acceptable").click()
    site.button("Save the correction").click()
    site.page.wait_for_selector("#end .over:not([hidden])")
    found += faults(site.page, "end")
    rankings = site.rankings()
    assert len(rankings) == 6
    in_force = {one.prompt_id: one for one in site.store.rankings(site.campaign)}
    zero, three = in_force[items[0].prompt.id], in_force[items[3].prompt.id]
    assert zero.groups == groups_of(items[0], "B", "AC")
    assert zero.supersedes == rankings[0].id
    assert in_force[items[1].prompt.id].groups == groups_of(items[1], "C", "B", "A")
    assert in_force[items[2].prompt.id].groups == groups_of(items[2], "BC", "A")
    assert (three.none_acceptable, three.supersedes) == (True, rankings[4].id)
    assert found == []


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("compare", Judgement((), True, {"strength": "slightly"})),
        ("evaluate", Judgement((), False)),
        ("rate", Judgement((), False)),
        ("demonstrate", Judgement(text="a text")),
    ],
)
def test_in_every_mode_the_earlier_answer_comes_back_as_it_was_given(
    visit: Any, mode: str, said: Judgement
) -> None:
    responses = 1 if mode == "demonstrate" else 2
    item, second = some_items(2, responses=responses)

    def answered(store: Any, campaign: Any) -> None:
        task = store.claim(campaign, "ada")
        first, last = task.shown[0], task.shown[-1]
        groups = () if said.text else ((last,), (first,))
        details = {"ratings": {last: 6, first: 2}, "flags": {first: ["sexual"]}}
        given = Judgement(
            groups, said.none_acceptable, details if mode == "rate" else said.details, said.text
        )
        store.submit(task.item_id, "ada", given, submission_id="s1")

    site = visit([item, second], mode=mode, prepare=answered)
    site.press("Escape", "m")
    site.page.get_by_role("button", name="Question 0?").click()
    site.page.wait_for_selector(".bank.in-view >> text=Question 0?")
    if mode == "demonstrate":
        assert site.page.locator(".bank.in-view .editor textarea").input_value() == "a text"
        site.page.keyboard.type("!")
        site.press("Control+Enter")
    else:
        shown = {
            "compare": "B is slightly better Both are bad",
            "evaluate": "B is better",
            "rate": "B > A",
        }
        assert site.order() == shown[mode]
        site.press("Enter")
    site.page.wait_for_selector(".bank.in-view >> text=Question 1?")
    if mode == "demonstrate":
        texts = site.store.demonstrations(site.campaign, with_superseded=True)
        assert sorted(one.text for one in texts) in (["!a text", "a text"], ["a text", "a text!"])
        return
    before, after = site.rankings()
    assert after.supersedes == before.id
    assert (before.groups, before.details) == (after.groups, after.details)
    assert before.none_acceptable == after.none_acceptable


def test_consent_is_asked_before_work_and_again_when_the_guidelines_change(visit: Any) -> None:
    site = visit(
        some_items(3, responses=2),
        guidelines="**Be fair** and $x$.",
        settings={"consent": True},
        wait=".asking-consent #guidelines-text strong",
    )
    found = faults(site.page, "consent")
    assert not site.page.locator("#dock").is_visible()
    assert not site.store.has_consented(site.campaign, "ada")
    site.button("I have read and accept them").click()
    site.page.wait_for_selector(".bank.in-view .md p")
    assert site.store.has_consented(site.campaign, "ada")
    site.press("2")
    site.store.change_campaign(site.campaign, by="lead", guidelines="**Be kind.**", note="Kinder.")
    site.press("1", "Enter")  # refused, kept, and sent once the guidelines are accepted
    site.page.wait_for_selector(".asking-consent #guidelines-text >> text=Be kind.")
    assert site.rankings() == []
    site.button("I have read and accept them").click()
    site.until_saved(1)
    assert len(site.rankings()) == 1
    notice = site.page.locator("#banner .changed")
    assert "Kinder." in notice.inner_text()
    found += faults(site.page, "changed")
    notice.get_by_role("button", name="Got it").click()
    notice.wait_for(state="hidden")
    assert site.store.changes(site.store.campaign(site.campaign.name), "ada") == []
    assert found == []


def test_a_change_is_told_while_one_works_and_the_guidelines_are_the_new_ones(visit: Any) -> None:
    site = visit(some_items(3, responses=2))
    site.store.change_campaign(site.campaign, by="lead", guidelines="Now **this**.")
    site.press("1", "2", "Enter")
    site.until_saved(1)
    site.press("1", "2", "Enter")
    site.until_saved(2)
    site.page.locator("#banner").get_by_text("The guidelines have changed.").wait_for()
    site.button("Read them").click()
    assert site.page.locator("#guidelines-text strong").inner_text() == "this"


def test_a_lease_lives_while_the_page_is_open(visit: Any) -> None:
    site = visit(some_items(2, responses=2), settings={"lease_minutes": 0.05})  # three seconds
    site.page.wait_for_timeout(4_000)
    with site.store.database.reading() as db:
        left = db.exec_driver_sql(
            "select leased_until from assignments where campaign_id = ?", (site.campaign.id,)
        ).scalars()
        assert all(until > time.time() for until in left)
    assert site.store.claim(site.campaign, "bo") is None  # both items are in ada's hands


def test_the_lead_is_told_and_the_item_stays(visit: Any) -> None:
    site = visit([an_item("Call 555 1234?", "one", "two")])
    site.press("1", "l")
    dialog = site.page.locator("#flag-dialog")
    found = faults(site.page, "flag")
    dialog.get_by_label("It holds personal data").check()
    dialog.locator("textarea").fill("a number\x00 of a person")
    dialog.get_by_role("button", name="Tell the lead").click()
    site.page.wait_for_function(
        "document.querySelector('#dock .live').textContent.includes('The lead is told.')"
    )
    assert site.order() == "A still to rank: B"
    with site.store.database.reading() as db:
        rows = db.exec_driver_sql("select kind, labeler_id from flags").all()
    assert [tuple(row) for row in rows] == [("personal_data", "ada")]
    assert found == []


def test_long_texts_are_folded_and_compared_word_by_word(visit: Any) -> None:
    words = " ".join(f"word{n}" for n in range(900))
    texts = (f"{words} end", f"{words} finish", "short", "x " * 9_000 + "Alike. One.")
    item = an_item("Long?", *texts)
    site = visit([item])
    by_id = {response.id: response.text for response in item.responses}
    shown = [by_id[one] for one in shown_to_ada(item)]
    letters = {text: "ABCD"[index] for index, text in enumerate(shown)}
    long, other, short, huge = (letters[text] for text in texts)
    button = site.card(long).locator("[data-action=expand]")
    assert button.inner_text().startswith("Show all ")
    assert site.card(short).locator("[data-action=expand]").is_hidden()
    folded = site.card(long).locator(".md").bounding_box()["height"]
    site.press(long.lower(), "x")
    assert site.card(long).locator(".md").bounding_box()["height"] > folded + 100
    assert button.inner_text() == "Show fewer lines"
    site.press("v")
    dialog = site.page.locator("#diff-dialog")
    site.press(long.lower(), other.lower())
    assert dialog.locator("mark").all_inner_texts() == ["end", "finish"]
    assert dialog.locator(".text").first.inner_text() == texts[0]
    site.press(long.lower(), huge.lower())
    assert "too long to be compared word by word" in dialog.inner_text()
    assert dialog.locator(".text").last.text_content() == texts[3]
    site.press("Escape")
    found = site.page.evaluate(
        """async ([left, right]) => {
          const { textDiff } = await import(new URL('page/diff.js', document.baseURI));
          return textDiff(left, right);
        }""",
        [f"{'a ' * 4_000}. Alike. One.", f"{'b ' * 4_000}. Alike. Two."],
    )
    marked = [[text[-4:].strip() for text, changed in side if changed] for side in found["sides"]]
    assert (found["by"], marked) == ("sentences", [["a .", "One."], ["b .", "Two."]])


def test_the_theme_follows_the_system_until_it_is_chosen(visit: Any) -> None:
    site = visit(some_items(1, responses=2), color_scheme="dark")
    dark = "document.body.classList.contains('dark')"
    assert site.page.evaluate(dark)
    site.button("Theme").click()
    assert not site.page.evaluate(dark)
    _reload(site)
    assert not site.page.evaluate(dark)
    site.button("Theme").click()
    assert site.page.evaluate(dark)


def test_the_page_asks_once_per_item(visit: Any) -> None:
    """Two requests before the first answer; then the reply to an answer brings the item ahead."""
    items = some_items(5, responses=2)
    site = visit(items)
    site.page.wait_for_function(
        "() => performance.getEntriesByType('resource')"
        ".filter((one) => one.name.includes('/api/next')).length == 2"
    )
    asked: list[str] = []
    site.page.on("request", lambda one: asked.append(one.url.split("/api/")[-1].split("?")[0]))
    for number in (1, 2, 3):
        site.press("1", "2", "Enter")
        site.until_saved(number)
        site.page.wait_for_selector(f".bank.in-view >> text=Question {number}?")
    assert [one for one in asked if one in ("next", "submit")] == ["submit"] * 3
    assert len(site.rankings()) == 3


def test_two_windows_on_one_item_do_not_replace_each_other_silently(visit: Any) -> None:
    items = some_items(2, responses=2)
    site = visit(items)
    page = site.page.context.new_page()  # another tab
    page.goto(site.url)
    page.wait_for_selector(".bank.in-view .md p")
    other = Site(site.store, site.campaign, page, site.url)
    site.press("1", "2", "Enter")
    site.until_saved(1)
    other.press("2", "1", "Enter")
    failure = page.locator("#dock .failure")
    failure.get_by_text("in another window or tab").wait_for()
    assert len(site.rankings()) == 1
    assert other.order() == "B > A"
    failure.get_by_role("button").click()
    page.wait_for_selector(".bank.in-view >> text=Question 1?")
    first, second = site.rankings()
    assert second.supersedes == first.id
    assert second.groups == groups_of(items[0], "B", "A")
    page.close()
