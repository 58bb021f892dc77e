"""What leads and reviewers do leaves the store whole: gold, reviews, pauses, withdrawn people."""

import pytest

from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback import leading
from rlhf.feedback.answering import Answer
from rlhf.feedback.store import Campaign, Item, Judgement, Store, Task


def item(number: int, wanted: int = 2) -> Item:
    prompt = Prompt.of(f"Question {number}?")
    return Item(prompt, tuple(Response.of(prompt.id, f"{x} {number}") for x in "ab"), wanted)


def campaign(store: Store, count: int, *, wanted: int = 2, mode: str = "rank") -> Campaign:
    made = store.create_campaign("main", mode=mode)
    store.add_items(made, [item(number, wanted) for number in range(count)])
    return made


def claimed(store: Store, made: Campaign, labeler: str, *, review: bool = False) -> Task:
    task = store.claim(made, labeler, review=review)
    assert task is not None
    return task


def ranked(store: Store, task: Task, submission: str, *, backwards: bool = False) -> Answer:
    ids = sorted(task.shown, reverse=backwards)
    said = Judgement(tuple((one,) for one in ids))
    return store.submit(task.item_id, task.labeler_id, said, submission_id=submission)


def mark(store: Store, made: Campaign, task: Task, *, gold: bool) -> None:
    expected = tuple((one,) for one in sorted(task.shown)) if gold else None
    with store.database.writing() as db:
        leading.mark_gold(db, made, "lead", task.item_id, expected)


def test_marking_gold_and_unmarking_it_keeps_every_count_right(store: Store) -> None:
    made = campaign(store, 3)
    task = claimed(store, made, "ada")
    ranked(store, task, "one")
    ranked(store, claimed(store, made, "bob"), "two")
    mark(store, made, task, gold=True)
    assert store.verify().findings == ()
    assert (store.progress(made).wanted, store.progress(made).done) == (4, 0)
    mark(store, made, task, gold=False)
    assert store.verify().findings == ()
    assert (store.progress(made).wanted, store.progress(made).done) == (6, 2)
    third = claimed(store, made, "eve")
    assert third.item_id != task.item_id  # its two places are taken


def test_a_review_stays_in_place_of_what_labelers_say_before_and_after(store: Store) -> None:
    made = campaign(store, 1)
    task = claimed(store, made, "ada")
    ranked(store, task, "one")
    ranked(store, claimed(store, made, "bob"), "two", backwards=True)
    assert store.open_reviews(made) == 1
    review = claimed(store, made, "rev", review=True)
    settled = ranked(store, review, "three")
    assert store.rankings(made) == [settled]
    ranked(store, task, "four", backwards=True)  # ada corrects hers afterwards
    assert store.rankings(made) == [settled]
    again = ranked(store, review, "five", backwards=True)
    assert isinstance(again, Ranking)
    assert store.rankings(made) == [again]


def test_nobody_settles_a_dispute_of_their_own(store: Store) -> None:
    made = campaign(store, 1)
    ranked(store, claimed(store, made, "ada"), "one")
    ranked(store, claimed(store, made, "bob"), "two", backwards=True)
    store.open_reviews(made)
    assert store.claim(made, "ada", review=True) is None
    assert store.claim(made, "rev", review=True) is not None


def test_who_has_seen_the_votes_does_not_vote_and_who_is_about_to_vote_does_not_see_them(
    store: Store,
) -> None:
    made = campaign(store, 2, wanted=4)
    disputed = claimed(store, made, "ada").item_id
    ranked(store, claimed(store, made, "ada"), "one")
    ranked(store, claimed(store, made, "bob"), "two", backwards=True)
    begun = claimed(store, made, "eve")
    assert begun.item_id == disputed
    store.open_reviews(made)
    assert store.claim(made, "eve", review=True) is None  # it is open before her
    settled = claimed(store, made, "rev", review=True)
    assert set(settled.shown) == set(begun.shown)
    other = claimed(store, made, "rev")
    assert other.item_id != disputed
    ranked(store, other, "three")
    assert store.claim(made, "rev") is None


def test_what_is_written_is_not_reviewed(store: Store) -> None:
    made = store.create_campaign("written", mode="demonstrate")
    store.add_items(made, [Item(Prompt.of("How?"), ())])
    task = claimed(store, made, "ada")
    store.submit(task.item_id, "ada", Judgement(text="So."), submission_id="one")
    with pytest.raises(ValueError, match="are not reviewed"), store.database.writing() as db:
        leading.ask_review(db, made, "lead", task.item_id)
    with pytest.raises(ValueError, match="are not reviewed"):
        store.open_reviews(made)


def test_what_is_begun_comes_back_in_a_pause_too(store: Store) -> None:
    made = campaign(store, 1)
    task = store.claim(made, "ada", now=0.0)
    assert task is not None
    store.save_draft(task.item_id, "ada", {"half": "made"})
    paused = store.change_campaign(made, by="lead", settings={"open": False})
    back = store.claim(paused, "ada", now=1e6)
    assert back is not None
    assert back.draft == {"half": "made"}
    assert store.claim(paused, "bob", now=1e6) is None


def test_nothing_is_saved_for_one_who_has_withdrawn(store: Store) -> None:
    made = campaign(store, 2)
    task = claimed(store, made, "ada")
    ranked(store, task, "one")
    store.withdraw("ada")
    for say in (
        lambda: store.save_draft(task.item_id, "ada", {"secret": "words"}),
        lambda: store.flag(task.item_id, "ada", "other", "my secret note"),
        lambda: store.consent(made, "ada", made.guidelines_version),
    ):
        with pytest.raises(ValueError, match="has withdrawn consent"):
            say()
    assert store.verify().findings == ()


def test_a_campaign_is_made_once_and_most_of_the_work_is_work(store: Store) -> None:
    with store.database.writing() as db:
        leading.make_campaign(db, "lead", "new", "compare", "Be kind.", {"gold_share": 0.1})
    made = store.campaign("new")
    assert (made.mode, made.guidelines, made.settings.gold_share) == ("compare", "Be kind.", 0.1)
    for name, mode, settings, said in (
        ("new", "rank", {}, "already"),
        ("other", "review", {}, "no mode"),
        ("other", "rank", {"gold_share": 0.5, "repeat_share": 0.5}, "90 % of the work"),
    ):
        with pytest.raises(ValueError, match=said), store.database.writing() as db:
            leading.make_campaign(db, "lead", name, mode, "", settings)
    assert [one.name for one in store.campaigns()] == ["new"]
