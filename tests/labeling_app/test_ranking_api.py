"""The routes of the ranking page on a real store: what they give, save and refuse."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from labeling_app.labelers import check_labeler_id, default_labeler_id
from labeling_app.server import create_app
from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Item, Store

ORIGIN = "http://127.0.0.1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as opened:
        campaign = opened.create_campaign("replies", guidelines="Be fair.")
        opened.add_items(campaign, [_item(f"Question {n}?") for n in range(3)])
        yield opened


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    app = create_app(store.address, "replies", labeler_id="ada", next_step="rlhf run x")
    with TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN}) as opened:
        yield opened


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


def test_the_item_ahead_is_another_one_whatever_their_order(
    client: TestClient, store: Store
) -> None:
    campaign = store.campaign("replies")
    other = store.claim(campaign, "bo", now=0.0)  # its lease is long over: free again
    first = _next(client)
    assert other is not None
    assert first["item_id"] == other.item_id
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


def test_other_sites_and_other_hosts_cannot_write(client: TestClient, store: Store) -> None:
    answer = _answer(_next(client), 1, 2, 3)
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
        reply = client.post("/api/submit", json=answer, headers=headers)
        assert reply.status_code == status, headers
        assert store.rankings(store.campaign("replies")) == []
    reply = client.post("/api/submit", json=answer, headers={"Sec-Fetch-Site": "same-origin"})
    assert reply.status_code == 200


def test_nothing_but_the_routes_can_be_written_to(client: TestClient) -> None:
    for path in ("upload", "queue/join", "run/predict", "component_server"):
        assert client.post(f"/gradio_api/{path}", json={}).status_code == 405
    assert client.post("/login", json={}).status_code == 405


def test_every_answer_carries_the_security_headers(client: TestClient) -> None:
    for path in ("/", "/api/campaign", "/page/ranking.js", "/nowhere"):
        headers = client.get(path, headers={"Origin": "http://evil.test"}).headers
        assert "img-src 'self' data:" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers


def test_an_item_with_more_responses_than_letters_is_named(tmp_path: Path) -> None:
    with Store(tmp_path / "many.db") as store:
        store.add_items(store.create_campaign("many"), [_item("Which?", count=10)])
        app = create_app(store.address, "many", labeler_id="ada")
    with TestClient(app, base_url=ORIGIN) as client:
        reply = client.post("/api/next", headers={"Origin": ORIGIN})
    assert reply.status_code == 422
    assert "has 10 responses" in reply.json()["detail"]


def test_a_store_that_fails_is_said_so_without_the_statement(
    client: TestClient, store: Store
) -> None:
    answer = _answer(_next(client), 1, 2, 3)
    with store.database.writing() as db:
        db.exec_driver_sql("alter table answers rename to elsewhere")
    reply = client.post("/api/submit", json=answer)
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
