"""Each mode in a real Chromium by keyboard, mouse and touch: what is saved, what axe finds."""

import json
from typing import Any

import pytest
from chromium import PHONE, Site, an_item, faults, groups_of, shown_to_ada, some_items

from rlhf.data.records import Demonstration, Prompt, Ranking, Response
from rlhf.feedback.modes import Judgement
from rlhf.feedback.store import Campaign, Item, Store

pytest_plugins = ["chromium"]
pytestmark = pytest.mark.browser


def _touch(site: Site) -> Site:
    """The same campaign on a phone."""
    context = site.page.context.browser.new_context(**PHONE)
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(site.url)
    page.wait_for_selector(".bank.in-view")
    return Site(site.store, site.campaign, page, site.url)


def _one_row(site: Site) -> None:
    """On a phone the dock's actions are one row, and nothing is wider than the screen."""
    actions = site.page.locator("#dock .actions").bounding_box()
    assert actions["height"] <= 50
    assert site.page.evaluate("document.documentElement.scrollWidth") == 390


def test_compare_by_keys_mouse_and_touch(visit: Any) -> None:
    items = some_items(4, responses=2)
    site = visit(items, mode="compare")
    found = faults(site.page, "compare")
    site.press("Enter")
    assert "Choose which one is better" in site.said()
    site.press("a", "a")
    assert site.order() == "A is significantly better"
    site.press("ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight")
    assert site.order() == "B is slightly better"
    site.press("u", "0", "Enter")  # about the same, and both bad
    site.until_saved(1)
    site.page.locator(".verdicts label", has_text="B is better").click()
    site.press("Enter")
    site.until_saved(2)
    phone = _touch(site)
    found += faults(phone.page, "compare on a phone")
    _one_row(phone)
    phone.page.locator(".verdicts label").nth(0).tap()
    phone.button("Submit and next").tap()
    phone.until_saved(3)
    phone.page.locator(".verdicts label").nth(4).tap()
    phone.button("More").tap()
    phone.button("Both are bad").tap()
    phone.button("Submit and next").tap()
    phone.page.wait_for_selector("#end .over:not([hidden])")
    phone.page.context.close()
    said = [(one.groups, one.details, one.none_acceptable) for one in site.rankings()]
    assert said == [
        (groups_of(items[0], "AB"), {"strength": "same"}, True),
        (groups_of(items[1], "B", "A"), {"strength": "better"}, False),
        (groups_of(items[2], "A", "B"), {"strength": "significantly"}, False),
        (groups_of(items[3], "B", "A"), {"strength": "slightly"}, True),
    ]
    assert found == []


def test_evaluate_by_keys_mouse_and_touch(visit: Any) -> None:
    items = some_items(3, responses=2)
    site = visit(items, mode="evaluate")
    found = faults(site.page, "evaluate")
    site.press("b")
    assert site.order() == "B is better"
    site.page.locator(".verdicts label", has_text="A is better").click()
    site.button("Submit and next").click()
    site.until_saved(1)
    site.press("0", "Enter")  # said alone, it is a tie
    site.until_saved(2)
    phone = _touch(site)
    found += faults(phone.page, "evaluate on a phone")
    _one_row(phone)
    phone.page.locator(".verdicts label", has_text="B is better").tap()
    phone.button("Submit and next").tap()
    phone.page.wait_for_selector("#end .over:not([hidden])")
    phone.page.context.close()
    assert [(one.groups, one.none_acceptable, one.mode) for one in site.rankings()] == [
        (groups_of(items[0], "A", "B"), False, "evaluate"),
        (groups_of(items[1], "AB"), True, "evaluate"),
        (groups_of(items[2], "B", "A"), False, "evaluate"),
    ]
    assert found == []


