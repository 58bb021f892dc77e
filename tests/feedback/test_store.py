"""The store on each kind of database: claims, answers sent twice, corrections, records."""

import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hands import LEASE_SECONDS, answer, campaign, claimed, item, ranked
from sqlalchemy import text

from rlhf.feedback.overview import skips_by_reason
from rlhf.feedback.store import Item, Judgement, Store


def test_racing_labelers_claim_exactly_what_is_wanted(store: Store) -> None:
    made = campaign(store, 30, wanted=3)
    barrier = threading.Barrier(16)

    def work(number: int) -> list[int]:
        barrier.wait()
        done = []
        while (task := store.claim(made, f"labeler-{number}")) is not None:
            answer(store, task, f"{number}-{task.item_id}")
            done.append(task.item_id)
        return done

    with ThreadPoolExecutor(16) as pool:
        by_labeler = list(pool.map(work, range(16)))
    assert set(Counter(one for done in by_labeler for one in done).values()) == {3}
    assert sum(map(len, by_labeler)) == 90
    assert all(len(set(done)) == len(done) for done in by_labeler)
    assert store.progress(made).done == store.progress(made).wanted == 90
    assert len(store.rankings(made)) == 90


def test_an_answer_sent_many_times_at_once_is_saved_once(store: Store) -> None:
    made = campaign(store, 1)
    task = claimed(store, made, "ada")
    with ThreadPoolExecutor(16) as pool:
        saved = list(pool.map(lambda _: answer(store, task, "same"), range(16)))
    assert len({ranking.id for ranking in saved}) == 1
    assert store.rankings(made, with_superseded=True) == saved[:1]


def test_a_submission_id_answers_one_task_of_one_labeler(store: Store) -> None:
    made = campaign(store, 2, wanted=2)
    answer(store, claimed(store, made, "ada"), "taken")
    for labeler in ("ada", "bob"):
        with pytest.raises(ValueError, match="taken answered another task"):
            answer(store, claimed(store, made, labeler), "taken")
    assert len(store.rankings(made)) == 1


def test_a_correction_supersedes_and_nothing_is_lost(store: Store) -> None:
    made = campaign(store, 1)
    task = claimed(store, made, "ada")
    first = answer(store, task, "one", "abc")
    before = store.digest(made)
    second = answer(store, task, "two", "cba")
    assert second.supersedes == first.id
    assert store.rankings(made) == [second]
    assert store.rankings(made, with_superseded=True) == [first, second]
    assert store.digest(made) != before
    assert store.progress(made, "ada").mine == 1


def test_a_lease_runs_out_and_a_late_answer_is_still_saved(store: Store) -> None:
    made = campaign(store, 1)
    late = claimed(store, made, "ada", now=0.0)
    assert store.claim(made, "bob", now=LEASE_SECONDS - 1) is None
    second = claimed(store, made, "bob", now=LEASE_SECONDS + 1)
    assert second.item_id == late.item_id
    answer(store, second, "bob")
    answer(store, late, "ada")
    assert {ranking.labeler_id for ranking in store.rankings(made)} == {"ada", "bob"}


def test_a_late_answer_stays_late_however_it_is_corrected(store: Store) -> None:
    made = campaign(store, 1)
    late = claimed(store, made, "ada", now=0.0)
    answer(store, claimed(store, made, "bob"), "bob")
    answer(store, late, "ada 1", "abc")
    answer(store, late, "ada 2", "cba")
    assert (store.progress(made).done, store.progress(made).late) == (2, 1)
    assert store.verify().findings == ()


def test_an_answer_to_what_was_skipped_is_kept_and_counted_apart(store: Store) -> None:
    made = campaign(store, 1)
    skipped = claimed(store, made, "ada")
    store.skip(skipped.item_id, "ada", "unsure")
    answer(store, claimed(store, made, "bob"), "bob")
    answer(store, skipped, "ada")
    assert (store.progress(made).done, store.progress(made).late) == (2, 1)


def test_a_labeler_gets_the_open_task_again_in_the_same_order(store: Store) -> None:
    made = campaign(store, 3)
    task = claimed(store, made, "ada")
    assert claimed(store, made, "ada") == task
    ahead = store.claim(made, "ada", after=task.item_id)
    assert ahead is not None
    assert ahead.item_id != task.item_id
    assert store.claim(made, "ada", after=task.item_id) == ahead
    answer(store, task, "one")
    assert claimed(store, made, "ada") == ahead


