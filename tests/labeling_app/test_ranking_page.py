"""The ranking page in a real Chromium: what is on the screen is what is in the store."""

from typing import Any

import pytest
from chromium import (
    DESKTOP,
    PHONE,
    an_item,
    faults,
    groups_of,
    serve,
    shown_to_ada,
    some_items,
)

from labeling_app.server import create_app
from rlhf.data.records import Message

pytest_plugins = ["chromium"]
pytestmark = pytest.mark.browser


def test_keys_rank_with_a_tie_and_what_is_saved_is_what_wasshown_to_ada(visit: Any) -> None:
    items = some_items(2)
    site = visit(items)
    assert "secret-model" not in site.page.content()
    text_of = {response.id: response.text for response in items[0].responses}
    assert [site.text(letter) for letter in "ABCD"] == [text_of[i] for i in shown_to_ada(items[0])]
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
    assert ranking.groups == groups_of(items[0], "D", "AC", "B")
    assert ranking.shown == shown_to_ada(items[0])
    assert 0 < ranking.duration_seconds < 60
    assert not ranking.none_acceptable


def test_backspace_clears_and_undo_goes_back_step_by_step(visit: Any) -> None:
    site = visit(some_items(1, responses=3))
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
    items = some_items(2, responses=2)
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
        groups_of(items[0], "B", "A"),
        groups_of(items[1], "B", "A"),
    ]


def test_radios_are_radios(visit: Any) -> None:
    site = visit(some_items(1, responses=3))
    group = site.page.get_by_role("radiogroup", name="Rank of response B")
    assert group.get_by_role("radio").count() == 3
    group.get_by_role("radio", name="Rank 2").focus()
    site.press("Space")
    assert site.order() == "B still to rank: A, C"
    site.press("ArrowRight")
    assert group.get_by_role("radio", name="Rank 3").is_checked()


def test_none_is_acceptable_without_an_order_and_with_one(visit: Any) -> None:
    items = some_items(2, responses=2)
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
    assert (ordered.none_acceptable, ordered.groups) == (True, groups_of(items[1], "B", "A"))


def test_skipping_asks_why_saves_nothing_and_the_end_says_what_is_next(visit: Any) -> None:
    items = some_items(2, responses=2)
    site = visit(items)
    site.press("1", "s", "Escape")
    assert site.order() == "A still to rank: B"  # looked, did not skip
    site.press("s")
    site.page.evaluate(  # closed and opened again before the page is told of the closing
        """() => { document.getElementById("skip-dialog").close();
          document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "s", bubbles: true})); }"""
    )
    site.page.get_by_label("I do not know enough about this").check()
    site.page.locator("#skip-dialog textarea").fill("a s 1 u")  # no key of the page
    site.page.get_by_role("button", name="Skip it").click()
    site.page.wait_for_selector(".bank.in-view >> text=Question 1?")
    assert site.rankings() == []
    with site.store.database.reading() as db:
        rows = db.exec_driver_sql(
            "select state, reason from assignments where campaign_id = ? order by item_id",
            (site.campaign.id,),
        )
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


def test_a_failed_save_keeps_the_ranking_and_is_sent_again_by_itself_once(visit: Any) -> None:
    site = visit(some_items(2, responses=2))
    sent: list[dict[str, Any]] = []
    back: list[bool] = []

    def lose_the_answer(route: Any) -> None:
        sent.append(route.request.post_data_json)
        if len(sent) == 2:  # this one arrives, but its answer gets lost
            route.fetch()
        route.continue_() if back and len(sent) > 2 else route.abort()

    site.page.route("**/api/submit*", lose_the_answer)
    site.press("1", "2", "Enter")
    failure = site.page.locator("#dock .failure")
    failure.get_by_text("Not saved").wait_for()
    assert "still here and is sent again by itself" in failure.inner_text()
    assert site.order() == "A > B"
    back.append(True)
    failure.get_by_role("button", name="Try again").click()  # one need not wait for it
    site.until_saved(1)
    assert len(sent) > 2
    assert len({answer["submission_id"] for answer in sent}) == 1
    assert [ranking.submission_id for ranking in site.rankings()] == [sent[0]["submission_id"]]
    assert failure.is_hidden()
    assert site.page.locator("#header .state").inner_text() == "Connected again"


def test_the_next_item_is_there_at_once_and_never_an_old_text(visit: Any) -> None:
    items = some_items(8, responses=2)
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
    assert seen == ["|".join(text_of[i] for i in shown_to_ada(item)) for item in items]


def test_the_prompt_progress_and_ranks_stay_in_sight_on_a_phone(visit: Any) -> None:
    turns = tuple(
        Message("user" if n % 2 == 0 else "assistant", f"Turn {n} of a long conversation. " * 4)
        for n in range(15)
    )
    item = an_item(turns, *("A long answer. " * 200 + str(n) for n in range(9)))
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
    question = an_item("Which?", "**a** `code`", "[b](http://b.test)", "- c")
    site = visit([question, *some_items(1)], **look)
    serious = faults(site.page, "fresh")
    site.press("1", "1", "0")
    site.page.get_by_role("button", name="Guidelines").click()
    assert site.page.locator("#guidelines-text strong").inner_text() == "Help"
    serious += faults(site.page, "ranked")
    site.press("Escape", "?")
    serious += faults(site.page, "keys")
    site.press("Escape", "s")
    serious += faults(site.page, "skip")
    assert serious == []


def test_two_labelers_work_side_by_side_and_leave_each_their_own(visit: Any, browser: Any) -> None:
    items = some_items(3, responses=2)
    site = visit(items)
    app = create_app(site.store.address, site.campaign.name, labeler_id="bo")
    url, stop = serve(app)
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


def test_the_header_fits_and_says_in_full_whether_the_draft_is_saved(visit: Any) -> None:
    site = visit(some_items(1))
    site.press("1")
    site.until_draft_saved()
    for width in (1024, 1280):
        site.page.set_viewport_size({"width": width, "height": 800})
        for part in ("#header .state", "#header > .html-container > div"):
            whole = "one => one.scrollWidth <= one.clientWidth"
            assert site.page.locator(part).evaluate(whole), (width, part)


def test_the_sign_of_a_root_is_drawn(visit: Any) -> None:
    texts = (r"It is $$\frac{\sqrt{\pi}}{2}$$", "No.")
    site = visit([an_item("Which?", *texts)], wait=".katex-display")
    root = site.page.locator(".bank.in-view .katex svg").first.bounding_box()
    assert root is not None
    assert root["width"] > 5


WIDE_TABLE = "\n".join(
    ("|" + " wide_column |" * 12, "|" + "---|" * 12, "|" + " x_x_x_x_x_x |" * 12)
)
WIDE_TEXTS = (
    "```python\ndef tide(mass, radius):\n    return 2 * G * mass * radius / distance**3 # "
    + "on " * 60
    + "\n```",
    f"A table:\n\n{WIDE_TABLE}\n",
    f"A formula:\n\n$$y = {' + '.join(f'x_{{{n}}}' for n in range(80))}$$",
)


@pytest.mark.parametrize("look", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_code_tables_and_formulas_are_readable_whole_and_by_keyboard(visit: Any, look: Any) -> None:
    site = visit([an_item("Which is widest?", *WIDE_TEXTS)], wait=".katex-display", **look)
    code = site.page.locator(".bank.in-view .md pre").first
    assert code.evaluate("one => one.scrollWidth <= one.clientWidth")  # it wraps
    assert faults(site.page, "wide texts") == []
    assert site.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