def test_rate_by_keys_mouse_and_touch(visit: Any) -> None:
    items = some_items(3, responses=3)
    site = visit(items, mode="rate")
    found = faults(site.page, "rate")
    site.press("7", "2")
    assert site.order() == "A > B still to rate: C"
    assert site.card("A").get_by_role("radio", name="Rating 7").is_checked()
    site.press("Enter")
    assert "Rate C too" in site.said()
    site.press("2")
    assert site.order() == "A > B = C"
    site.press("b", "p", "Space", "Tab", "Tab", "Space")  # the first and the third flag
    assert site.card("B").locator(".count").inner_text() == "2 marked"
    found += faults(site.page, "rate with flags")
    site.press("c", "p", "Space", "u", "Enter")  # a flag taken back
    site.until_saved(1)
    for letter, rating in (("A", "4"), ("B", "5"), ("C", "6")):
        site.card(letter).get_by_text(rating, exact=True).click()
    site.card("C").get_by_text("What is wrong with it?").click()
    site.card("C").get_by_text("Makes things up").click()
    site.button("Submit and next").click()
    site.until_saved(2)
    phone = _touch(site)
    _one_row(phone)
    for letter in "ABC":
        phone.card(letter).get_by_text("3", exact=True).tap()
    found += faults(phone.page, "rate on a phone")
    phone.button("Submit and next").tap()
    phone.page.wait_for_selector("#end .over:not([hidden])")
    phone.page.context.close()
    first, second, third = site.rankings()
    a, b, c = shown_to_ada(items[0])
    assert first.details["ratings"] == {a: 7, b: 2, c: 2}
    assert first.details["flags"] == {b: ["fails_instruction", "hallucination"]}
    assert first.groups == groups_of(items[0], "A", "BC")
    assert second.details["flags"] == {shown_to_ada(items[1])[2]: ["hallucination"]}
    assert second.groups == groups_of(items[1], "C", "B", "A")
    assert third.groups == groups_of(items[2], "ABC")
    assert found == []


def test_demonstrate_by_keys_and_touch(visit: Any) -> None:
    items = [an_item("Edit this?", "It is `blue`."), an_item("Write this?"), an_item("And this?")]
    site = visit(items, mode="demonstrate")
    found = faults(site.page, "demonstrate")
    field = site.page.locator(".bank.in-view .editor textarea")
    assert field.input_value() == "It is `blue`."
    site.press("Control+End")
    site.page.keyboard.type(" Quite s1 u?")  # no key of the page
    assert site.order() == "6 words"
    site.press("Escape", "v")
    dialog = site.page.locator("#diff-dialog")
    assert "".join(dialog.locator("mark").all_inner_texts()) == " Quite s1 u?"
    found += faults(site.page, "diff")
    site.press("Escape", "Control+Enter")
    site.until_saved(1)
    assert field.input_value() == ""
    site.press("Control+Enter")
    assert "Write an answer before" in site.said()
    site.page.keyboard.type("line one\n\nline <b>two</b>")
    site.button("Submit and next").click()
    site.until_saved(2)
    phone = _touch(site)
    _one_row(phone)
    phone.page.locator(".bank.in-view .editor textarea").fill("on a phone")
    found += faults(phone.page, "demonstrate on a phone")
    phone.button("Submit and next").tap()
    phone.page.wait_for_selector("#end .over:not([hidden])")
    phone.page.context.close()
    written = site.store.demonstrations(site.campaign)
    assert [(one.text, one.edited_from) for one in written] == [
        ("It is `blue`. Quite s1 u?", items[0].responses[0].id),
        ("line one\n\nline <b>two</b>", None),
        ("on a phone", None),
    ]
    assert all(isinstance(one, Demonstration) for one in written)
    assert found == []


def _disagree(store: Store, campaign: Campaign) -> None:
    """Two labelers rank every item the other way round, and reviews are asked for."""
    for labeler, turn in (("bo", 1), ("cy", -1)):
        while (task := store.claim(campaign, labeler)) is not None:
            ids = sorted(response.id for response in task.responses)[::turn]
            groups = ((ids[0],), tuple(sorted(ids[1:])))
            said = Judgement(groups, none_acceptable=labeler == "cy")
            name, why = f"{labeler} {task.item_id}", "s1 <b>fits</b>" if labeler == "cy" else ""
            store.submit(task.item_id, labeler, said, submission_id=name, rationale=why)
    assert store.open_reviews(campaign) == 2