def test_items_with_more_responses_than_can_be_shown_are_passed_over(store: Store) -> None:
    made = store.create_campaign("main", settings={"order": "balanced"})
    store.add_items(made, [item(0, replies="abcd"), item(1), item(2, replies="abcd")])
    assert [len(one.shown) for one in [claimed(store, made, "ada")]] == [4]
    short = store.claim(made, "ada", most=3)
    assert short is not None
    assert len(short.shown) == 3
    assert store.claim(made, "ada", after=short.item_id, most=3) is None
    late = time.time() + LEASE_SECONDS + 1
    assert store.claim(made, "ada", now=late, most=3) == short
    assert store.claim(made, "bo", now=late, most=3) is None
    assert claimed(store, made, "bo", late).prompt.text == "Question 0?"


def test_a_clock_that_is_set_back_ends_no_lease_and_loses_no_answer(store: Store) -> None:
    made = campaign(store, 1)
    now = time.time()
    task = claimed(store, made, "ada", now)
    back = now - 3_600
    assert claimed(store, made, "ada", back) == task
    assert store.claim(made, "bo", now=back) is None
    store.extend(made, "ada", [task.item_id], now=back)
    again = store.task(task.item_id, "ada")
    assert again is not None
    assert again.leased_until == pytest.approx(now + LEASE_SECONDS, abs=1)  # not shortened
    said = Judgement(tuple((one,) for one in task.shown))
    for submission, moment in (("one", now), ("two", back)):
        store.submit(task.item_id, "ada", said, submission_id=submission, now=moment)
    first, second = store.rankings(made, with_superseded=True)
    assert (second.supersedes, second.submitted_at < first.submitted_at) == (first.id, True)
    assert [one.id for one in store.rankings(made)] == [second.id]
    assert (store.progress(made).done, store.progress(made).late) == (1, 0)
    assert store.verify().findings == ()


def test_orders_differ_between_labelers(store: Store) -> None:
    made = campaign(store, 1, wanted=40)
    orders = Counter(claimed(store, made, f"labeler-{n}").shown for n in range(40))
    assert len(orders) == 6
    assert sum(orders.values()) == 40


def test_an_item_whose_lease_ran_out_can_be_skipped_with_a_reason(store: Store) -> None:
    made = campaign(store, 1)
    now = time.time()
    mine = claimed(store, made, "ada", now)
    taken = claimed(store, made, "bo", now + LEASE_SECONDS + 1)  # ada's lease is over, bo's begins
    store.skip(mine.item_id, "ada", "broken")
    with store.database.reading() as db:
        assert skips_by_reason(db, made) == [("broken", 1)]
    store.skip(taken.item_id, "bo", "too long")
    assert store.claim(made, "ada", now=now + LEASE_SECONDS + 2) is None
    claimed(store, made, "cyd", now + LEASE_SECONDS + 2)


def test_a_skipped_item_goes_to_others_and_never_comes_back(store: Store) -> None:
    made = campaign(store, 2)
    first = claimed(store, made, "ada")
    store.skip(first.item_id, "ada", "cannot read it")
    assert claimed(store, made, "ada").item_id != first.item_id
    assert claimed(store, made, "bob").item_id == first.item_id


def test_wrong_ids_are_refused_and_leave_nothing(store: Store) -> None:
    made = campaign(store, 2)
    task = claimed(store, made, "ada")
    a, b, c = task.shown
    with pytest.raises(ValueError, match="bob was not given this item"):
        store.submit(task.item_id, "bob", Judgement(((a,), (b,), (c,))), submission_id="1")
    with pytest.raises(ValueError, match="ada was not given this item"):
        store.submit(999, "ada", Judgement(((a,), (b,), (c,))), submission_id="1")
    with pytest.raises(ValueError, match="ranked"):
        store.submit(task.item_id, "ada", Judgement(((a,), (b,))), submission_id="1")
    with pytest.raises(ValueError, match="response-x"):
        store.submit(
            task.item_id, "ada", Judgement(((a,), (b,), (c, "response-x"))), submission_id="1"
        )
    with pytest.raises(ValueError, match="empty ranking"):
        store.submit(task.item_id, "ada", Judgement(), submission_id="1")
    with pytest.raises(ValueError, match="a labeler needs an id"):
        store.claim(made, " ")
    assert store.rankings(made, with_superseded=True) == []
    assert claimed(store, made, "ada") == task


