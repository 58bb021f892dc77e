"""What the routes of the ranking page refuse, and how they say so."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from ranking_client import an_answer, an_item, next_item, routes_of

from labeling_app.labelers import check_labeler_id, default_labeler_id
from labeling_app.server import create_app
from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Item, Judgement, Store

pytest_plugins = ["ranking_fixtures"]


def _strangers(item: dict[str, Any]) -> dict[str, int]:
    return {response["id"] + "x": 1 for response in item["responses"]}


FORGED: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
    lambda item: {"ranks": dict(list(an_answer(item, 1, 2, 3)["answer"]["ranks"].items())[:2])},
    lambda item: {"ranks": {}},
    lambda item: {"ranks": _strangers(item)},
    lambda item: {"ranks": {**an_answer(item, 1, 2, 3)["answer"]["ranks"], "response-0": 1}},
    lambda item: {"ranks": dict.fromkeys(an_answer(item, 1, 2, 3)["answer"]["ranks"], 0)},
    lambda item: {"ranks": dict.fromkeys(an_answer(item, 1, 2, 3)["answer"]["ranks"], 10)},
    lambda item: {"ranks": dict.fromkeys(an_answer(item, 1, 2, 3)["answer"]["ranks"], "1")},
    lambda item: {"ranks": dict.fromkeys(an_answer(item, 1, 2, 3)["answer"]["ranks"], True)},
    lambda item: {"ranks": dict.fromkeys(an_answer(item, 1, 2, 3)["answer"]["ranks"], 1.5)},
    lambda item: {"ranks": [1, 2, 3]},
    lambda item: {"item_id": 999},
    lambda item: {"item_id": item["item_id"] + 1},  # never given to this labeler
    lambda item: {"submission_id": "1"},
    lambda item: {"duration_seconds": -1},
    lambda item: {"labeler_id": "bo"},
    lambda item: {"none_acceptable": "yes"},
]


def _forged(item: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    body = an_answer(item, 1, 2, 3)
    place = body["answer"] if set(change) & set(body["answer"]) else body
    place.update(change)
    return body


def test_what_the_browser_must_not_send_is_refused(client: TestClient, replies: Store) -> None:
    item = next_item(client)
    for change in FORGED:
        body = _forged(item, change(item))
        assert client.post("/api/submit", json=body).status_code == 422, change(item)
    assert replies.rankings(replies.campaign("replies")) == []


def test_a_page_that_was_open_for_days_can_still_send_its_answer(
    client: TestClient, replies: Store
) -> None:
    body = _forged(next_item(client), {"duration_seconds": 3 * 86_400.0})
    assert client.post("/api/submit", json=body).status_code == 200
    (ranking,) = replies.rankings(replies.campaign("replies"))
    assert ranking.duration_seconds == 86_400.0


def test_other_sites_and_other_hosts_cannot_write(whole_app: TestClient, replies: Store) -> None:
    answer = an_answer(next_item(whole_app), 1, 2, 3)
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
        reply = whole_app.post("/api/submit", json=answer, headers=headers)
        assert reply.status_code == status, headers
        assert replies.rankings(replies.campaign("replies")) == []
    reply = whole_app.post("/api/submit", json=answer, headers={"Sec-Fetch-Site": "same-origin"})
    assert reply.status_code == 200


def test_nothing_but_the_routes_can_be_written_to(whole_app: TestClient) -> None:
    for path in ("upload", "queue/join", "run/predict", "component_server"):
        assert whole_app.post(f"/gradio_api/{path}", json={}).status_code == 405
    assert whole_app.post("/login", json={}).status_code == 405


def test_every_answer_carries_the_security_headers(whole_app: TestClient) -> None:
    for path in ("/", "/api/campaign", "/page/ranking.js", "/nowhere"):
        headers = whole_app.get(path, headers={"Origin": "http://evil.test"}).headers
        assert "img-src 'self' data:" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("check", ["work", "gold", "repeat", "identical"])
def test_an_item_with_more_responses_than_letters_blocks_nobody(tmp_path: Path, check: str) -> None:
    shares = {} if check == "work" else {f"{check}_share": 0.5, "repeat_after": 1}
    with Store(tmp_path / "many.db") as replies:
        campaign = replies.create_campaign("many", settings=shares)
        first, second, last = [an_item(f"Which {n}?", count=10) for n in range(3)]
        expected = tuple((one.id,) for one in first.responses)
        first = replace(first, expected=expected) if check == "gold" else first
        short = [an_item("Short?"), an_item("Another?")]
        replies.add_items(campaign, [first, second, *short, last])
        held = replies.claim(campaign, "ada")  # as the page did before
        assert held is not None
        assert len(held.responses) == 10
        if check == "repeat":
            said = Judgement(tuple((one,) for one in held.shown))
            replies.submit(held.item_id, "ada", said, submission_id="s1")
        with TestClient(routes_of(replies, "many")) as client:
            asked = [client.post("/api/next").json()["item"]]
            while asked[-1] is not None:
                sent = an_answer(asked[-1], 1, 2, 3)
                reply = client.post("/api/submit", json=sent, params={"ahead": True})
                assert reply.status_code == 200
                asked.append(reply.json()["item"])
            assert client.post("/api/next").json()["item"] is None
    shown = {item["turns"][0]["text"] for item in asked[:-1]}
    assert shown == {"Short?", "Another?"}


def test_a_store_that_fails_is_said_so_without_the_statement(
    whole_app: TestClient, replies: Store
) -> None:
    answer = an_answer(next_item(whole_app), 1, 2, 3)
    with replies.database.writing() as db:
        db.exec_driver_sql("alter table answers rename to elsewhere")
    reply = whole_app.post("/api/submit", json=answer)
    assert reply.status_code == 503
    assert "no such table: answers" in reply.json()["detail"]
    assert "select" not in reply.text.lower()


def test_campaigns_and_labelers_that_cannot_be_are_refused(replies: Store) -> None:
    with pytest.raises(ValueError, match="no campaign named 'nothing'"):
        create_app(replies.address, "nothing", labeler_id="ada")
    with pytest.raises(ValueError, match="cannot be a labeler's id"):
        create_app(replies.address, "replies", labeler_id="ada@example.org")


def test_the_default_labeler_is_a_pseudonym(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "Ada Lovelace")
    name = default_labeler_id()
    assert name == default_labeler_id() == check_labeler_id(name)
    assert "ada" not in name.lower()
    monkeypatch.setenv("LOGNAME", "Grace Hopper")
    assert default_labeler_id() != name


def test_half_a_surrogate_pair_passes_and_is_refused_in_a_note(
    client: TestClient, replies: Store
) -> None:
    prompt = Prompt.of("Half?")
    answers = (Response("r-1", prompt.id, "\ud800"), Response("r-2", prompt.id, "x\x00"))
    campaign = replies.create_campaign("half")
    replies.add_items(campaign, [Item(prompt, answers)])
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
