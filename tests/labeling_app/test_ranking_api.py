"""The routes of the ranking page on a real store: items, answers, what comes next."""

import pytest
from fastapi.testclient import TestClient
from ranking_client import ORIGIN, an_answer, an_item, next_item, routes_of

from labeling_app.item_names import name_of
from labeling_app.server import create_app
from rlhf.feedback.store import Store

pytest_plugins = ["ranking_fixtures"]


def test_the_item_comes_in_this_labelers_order_without_model_names(
    client: TestClient, replies: Store
) -> None:
    reply = client.post("/api/next")
    task = replies.claim(replies.campaign("replies"), "ada")
    assert task is not None
    assert [row["id"] for row in reply.json()["item"]["responses"]] == list(task.shown)
    assert "secret" not in reply.text
    assert reply.json()["progress"] == {"mine": 0, "done": 0, "wanted": 3}


def test_a_ranking_with_a_tie_is_saved_as_groups(client: TestClient, replies: Store) -> None:
    item = next_item(client)
    first, second, third = (response["id"] for response in item["responses"])
    reply = client.post("/api/submit", json=an_answer(item, 9, 2, 9))
    assert reply.json()["progress"] == {"mine": 1, "done": 1, "wanted": 3}
    (ranking,) = replies.rankings(replies.campaign("replies"))
    assert ranking.groups == ((second,), tuple(sorted((first, third))))
    assert ranking.shown == (first, second, third)
    assert ranking.labeler_id == "ada"
    assert ranking.duration_seconds == 12.5
    assert not ranking.none_acceptable


@pytest.mark.parametrize("ranks", [(), (1, 1, 2)])
def test_none_acceptable_goes_with_an_order_and_without(
    client: TestClient, replies: Store, ranks: tuple[int, ...]
) -> None:
    item = next_item(client)
    reply = client.post("/api/submit", json=an_answer(item, *ranks, none_acceptable=True))
    assert reply.status_code == 200
    (ranking,) = replies.rankings(replies.campaign("replies"))
    assert ranking.none_acceptable
    assert [len(group) for group in ranking.groups] == ([2, 1] if ranks else [])


def test_an_answer_sent_again_is_saved_once(client: TestClient, replies: Store) -> None:
    answer = an_answer(next_item(client), 1, 2, 3)
    first, again = (client.post("/api/submit", json=answer) for _ in range(2))
    assert first.json() == again.json()
    assert len(replies.rankings(replies.campaign("replies"), with_superseded=True)) == 1
    changed = {**answer, "answer": {"ranks": dict.fromkeys(answer["answer"]["ranks"], 1)}}
    assert client.post("/api/submit", json=changed).status_code == 409
    other_words = client.post("/api/submit", json={**answer, "rationale": "Because."})
    assert other_words.status_code == 409
    assert "another rationale" in other_words.json()["detail"]


def test_a_submit_brings_the_item_ahead(client: TestClient, replies: Store) -> None:
    first = next_item(client)
    second = next_item(client, after=first["item_id"])
    asked = {"ahead": True, "after": second["item_id"]}
    reply = client.post("/api/submit", json=an_answer(first, 1, 2, 3), params=asked).json()
    third = reply["item"]
    assert len({first["item_id"], second["item_id"], third["item_id"]}) == 3
    assert reply["progress"] == {"mine": 1, "done": 1, "wanted": 3}
    # Without `after` it is what the labeler holds already, and sent again it is the same.
    answer = an_answer(second, 1, 2, 3)
    for _ in range(2):
        reply = client.post("/api/submit", json=answer, params={"ahead": True}).json()
        assert reply["item"] == third
    last = client.post("/api/submit", json=an_answer(third, 1, 2, 3), params={"ahead": True})
    assert last.json()["item"] is None
    assert "item" not in client.post("/api/submit", json=an_answer(third, 3, 2, 1)).json()
    assert replies.verify().findings == ()


def test_a_first_answer_does_not_replace_one_from_another_window(
    client: TestClient, replies: Store
) -> None:
    item = next_item(client)
    one, other = an_answer(item, 1, 2, 3), an_answer(item, 3, 2, 1)
    for _ in range(2):  # the same one sent again is no other
        assert client.post("/api/submit", json=one, params={"first": True}).status_code == 200
    refused = client.post("/api/submit", json=other, params={"first": True})
    assert refused.status_code == 409
    assert "in another window or tab" in refused.json()["detail"]
    assert len(replies.rankings(replies.campaign("replies"), with_superseded=True)) == 1
    assert client.post("/api/submit", json=other).status_code == 200
    assert len(replies.rankings(replies.campaign("replies"), with_superseded=True)) == 2


