"""The routes of the ranking page on a real store: what they give, save and refuse."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from labeling_app.item_names import name_of
from labeling_app.labelers import check_labeler_id, default_labeler_id
from labeling_app.routes import ranking_routes
from labeling_app.server import create_app
from labeling_app.visitors import Role, Visitor
from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Item, Judgement, Store

ORIGIN = "http://127.0.0.1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as opened:
        campaign = opened.create_campaign("replies", guidelines="Be fair.")
        opened.add_items(campaign, [_item(f"Question {n}?") for n in range(3)])
        yield opened


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    """The routes of work alone, for ada."""
    with TestClient(_routes(store, "replies"), base_url=ORIGIN) as opened:
        yield opened


@pytest.fixture
def whole(store: Store) -> Iterator[TestClient]:
    """The whole app, with its wall and its page."""
    app = create_app(store.address, "replies", labeler_id="ada", next_step="rlhf run x")
    with TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN}) as opened:
        yield opened


def _routes(store: Store, name: str) -> FastAPI:
    def visitor(_request: Request) -> Visitor:
        return Visitor("ada", "admin")

    app = FastAPI()
    app.include_router(ranking_routes(store, name, visitor, "rlhf run x"))
    return app


def _item(question: str, count: int = 3, wanted: int = 1) -> Item:
    prompt = Prompt.of(question)
    answers = (Response.of(prompt.id, f"Answer {n}", model=f"secret-{n}") for n in range(count))
    return Item(prompt, tuple(answers), wanted)


def _next(client: TestClient, after: int | None = None) -> dict[str, Any]:
    reply = client.post("/api/next", params={} if after is None else {"after": after})
    assert reply.status_code == 200
    item: dict[str, Any] = reply.json()["item"]
    return item


def _answer(item: dict[str, Any], *ranks: int, **changed: Any) -> dict[str, Any]:
    ids = [response["id"] for response in item["responses"]]
    said = {"ranks": dict(zip(ids, ranks, strict=False)), "none_acceptable": False}
    said |= {key: changed.pop(key) for key in said if key in changed}
    return {
        "submission_id": str(uuid4()),
        "item_id": item["item_id"],
        "answer": said,
        "duration_seconds": 12.5,
        **changed,
    }


def test_the_item_comes_in_this_labelers_order_without_model_names(
    client: TestClient, store: Store
) -> None:
    reply = client.post("/api/next")
    task = store.claim(store.campaign("replies"), "ada")
    assert task is not None
    assert [row["id"] for row in reply.json()["item"]["responses"]] == list(task.shown)
    assert "secret" not in reply.text
    assert reply.json()["progress"] == {"mine": 0, "done": 0, "wanted": 3}


def test_a_ranking_with_a_tie_is_saved_as_groups(client: TestClient, store: Store) -> None:
    item = _next(client)
    first, second, third = (response["id"] for response in item["responses"])
    reply = client.post("/api/submit", json=_answer(item, 9, 2, 9))
    assert reply.json()["progress"] == {"mine": 1, "done": 1, "wanted": 3}
    (ranking,) = store.rankings(store.campaign("replies"))
    assert ranking.groups == ((second,), tuple(sorted((first, third))))
    assert ranking.shown == (first, second, third)
    assert ranking.labeler_id == "ada"
    assert ranking.duration_seconds == 12.5
    assert not ranking.none_acceptable


@pytest.mark.parametrize("ranks", [(), (1, 1, 2)])
def test_none_acceptable_goes_with_an_order_and_without(
    client: TestClient, store: Store, ranks: tuple[int, ...]
) -> None:
    item = _next(client)
    reply = client.post("/api/submit", json=_answer(item, *ranks, none_acceptable=True))
    assert reply.status_code == 200
    (ranking,) = store.rankings(store.campaign("replies"))
    assert ranking.none_acceptable
    assert [len(group) for group in ranking.groups] == ([2, 1] if ranks else [])


def test_an_answer_sent_again_is_saved_once(client: TestClient, store: Store) -> None:
    answer = _answer(_next(client), 1, 2, 3)
    first, again = (client.post("/api/submit", json=answer) for _ in range(2))
    assert first.json() == again.json()
    assert len(store.rankings(store.campaign("replies"), with_superseded=True)) == 1
    changed = {**answer, "answer": {"ranks": dict.fromkeys(answer["answer"]["ranks"], 1)}}
    assert client.post("/api/submit", json=changed).status_code == 409
    other_words = client.post("/api/submit", json={**answer, "rationale": "Because."})
    assert other_words.status_code == 409
    assert "another rationale" in other_words.json()["detail"]


def test_a_submit_brings_the_item_ahead(client: TestClient, store: Store) -> None:
    first = _next(client)
    second = _next(client, after=first["item_id"])
    asked = {"ahead": True, "after": second["item_id"]}
    reply = client.post("/api/submit", json=_answer(first, 1, 2, 3), params=asked).json()
    third = reply["item"]
    assert len({first["item_id"], second["item_id"], third["item_id"]}) == 3
    assert reply["progress"] == {"mine": 1, "done": 1, "wanted": 3}
    # Without `after` it is what the labeler holds already, and sent again it is the same.
    answer = _answer(second, 1, 2, 3)
    for _ in range(2):
        reply = client.post("/api/submit", json=answer, params={"ahead": True}).json()
        assert reply["item"] == third
    last = client.post("/api/submit", json=_answer(third, 1, 2, 3), params={"ahead": True})
    assert last.json()["item"] is None
    assert "item" not in client.post("/api/submit", json=_answer(third, 3, 2, 1)).json()
    assert store.verify().findings == ()


def test_a_first_answer_does_not_replace_one_from_another_window(
    client: TestClient, store: Store
) -> None:
    item = _next(client)
    one, other = _answer(item, 1, 2, 3), _answer(item, 3, 2, 1)
    for _ in range(2):  # the same one sent again is no other
        assert client.post("/api/submit", json=one, params={"first": True}).status_code == 200
    refused = client.post("/api/submit", json=other, params={"first": True})
    assert refused.status_code == 409
    assert "in another window or tab" in refused.json()["detail"]
    assert len(store.rankings(store.campaign("replies"), with_superseded=True)) == 1
    assert client.post("/api/submit", json=other).status_code == 200
    assert len(store.rankings(store.campaign("replies"), with_superseded=True)) == 2


def test_a_request_that_names_no_campaign_means_the_opened_one_or_the_newest(
    store: Store,
) -> None:
    """One rule for work and for leads."""
    store.add_items(store.create_campaign("newer"), [_item("Newer?")])
    for opened, expected in (("replies", "replies"), (None, "newer")):
        app = create_app(store.address, opened, labeler_id="ada")
        with TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN}) as client:
            assert client.get("/api/campaign").json()["name"] == expected
            overview = client.get("/api/lead/overview").json()
            assert overview["campaign"]["name"] == expected
            item = _next(client)
            assert item["turns"][0]["text"].startswith("New" if opened is None else "Question")
            assert client.post("/api/submit", json=_answer(item, 1, 2, 3)).status_code == 200


def test_a_late_submit_brings_the_item_ahead_too(client: TestClient, store: Store) -> None:
    """The lease is over and its place free again: counted, released and claimed one by one."""
    campaign = store.campaign("replies")
    task = store.claim(campaign, "ada", now=1.0)
    other = store.claim(campaign, "bo")  # takes the place that is free again
    assert task is not None
    assert other is not None
    assert task.item_id == other.item_id
    item = client.get(f"/api/items/{name_of(campaign, 'ada', task.item_id)}").json()
    body = _answer(item, 1, 2, 3)
    reply = client.post("/api/submit", json=body, params={"ahead": True}).json()
    assert reply["item"]["turns"][0]["text"] == "Question 1?"
    assert store.progress(campaign).late == 1
    assert store.verify().findings == ()


def test_an_item_that_cannot_be_shown_does_not_cost_the_answer_before_it(
    client: TestClient, store: Store
) -> None:
    campaign = store.campaign("replies")
    store.add_items(campaign, [_item("Too many?", 10)])
    items = [_next(client)]
    for _ in range(2):
        items.append(_next(client, after=items[-1]["item_id"]))
        client.post("/api/submit", json=_answer(items[-2], 1, 2, 3))
    reply = client.post("/api/submit", json=_answer(items[-1], 1, 2, 3), params={"ahead": True})
    assert (reply.status_code, reply.json()["item"]) == (200, None)
    assert store.progress(campaign, "ada").mine == 3
    assert "10 responses" in client.post("/api/next").json()["detail"]


def test_the_item_ahead_is_another_one_whatever_their_order(
    client: TestClient, store: Store
) -> None:
    campaign = store.campaign("replies")
    other = store.claim(campaign, "bo", now=0.0)  # its lease is long over: free again
    first = _next(client)
    assert other is not None
    assert first["item_id"] == name_of(campaign, "ada", other.item_id)
    ahead = _next(client, after=first["item_id"])
    assert ahead["item_id"] != first["item_id"]
    # The labeler now works on the later item, and the earlier one is what follows.
    assert _next(client, after=ahead["item_id"])["item_id"] == first["item_id"]


def test_skipped_items_do_not_come_back_and_the_end_is_null(
    client: TestClient, store: Store
) -> None:
    seen = []
    for _ in range(3):
        item = _next(client)
        seen.append(item["item_id"])
        body = {"item_id": item["item_id"], "reason": " too hard "}
        assert client.post("/api/skip", json=body).status_code == 200
    assert len(set(seen)) == 3
    assert client.post("/api/next").json()["item"] is None
    assert store.rankings(store.campaign("replies")) == []


def _strangers(item: dict[str, Any]) -> dict[str, int]:
    return {response["id"] + "x": 1 for response in item["responses"]}


FORGED: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
    lambda item: {"ranks": dict(list(_answer(item, 1, 2, 3)["answer"]["ranks"].items())[:2])},
    lambda item: {"ranks": {}},
    lambda item: {"ranks": _strangers(item)},
    lambda item: {"ranks": {**_answer(item, 1, 2, 3)["answer"]["ranks"], "response-0": 1}},
    lambda item: {"ranks": dict.fromkeys(_answer(item, 1, 2, 3)["answer"]["ranks"], 0)},
    lambda item: {"ranks": dict.fromkeys(_answer(item, 1, 2, 3)["answer"]["ranks"], 10)},
    lambda item: {"ranks": dict.fromkeys(_answer(item, 1, 2, 3)["answer"]["ranks"], "1")},
    lambda item: {"ranks": dict.fromkeys(_answer(item, 1, 2, 3)["answer"]["ranks"], True)},
    lambda item: {"ranks": dict.fromkeys(_answer(item, 1, 2, 3)["answer"]["ranks"], 1.5)},
    lambda item: {"ranks": [1, 2, 3]},
    lambda item: {"item_id": 999},
    lambda item: {"item_id": item["item_id"] + 1},  # never given to this labeler
    lambda item: {"submission_id": "1"},
    lambda item: {"duration_seconds": -1},
    lambda item: {"duration_seconds": 1e9},
    lambda item: {"labeler_id": "bo"},
    lambda item: {"none_acceptable": "yes"},
]


def _forged(item: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    body = _answer(item, 1, 2, 3)
    place = body["answer"] if set(change) & set(body["answer"]) else body
    place.update(change)
    return body


def test_what_the_browser_must_not_send_is_refused(client: TestClient, store: Store) -> None:
    item = _next(client)
    for change in FORGED:
        body = _forged(item, change(item))
        assert client.post("/api/submit", json=body).status_code == 422, change(item)
    assert store.rankings(store.campaign("replies")) == []


def test_other_sites_and_other_hosts_cannot_write(whole: TestClient, store: Store) -> None:
    answer = _answer(_next(whole), 1, 2, 3)
    for headers, status in (
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.test"}, 421),
        ({"Origin": "http://evil.test", "Host": "evil.test"}, 421),
        ({"Host": "localhost:7860"}, 403),
        ({"Content-Length": "400000"}, 413),
        ({"Content-Type": "text/plain"}, 422),
    ):
        reply = whole.post("/api/submit", json=answer, headers=headers)
        assert reply.status_code == status, headers
        assert store.rankings(store.campaign("replies")) == []
    reply = whole.post("/api/submit", json=answer, headers={"Sec-Fetch-Site": "same-origin"})
    assert reply.status_code == 200


def test_nothing_but_the_routes_can_be_written_to(whole: TestClient) -> None:
    for path in ("upload", "queue/join", "run/predict", "component_server"):
        assert whole.post(f"/gradio_api/{path}", json={}).status_code == 405
    assert whole.post("/login", json={}).status_code == 405


def test_every_answer_carries_the_security_headers(whole: TestClient) -> None:
    for path in ("/", "/api/campaign", "/page/ranking.js", "/nowhere"):
        headers = whole.get(path, headers={"Origin": "http://evil.test"}).headers
        assert "img-src 'self' data:" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers


def test_an_item_with_more_responses_than_letters_is_named(tmp_path: Path) -> None:
    with Store(tmp_path / "many.db") as store:
        store.add_items(store.create_campaign("many"), [_item("Which?", count=10)])
        with TestClient(_routes(store, "many")) as client:
            reply = client.post("/api/next")
    assert reply.status_code == 422
    assert "has 10 responses" in reply.json()["detail"]


def test_a_store_that_fails_is_said_so_without_the_statement(
    whole: TestClient, store: Store
) -> None:
    answer = _answer(_next(whole), 1, 2, 3)
    with store.database.writing() as db:
        db.exec_driver_sql("alter table answers rename to elsewhere")
    reply = whole.post("/api/submit", json=answer)
    assert reply.status_code == 503
    assert "no such table: answers" in reply.json()["detail"]
    assert "select" not in reply.text.lower()


def test_campaigns_and_labelers_that_cannot_be_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="no campaign named 'nothing'"):
        create_app(store.address, "nothing", labeler_id="ada")
    with pytest.raises(ValueError, match="cannot be a labeler's id"):
        create_app(store.address, "replies", labeler_id="ada@example.org")


def test_the_default_labeler_is_a_pseudonym(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "Ada Lovelace")
    name = default_labeler_id()
    assert name == default_labeler_id() == check_labeler_id(name)
    assert "ada" not in name.lower()
    monkeypatch.setenv("LOGNAME", "Grace Hopper")
    assert default_labeler_id() != name


# The routes around an answer: facts, consent, changes, drafts, flags, own answers


def test_the_facts_of_a_campaign_hold_what_the_page_needs(client: TestClient, store: Store) -> None:
    client.post("/api/next")
    store.change_campaign(store.campaign("replies"), by="lead", guidelines="New.", note="Read it.")
    store.change_campaign(store.campaign("replies"), by="lead", settings={"gold_share": 0.2})
    store.change_campaign(store.campaign("replies"), by="lead", settings={"pay_per_answer": 2.0})
    facts = client.get("/api/campaign").json()
    assert (facts["name"], facts["mode"], facts["guidelines"]) == ("replies", "rank", "New.")
    assert (facts["version"], facts["guidelines_version"]) == (4, 2)
    assert [
        (row["version"], row["note"], row["guidelines_changed"]) for row in facts["changes"]
    ] == [
        (2, "Read it.", True),
        (4, "", False),  # that checks are mixed in is not told to those who are checked
    ]
    assert "lead" not in str(facts["changes"])  # who changed it is not told
    assert (facts["role"], facts["review"], facts["next_step"]) == ("admin", True, "rlhf run x")
    assert client.post("/api/told", json={"version": 4}).status_code == 200
    assert client.get("/api/campaign").json()["changes"] == []


def test_another_campaign_is_named_in_the_query_and_members_only_means_it(
    client: TestClient, store: Store
) -> None:
    closed = store.create_campaign("closed", settings={"members_only": True})
    store.add_items(closed, [_item("Secret?")])
    for method, path, body in WORK:
        reply = client.request(method, f"/api/{path}", params={"campaign": "closed"}, json=body)
        assert reply.status_code == 403, path
        assert reply.json()["detail"] == "you are not a member of the campaign 'closed'."
        gone = client.request(method, f"/api/{path}", params={"campaign": "no"}, json=body)
        assert gone.status_code == 404, path
    store.join(closed, "ada")
    item = client.post("/api/next", params={"campaign": "closed"}).json()["item"]
    assert item["turns"][0]["text"] == "Secret?"
    body = _answer(item, 1, 2, 3)
    assert client.post("/api/submit", json=body).status_code == 422  # under another name: not hers
    assert client.post("/api/submit", params={"campaign": "closed"}, json=body).status_code == 200


WORK: list[tuple[str, str, Any]] = [
    ("POST", "next", {}),
    ("POST", "submit", _answer({"item_id": 1, "responses": []})),
    ("POST", "skip", {"item_id": 1}),
    ("POST", "flag", {"item_id": 1, "kind": "other"}),
    ("POST", "draft", {"item_id": 1, "draft": {}}),
    ("POST", "heartbeat", {"item_ids": [1]}),
    ("GET", "mine", None),
    ("GET", "items/1", None),
]


def test_work_waits_for_consent_to_the_newest_guidelines(client: TestClient, store: Store) -> None:
    campaign = store.change_campaign(
        store.campaign("replies"), by="lead", settings={"consent": True}
    )
    for method, path, body in WORK:
        reply = client.request(method, f"/api/{path}", json=body)
        assert reply.status_code == 409, path
        assert "accepted before the work goes on" in reply.json()["detail"]
    assert client.get("/api/campaign").json()["needs_consent"]
    assert client.post("/api/consent", json={"guidelines_version": 7}).status_code == 409
    assert client.post("/api/consent", json={"guidelines_version": 1}).status_code == 200
    assert store.has_consented(campaign, "ada")
    assert not client.get("/api/campaign").json()["needs_consent"]
    assert _next(client) is not None
    store.change_campaign(campaign, by="lead", guidelines="Stricter.")
    assert client.post("/api/next").status_code == 409


def test_items_of_others_can_be_neither_read_nor_touched(client: TestClient, store: Store) -> None:
    task = store.claim(store.campaign("replies"), "bo")
    assert task is not None
    said = Judgement((tuple(sorted(task.shown)),))
    store.submit(task.item_id, "bo", said, submission_id="bo1")
    store.save_draft(task.item_id, "bo", {"secret": 1})
    name = name_of(store.campaign("replies"), "ada", task.item_id)
    one = {"item_id": name}
    for path, body in (
        ("skip", one),
        ("flag", {**one, "kind": "other"}),
        ("draft", {**one, "draft": {}}),
    ):
        reply = client.post(f"/api/{path}", json=body)
        assert (reply.status_code, reply.json()["detail"]) == (
            422,
            "ada was not given this item.",
        )
    assert client.get(f"/api/items/{name}").status_code == 404
    assert client.get("/api/mine").json() == {"answers": []}
    assert client.post("/api/heartbeat", json={"item_ids": [name, 1]}).status_code == 200
    assert store.task(task.item_id, "bo") == replace(task, draft={"secret": 1})


def test_drafts_are_kept_and_given_back_and_limited(client: TestClient, store: Store) -> None:
    item = _next(client)
    draft = {"said": {"numbers": [1, None, None]}, "rationale": "a whole \U0001f600 pair"}
    body = {"item_id": item["item_id"], "draft": draft}
    assert client.post("/api/draft", json=body).status_code == 200
    assert _next(client)["draft"] == draft
    huge = {**body, "draft": {"text": "x" * 60_001}}
    reply = client.post("/api/draft", json=huge)
    assert reply.status_code == 422
    assert "at most 60000 characters" in reply.json()["detail"]
    assert _next(client)["draft"] == draft
    client.post("/api/submit", json=_answer(item, 1, 2, 3))
    assert client.get(f"/api/items/{item['item_id']}").json()["draft"] is None


def test_own_answers_are_listed_opened_and_corrected(client: TestClient, store: Store) -> None:
    items = []
    for ranks in ((1, 2, 3), (2, 2, 1)):
        items.append(_next(client))
        client.post("/api/submit", json=_answer(items[-1], *ranks, rationale=" why\x00 "))
    listed = client.get("/api/mine").json()["answers"]
    assert [row["item_id"] for row in listed] == [item["item_id"] for item in reversed(items)]
    assert [row["title"] for row in listed] == ["Question 1?", "Question 0?"]
    assert len(client.get("/api/mine", params={"limit": 1}).json()["answers"]) == 1
    assert client.get("/api/mine", params={"limit": 0}).status_code == 422
    first = items[0]
    opened = client.get(f"/api/items/{first['item_id']}").json()
    ids = [response["id"] for response in first["responses"]]
    assert opened["responses"] == first["responses"]
    assert opened["answer"] == {
        "ranks": dict(zip(ids, (1, 2, 3), strict=True)),
        "none_acceptable": False,
    }
    assert opened["rationale"] == "why\ufffd"
    client.post("/api/submit", json=_answer(first, 3, 2, 1))
    rankings = store.rankings(store.campaign("replies"), with_superseded=True)
    assert [ranking.supersedes for ranking in rankings] == [None, None, rankings[0].id]
    assert len(client.get("/api/mine").json()["answers"]) == 2


def test_only_reviewers_review_and_see_orders_without_names(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db") as store:
        campaign = store.create_campaign("replies")
        store.add_items(campaign, [_item("Which?", wanted=2)])
        for labeler, turn in (("bo", 1), ("cy", -1)):
            task = store.claim(campaign, labeler)
            assert task is not None
            order = tuple((one,) for one in sorted(task.shown)[::turn])
            store.submit(task.item_id, labeler, Judgement(order), submission_id=labeler)
        store.open_reviews(campaign)
        roles: dict[str, Role] = {"ada": "labeler", "rex": "reviewer"}

        def visitor(request: Request) -> Visitor:
            name = request.headers["x-name"]
            return Visitor(name, roles[name])

        app = FastAPI()
        app.include_router(ranking_routes(store, campaign.name, visitor, "rlhf run x"))
        with TestClient(app) as client:
            review = {"review": "true"}
            ada, rex = {"x-name": "ada"}, {"x-name": "rex"}
            assert client.post("/api/next", params=review, headers=ada).status_code == 403
            facts = client.get("/api/campaign", headers=ada).json()
            assert (facts["review"], facts["next_step"]) == (False, "")
            reply = client.post("/api/next", params=review, headers=rex)
        item = reply.json()["item"]
        ids = sorted(response["id"] for response in item["responses"])
        assert item["mode"] == "review"
        orders = [[[one] for one in ids], [[one] for one in ids[::-1]]]
        assert item["votes"] == [{"groups": groups, "none": False} for groups in orders]
        assert '"bo"' not in reply.text
        assert '"cy"' not in reply.text


@pytest.mark.parametrize("kind", ["gold", "repeat", "identical"])
def test_no_reply_tells_a_check_from_work(tmp_path: Path, kind: str) -> None:
    """Every item is answered; the keys of replies, the ids, the steps of the counts are alike."""
    settings = {f"{kind}_share": 0.5, "repeat_after": 1}
    with Store(tmp_path / "store.db") as store:
        campaign = store.create_campaign("replies", settings=settings)
        work = [_item(f"Question {n}?") for n in range(12)]
        golden = [_item(f"Gold {n}?") for n in range(6)]
        store.add_items(campaign, work)
        if kind == "gold":
            store.add_items(
                campaign,
                [replace(item, expected=tuple((r.id,) for r in item.responses)) for item in golden],
            )
        app = _routes(store, "replies")
        shapes, ids, steps, done = set(), [], set(), 0
        with TestClient(app) as client:
            while (item := _next(client)) is not None:
                shapes.add((*item, *item["responses"][0]))
                ids += [response["id"] for response in item["responses"]]
                reply = client.post("/api/submit", json=_answer(item, 1, 2, 3))
                assert reply.status_code == 200
                opened = client.get(f"/api/items/{item['item_id']}").json()
                assert set(opened["answer"]["ranks"]) == {row["id"] for row in item["responses"]}
                progress = reply.json()["progress"]
                if progress["done"] < progress["wanted"]:
                    steps.add(progress["done"] - done)
                done = progress["done"]
        with store.database.reading() as db:
            given = db.exec_driver_sql(
                "select count(*) from assignments join items on items.id = item_id where kind = ?",
                (kind,),
            ).scalar_one()
        assert given >= 1  # there were checks among them
        assert len(shapes) == 1
        assert steps == {1}
        assert all(re.fullmatch(r"response-[0-9a-f]{16}", one) for one in ids)


def test_half_a_surrogate_pair_passes_and_is_refused_in_a_note(
    client: TestClient, store: Store
) -> None:
    prompt = Prompt.of("Half?")
    answers = (Response("r-1", prompt.id, "\ud800"), Response("r-2", prompt.id, "x\x00"))
    campaign = store.create_campaign("half")
    store.add_items(campaign, [Item(prompt, answers)])
    here = {"campaign": "half"}
    item = client.post("/api/next", params=here).json()["item"]
    assert sorted(response["text"] for response in item["responses"]) == ["x\x00", "\ud800"]
    body = json.dumps({"item_id": item["item_id"], "reason": "\ud800"})
    reply = client.post(
        "/api/skip", params=here, content=body, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith("reason: ")


@pytest.mark.parametrize("number", [-1, 2**48, 2**63, 10**30, "1", 1.5, None])
def test_numbers_that_no_store_can_hold_are_refused_in_one_sentence(
    client: TestClient, number: Any
) -> None:
    for path, body in (("skip", {"item_id": number}), ("heartbeat", {"item_ids": [number]})):
        reply = client.post(f"/api/{path}", json=body)
        assert reply.status_code == 422
        assert isinstance(reply.json()["detail"], str)
    assert client.get(f"/api/items/{number}").status_code in (404, 422)
