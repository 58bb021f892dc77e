"""Many at once, on each kind of database: an item never has more live leases and answers in time
than labelers wanted, and nothing is lost or saved twice.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hands import answer, campaign, claimed, item, ranked
from sqlalchemy import Connection, func, select

from rlhf.feedback.schema import answers, assignments, items
from rlhf.feedback.store import Campaign, Store

THREADS = 16


def crowded(db: Connection, moment: float) -> list[tuple[int, int, int]]:
    """(item, live leases and answers in time, wanted) of items that have too many."""
    in_time = (
        select(answers.c.item_id, answers.c.labeler_id)
        .where(answers.c.superseded.is_(False), answers.c.late.is_(False))
        .distinct()
    )
    live = select(assignments.c.item_id, assignments.c.labeler_id).where(
        assignments.c.state == "open", assignments.c.leased_until > moment
    )
    used = in_time.union(live).subquery()
    counted = (
        select(items.c.id, func.count(used.c.labeler_id), items.c.wanted)
        .join(used, used.c.item_id == items.c.id)
        .where(items.c.kind == "work")
        .group_by(items.c.id, items.c.wanted)
        .having(func.count(used.c.labeler_id) > items.c.wanted)
    )
    return [tuple(row) for row in db.execute(counted).all()]


def all_at_once(work: Callable[[int], object], store: Store) -> int:
    """Runs `work` in sixteen threads; returns how often the rule was looked at meanwhile."""
    over = threading.Event()
    looks: list[list[tuple[int, int, int]]] = []

    def watch() -> None:
        while not over.is_set():
            with store.database.reading() as db:
                looks.append(crowded(db, time.time()))
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
    finally:
        over.set()
        watcher.join()
    assert all(look == [] for look in looks), next(look for look in looks if look)
    assert store.verify().findings == ()
    return len(looks)


def test_claims_and_answers_with_overlap(store: Store) -> None:
    made = campaign(store, 12, wanted=4)
    done: Counter[int] = Counter()

    def work(number: int) -> None:
        turn = 0
        while (task := store.claim(made, f"labeler-{number}", after=turn or None)) is not None:
            answer(store, task, f"{number}-{turn}")
            done[task.item_id] += 1
            turn += 1

    assert all_at_once(work, store) > 2
    assert set(done.values()) == {4}
    assert len(done) == 12
    assert store.progress(made).done == 48


def test_leases_that_run_out_while_many_work(store: Store) -> None:
    """Leases of a fifth of a second; half of the answers come too late, and are all kept."""
    made = store.create_campaign("main", settings={"lease_minutes": 0.2 / 60})
    store.add_items(made, [item(number, wanted=2) for number in range(10)])
    sent: Counter[str] = Counter()

    def work(number: int) -> None:
        labeler = f"labeler-{number}"
        drawn = random.Random(number)
        for turn in range(8):
            task = store.claim(made, labeler)
            if task is None:
                return
            chance = drawn.random()
            if chance < 0.4:
                time.sleep(0.3)
            if chance < 0.5:
                store.extend(made, labeler, [task.item_id])
            if 0.5 < chance < 0.6:
                store.skip(task.item_id, labeler, "no")
            else:
                answer(store, task, f"{labeler}-{turn}")
                sent[labeler] += 1

    all_at_once(work, store)
    kept = store.rankings(made, with_superseded=True)
    assert Counter(ranking.labeler_id for ranking in kept) == sent
    assert store.progress(made).late > 0
    assert store.progress(made).done == len(kept)


def test_the_same_submission_sent_many_times_at_once(store: Store) -> None:
    made = campaign(store, 1, wanted=2)
    task = claimed(store, made, "ada")
    saved = []
    all_at_once(lambda _: saved.append(answer(store, task, "same")), store)
    assert len(saved) == THREADS
    assert len({ranking.id for ranking in saved}) == 1
    assert store.rankings(made, with_superseded=True) == saved[:1]
    assert store.progress(made, "ada").mine == 1


def test_one_labeler_in_many_windows(store: Store) -> None:
    made = store.create_campaign("main", settings={"repeat_share": 0.2, "repeat_after": 1})
    store.add_items(made, [item(number) for number in range(20)])

    def work(number: int) -> None:
        for turn in range(6):
            task = store.claim(made, "ada", after=number or None)
            if task is not None:
                store.save_draft(task.item_id, "ada", {"turn": turn})
                answer(store, task, f"{number}-{turn}")

    all_at_once(work, store)
    in_force = Counter(ranking.prompt_id for ranking in store.rankings(made))
    assert set(in_force.values()) == {1}
    progress = store.progress(made, "ada")
    assert progress.done == len(in_force) <= progress.mine


def test_checks_are_made_once_by_whoever_needs_them_first(store: Store) -> None:
    shares = {"repeat_share": 0.4, "repeat_after": 1, "identical_share": 0.4}
    made = store.create_campaign("main", settings=shares)
    store.add_items(made, [item(number, wanted=THREADS) for number in range(4)])

    def work(number: int) -> None:
        turn = 0
        while (task := store.claim(made, f"labeler-{number}")) is not None:
            answer(store, task, f"{number}-{turn}")
            turn += 1

    all_at_once(work, store)
    assert store.progress(made).done == 4 * THREADS


def test_imports_and_work_and_withdrawals_at_once(store: Store) -> None:
    made = campaign(store, 10, wanted=20)  # an import is never refused: leave room for all

    def work(number: int) -> object:
        if number < 4:
            given = [ranked(item(n), f"other-{m}", "abc") for n in range(5) for m in range(4)]
            return store.record(made, given[number:] + given[:number])
        if number < 6:
            return store.add_items(made, [item(n, wanted=20) for n in range(8, 14)])
        if number == 6:
            made_labeler = claimed(store, made, "gone")
            answer(store, made_labeler, "gone")
            return store.withdraw("gone")
        turn = 0
        while (task := store.claim(made, f"labeler-{number}")) is not None and turn < 4:
            answer(store, task, f"{number}-{turn}")
            turn += 1
        return turn

    all_at_once(work, store)
    assert len(list(store.items(made))) == 14
    by_others = [one for one in store.rankings(made) if one.labeler_id.startswith("other")]
    assert len(by_others) == 20


def test_a_campaign_made_and_joined_by_many(store: Store) -> None:
    made: list[Campaign] = []

    def work(number: int) -> None:
        made.append(store.create_campaign("main", guidelines="Be fair."))
        store.add_items(made[-1], [item(0, wanted=THREADS)])
        store.join(made[-1], "ada")
        store.consent(made[-1], "ada", 1)
        assert store.has_consented(made[-1], "ada")

    all_at_once(work, store)
    assert len({one.id for one in made}) == 1
    assert store.verify().entries == 2  # made once, consented once