def test_a_request_that_names_no_campaign_means_the_opened_one_or_the_newest(
    replies: Store,
) -> None:
    """One rule for work and for leads."""
    replies.add_items(replies.create_campaign("newer"), [an_item("Newer?")])
    for opened, expected in (("replies", "replies"), (None, "newer")):
        app = create_app(replies.address, opened, labeler_id="ada")
        with TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN}) as client:
            assert client.get("/api/campaign").json()["name"] == expected
            overview = client.get("/api/lead/overview").json()
            assert overview["campaign"]["name"] == expected
            item = next_item(client)
            assert item["turns"][0]["text"].startswith("New" if opened is None else "Question")
            assert client.post("/api/submit", json=an_answer(item, 1, 2, 3)).status_code == 200


def test_a_late_submit_brings_the_item_ahead_too(client: TestClient, replies: Store) -> None:
    """The lease is over and its place free again: counted, released and claimed one by one."""
    campaign = replies.campaign("replies")
    task = replies.claim(campaign, "ada", now=1.0)
    other = replies.claim(campaign, "bo")  # takes the place that is free again
    assert task is not None
    assert other is not None
    assert task.item_id == other.item_id
    item = client.get(f"/api/items/{name_of(campaign, 'ada', task.item_id)}").json()
    body = an_answer(item, 1, 2, 3)
    reply = client.post("/api/submit", json=body, params={"ahead": True}).json()
    assert reply["item"]["turns"][0]["text"] == "Question 1?"
    assert replies.progress(campaign).late == 1
    assert replies.verify().findings == ()


def test_an_item_that_cannot_be_shown_is_given_to_nobody(
    client: TestClient, replies: Store
) -> None:
    campaign = replies.campaign("replies")
    replies.add_items(campaign, [an_item("Too many?", 10)])
    items = [next_item(client)]
    for _ in range(2):
        items.append(next_item(client, after=items[-1]["item_id"]))
        client.post("/api/submit", json=an_answer(items[-2], 1, 2, 3))
    reply = client.post("/api/submit", json=an_answer(items[-1], 1, 2, 3), params={"ahead": True})
    assert (reply.status_code, reply.json()["item"]) == (200, None)
    assert replies.progress(campaign, "ada").mine == 3
    assert client.post("/api/next").json()["item"] is None


def test_a_labelers_hour_on_each_kind_of_database(store: Store) -> None:
    """Every route of work once: what the other tests of routes ask of SQLite alone."""
    campaign = store.create_campaign("replies", settings={"order": "balanced"})
    store.add_items(campaign, [an_item("Long?", 10), *(an_item(f"{n}?") for n in range(4))])
    with TestClient(routes_of(store, "replies"), base_url=ORIGIN) as client:
        first = next_item(client)
        number = {"item_id": first["item_id"]}
        for path, body in (
            ("draft", {**number, "draft": {"said": "\u00e9"}}),
            ("flag", {**number, "kind": "other", "note": "odd"}),
            ("heartbeat", {"item_ids": [first["item_id"]]}),
            ("told", {"version": 1}),
        ):
            assert client.post(f"/api/{path}", json=body).status_code == 200, path
        assert next_item(client)["draft"] == {"said": "\u00e9"}
        sent = an_answer(first, 1, 2, 2, duration_seconds=1e9)
        reply = client.post("/api/submit", json=sent, params={"ahead": True}).json()
        assert reply["item"]["turns"][0]["text"] == "1?"
        skipped = {"item_id": reply["item"]["item_id"], "reason": "odd"}
        assert client.post("/api/skip", json=skipped).status_code == 200
        client.post("/api/submit", json=an_answer(first, 3, 2, 1))
        for expected in ("2?", "3?"):
            item = next_item(client)
            assert item["turns"][0]["text"] == expected
            client.post("/api/submit", json=an_answer(item, 1, 1, 1))
        end = client.post("/api/next").json()
        assert (end["item"], end["open"], end["progress"]["mine"]) == (None, True, 3)
        titles = [row["title"] for row in client.get("/api/mine?offset=1").json()["answers"]]
        assert titles == ["2?", "0?"]
    assert [one.duration_seconds for one in store.rankings(campaign)] == [12.5] * 3
    assert store.verify().findings == ()


def test_the_item_ahead_is_another_one_whatever_their_order(
    client: TestClient, replies: Store
) -> None:
    campaign = replies.campaign("replies")
    other = replies.claim(campaign, "bo", now=0.0)  # its lease is long over: free again
    first = next_item(client)
    assert other is not None
    assert first["item_id"] == name_of(campaign, "ada", other.item_id)
    ahead = next_item(client, after=first["item_id"])
    assert ahead["item_id"] != first["item_id"]
    # The labeler now works on the later item, and the earlier one is what follows.
    assert next_item(client, after=ahead["item_id"])["item_id"] == first["item_id"]


def test_skipped_items_do_not_come_back_and_the_end_is_null(
    client: TestClient, replies: Store
) -> None:
    seen = []
    for _ in range(3):
        item = next_item(client)
        seen.append(item["item_id"])
        body = {"item_id": item["item_id"], "reason": " too hard "}
        assert client.post("/api/skip", json=body).status_code == 200
    assert len(set(seen)) == 3
    assert client.post("/api/next").json()["item"] is None
    assert replies.rankings(replies.campaign("replies")) == []