def test_items_are_held_once_by_prompt_and_responses(store: Store) -> None:
    made = campaign(store, 1)
    same = item(0, replies="cba")
    other = item(0, replies="abd")
    assert store.add_items(made, [same, other, other]) == 1
    assert [len(one.responses) for one in store.items(made)] == [3, 3]
    assert [one.prompt.id for one in store.items(made)] == [same.prompt.id] * 2
    with pytest.raises(ValueError, match="at least two different"):
        store.add_items(made, [item(5), item(7, replies="a")])
    with pytest.raises(ValueError, match="does not answer"):
        store.add_items(made, [Item(item(8).prompt, item(9).responses)])
    assert len(list(store.items(made))) == 2


def test_an_unknown_campaign_is_refused_with_those_there(store: Store) -> None:
    store.create_campaign("spring")
    with pytest.raises(ValueError, match=r"'sprang'.*\(there: spring\)"):
        store.campaign("sprang")
    assert store.create_campaign("spring", mode="other").mode == "rank"


def test_everything_is_there_after_reopening(address: str) -> None:
    with Store(address) as first:
        made = campaign(first, 2)
        saved = answer(first, claimed(first, made, "ada"), "one")
    with Store(address if "://" in address else f"sqlite:///{address}") as second:
        assert second.rankings(second.campaign("main")) == [saved]
        assert list(second.items(made)) == [item(0), item(1)]


def test_a_new_store_may_be_opened_by_many_at_once(address: str) -> None:
    def opened(number: int) -> str:
        with Store(address) as one:
            return one.create_campaign("main").name

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(opened, range(8))) == ["main"] * 8


def test_a_new_file_that_another_is_just_switching_to_its_log_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")  # as SQLite holds it while it switches
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(Store, path)
        with pytest.raises(TimeoutError):
            opened.result(0.3)
        other.execute("rollback")
        opened.result(20).close()
    other.close()


def test_a_newer_store_is_refused(address: str) -> None:
    with Store(address) as store, store.database.writing() as db:
        db.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(ValueError, match=r"version 9999.*install a newer"):
        Store(address)


def test_what_is_not_a_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database, but a text that is long enough to look like one. " * 40)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"notes\.txt"):
        Store(path)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="cannot open the store"):
        Store(tmp_path)


# Rankings made elsewhere


def test_recorded_rankings_count_once_and_fill_their_items(store: Store) -> None:
    made = campaign(store, 2)
    given = [ranked(item(0), "ada", "abc"), ranked(item(0), "bob", "cab")]
    assert store.record(made, [*given, given[0]]) == 2
    assert store.record(made, given) == 0
    assert store.rankings(made) == given
    assert claimed(store, made, "cyd").prompt == item(1).prompt


def test_a_recorded_ranking_closes_the_task_that_was_open(store: Store) -> None:
    made = campaign(store, 1)
    claimed(store, made, "ada")
    store.record(made, [ranked(item(0), "ada", "abc")])
    assert store.claim(made, "ada") is None


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
def test_recorded_corrections_supersede(store: Store, at_once: bool, backwards: bool) -> None:
    made = campaign(store, 1)
    first = ranked(item(0), "ada", "abc")
    second = ranked(item(0), "ada", "bca", supersedes=first.id)
    order = [second, first] if backwards else [first, second]
    for part in [order] if at_once else [[one] for one in order]:
        store.record(made, part)
    assert store.rankings(made) == [second]
    assert store.rankings(made, with_superseded=True) == order


def test_recording_is_all_or_nothing(store: Store) -> None:
    made = campaign(store, 1)
    with pytest.raises(ValueError, match="no item of the campaign"):
        store.record(made, [ranked(item(0), "ada", "abc"), ranked(item(4), "ada", "abc")])
    assert store.rankings(made) == []


def test_two_campaigns_may_hold_the_same_ranking(store: Store) -> None:
    one, two = campaign(store, 1, name="one"), campaign(store, 1, name="two")
    given = [ranked(item(0), "ada", "abc")]
    assert (store.record(one, given), store.record(two, given)) == (1, 1)
    assert store.rankings(one) == store.rankings(two) == given
    assert (store.claim(one, "bob"), store.claim(two, "bob")) == (None, None)