def test_review_shows_the_orders_without_names_and_settles_them(visit: Any) -> None:
    items = [
        an_item(f"Question {n}?", *(f"Answer {n}.{i}" for i in range(3)), wanted=2)
        for n in range(2)
    ]
    site = visit(items, prepare=_disagree, review=True)
    found = faults(site.page, "review")
    votes = site.page.locator(".bank.in-view .votes li").all_inner_texts()
    asked = site.page.locator(".bank.in-view .conversation .md").all_inner_texts()
    (item,) = [one for one in items if one.prompt.text in asked]
    with site.store.database.reading() as db:
        shown = db.exec_driver_sql(
            "select shown from assignments where labeler_id = 'ada' and campaign_id = ? "
            "order by ordinal",
            (site.campaign.id,),
        ).scalar()
    letters = dict(zip(json.loads(shown), "ABC", strict=True))
    ids = sorted(response.id for response in item.responses)
    expected = []
    for order in (ids, ids[::-1]):
        rest = sorted(letters[one] for one in order[1:])
        expected.append(f"{letters[order[0]]} > {' = '.join(rest)}")
    assert votes == [
        expected[0],
        f"{expected[1]} (none is acceptable)\n\nWhy: s1 <b>fits</b>",
    ]
    assert not {"bo", "cy"} & set(site.page.locator("body").inner_text().split())
    site.press("1", "2", "3", "Enter")
    site.page.wait_for_function(
        "asked => !document.querySelector('.bank.in-view').innerText.includes(asked)",
        arg=item.prompt.text,
    )
    settled = site.store.rankings(site.campaign)
    assert [one.labeler_id for one in settled if one.prompt_id == item.prompt.id] == ["ada"]
    (review,) = [one for one in settled if one.mode == "review"]
    assert len(review.details["adjudicates"]) == 2
    # A review is none of the answers that the campaign wants.
    assert site.page.locator(".progress-text").inner_text() == "4 of 4 done · 1 by you"
    for letter, rank in (("A", "2"), ("B", "1"), ("C", "2")):  # and by mouse
        site.card(letter).get_by_text(rank, exact=True).click()
    site.button("Submit and next").click()
    site.page.wait_for_selector("#end .over:not([hidden])")
    last = site.rankings()[-1]
    assert (last.mode, [len(group) for group in last.groups]) == ("review", [1, 2])
    assert found == []


def test_rank_by_touch_with_the_menu(visit: Any) -> None:
    items = some_items(2, responses=9)
    site = visit(items, **PHONE)
    _one_row(site)
    assert not site.button("None is acceptable").is_visible()
    for index, letter in enumerate("ABCDEFGHI"):
        site.card(letter).get_by_text(str(9 - index), exact=True).tap()
    site.button("More").tap()
    found = faults(site.page, "menu")
    site.button("None is acceptable").tap()
    assert not site.button("Undo").is_visible()  # the menu has closed
    assert "None is acceptable" in site.order()
    _one_row(site)
    site.button("Submit and next").tap()
    site.until_saved(1)
    (ranking,) = site.rankings()
    assert ranking.groups == groups_of(items[0], *"IHGFEDCBA")
    assert ranking.none_acceptable
    assert found == []


def test_keys_that_are_letters_of_cards_stay_theirs_and_single_keys_can_be_turned_off(
    visit: Any,
) -> None:
    site = visit(some_items(1, responses=9))
    for letter in "cdefghi":
        site.press(letter)
        assert site.card(letter.upper()).evaluate("card => card.classList.contains('picked')")
    site.press("?")
    dialog = site.page.locator("#keys-dialog")
    assert "Rate the picked response" not in dialog.inner_text()  # another mode's
    dialog.get_by_label("Single keys work").uncheck()
    site.press("Escape", "a", "1")
    assert site.order() == "nothing ranked yet"
    site.page.reload()
    site.page.wait_for_selector(".bank.in-view .md p")
    site.press("1")
    assert site.order() == "nothing ranked yet"
    site.button("Keys").click()
    dialog.get_by_label("Single keys work").check()
    site.press("Escape", "1")
    assert site.order().startswith("A still to rank")


def test_one_response_alone_can_be_rated_and_a_bare_prompt_written_for(visit: Any) -> None:
    prompt = Prompt.of("Only one?")
    item = Item(prompt, (Response.of(prompt.id, "the one"),))
    site = visit([item], mode="rate")
    site.press("5", "Enter")
    site.page.wait_for_selector("#end .over:not([hidden])")
    (ranking,) = site.rankings()
    assert isinstance(ranking, Ranking)
    assert ranking.details["ratings"] == {item.responses[0].id: 5}
