"""The lead's routes on a real store: who may call them, what they change, what they refuse."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from lead_site import lead_app
from sqlalchemy import select

from labeling_app.lead_actions import MAX_UPLOAD_BYTES
from labeling_app.visitors import ROLES
from rlhf.data.identity import Json
from rlhf.data.records import Prompt, Response
from rlhf.feedback.schema import audit, items
from rlhf.feedback.store import Campaign, Item, Judgement, Store

NOW = 1_767_603_600.0
LABELERS = ("labeler-aa", "labeler-bb", "labeler-cc")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def campaign(store: Store) -> Campaign:
    """Four items; three labelers rank each, the last of them the other way round."""
    made = store.create_campaign("Replies", settings={"overlap": 3, "overlap_share": 1.0})
    prompts = [Prompt.of(f"Which is number {number}?") for number in range(4)]
    store.add_items(made, [_item(prompt) for prompt in prompts])
    for labeler in LABELERS:
        while (task := store.claim(made, labeler, now=NOW)) is not None:
            order = sorted(task.shown, reverse=labeler == "labeler-cc")
            store.submit(
                task.item_id,
                labeler,
                Judgement(tuple((one,) for one in order)),
                submission_id=str(uuid.uuid4()),
                duration_seconds=30.0,
                now=NOW + 30,
            )
    return made


def _item(prompt: Prompt) -> Item:
    texts = ("one", "two", "three")
    return Item(prompt, tuple(Response.of(prompt.id, one, model="secret") for one in texts), 0)


@pytest.fixture
def client(store: Store, campaign: Campaign) -> TestClient:
    return TestClient(lead_app(store, clock=lambda: NOW + 60))


def quality_of(client: TestClient) -> dict[str, Any]:
    """What is counted, once it is: on a busy machine that takes a while."""
    for _ in range(60):
        counted: dict[str, Any] = client.get("/api/lead/quality").json()
        if counted["ready"]:
            return counted
    raise AssertionError("the quality was not counted in a minute")


def log_of(store: Store) -> list[tuple[str, str, str]]:
    with store.database.reading() as db:
        rows = db.execute(select(audit).order_by(audit.c.number)).all()
    return [(row.actor, row.action, row.subject) for row in rows]


def lines(*rows: Any) -> str:
    return "\n".join(json.dumps(row) for row in rows)


CALLS: list[tuple[str, str, Any]] = [
    ("GET", "/api/lead/overview", None),
    ("GET", "/api/lead/quality", None),
    ("GET", "/api/lead/texts", None),
    ("GET", "/api/lead/items", None),
    ("GET", "/api/lead/items/1", None),
    ("GET", "/api/lead/export", None),
    ("POST", "/api/lead/campaigns", {"name": "new", "mode": "rate"}),
    ("POST", "/api/lead/change", {"version": 1, "note": "n", "settings": {"overlap": 2}}),
    ("POST", "/api/lead/items", "{}"),
    ("POST", "/api/lead/model", "{}"),
    ("POST", "/api/lead/gold", {"item_id": 1, "expected": None}),
    ("POST", "/api/lead/priorities", {"priorities": [{"item_id": 1, "priority": 1}]}),
    ("POST", "/api/lead/review", {"item_id": 1}),
    ("POST", "/api/lead/reviews", {"below": 0.5}),
]


def test_every_route_is_for_leads_and_above(store: Store, campaign: Campaign) -> None:
    called = {(method, path.replace("items/1", "items/{item_id}")) for method, path, _ in CALLS}
    app = lead_app(store)
    there = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        if path.startswith("/api/lead/")
        for method in methods
    }
    assert there == called
    before = log_of(store)
    for role in ROLES[: ROLES.index("lead")]:
        client = TestClient(lead_app(store, role))
        for method, path, body in CALLS:
            reply = client.request(method, path, content=body if isinstance(body, str) else None,
                                   json=None if isinstance(body, str) else body)  # fmt: skip
            assert reply.status_code == 403, (role, path)
    assert log_of(store) == before
    for role in ("lead", "admin"):
        assert TestClient(lead_app(store, role)).get("/api/lead/overview").status_code == 200


def test_overview_and_quality(client: TestClient) -> None:
    said = client.get("/api/lead/overview?campaign=Replies").json()
    assert said["progress"]["wanted"] == said["progress"]["done"] == 12
    assert (said["pace"]["per_hour"], said["pace"]["recent"]) == (72.0, 12)  # in ten minutes
    counted = quality_of(client)
    assert counted["too_long"] == 0
    # Each item: aa and bb alike, cc against both.
    assert counted["agreement"]["strict"]["value"] == pytest.approx(1 / 3)
    assert counted["agreement"]["strict"]["count"] == 36
    assert [one["share"] for one in counted["disputes"]] == [pytest.approx(1 / 3)] * 4
    assert counted["disputes"][0]["excerpt"].startswith("Which is number")
    shares = counted["labelers"][0]["shares"]["others"]
    assert (shares["value"], shares["of"], shares["needed"]) == (None, 4, 20)
    assert client.get("/api/lead/overview?campaign=Nothing").status_code == 404


def test_an_item_side_by_side_without_the_names_of_models(client: TestClient) -> None:
    found = client.get("/api/lead/items?search=NUMBER 2").json()
    assert (found["count"], found["items"][0]["answers"]) == (1, 3)
    item = client.get(f"/api/lead/items/{found['items'][0]['item_id']}")
    assert {vote["labeler_id"] for vote in item.json()["votes"]} == set(LABELERS)
    assert {one["text"] for one in item.json()["responses"]} == {"one", "two", "three"}
    assert "secret" not in item.text
    for missing in (0, -1, 999, 10**30):
        assert client.get(f"/api/lead/items/{missing}").status_code == 404


@pytest.mark.parametrize("check", ["repeat", "identical"])
def test_a_flag_on_a_check_leads_to_the_item_that_it_is_about(store: Store, check: str) -> None:
    settings = {f"{check}_share": 0.5, "repeat_after": 1}
    made = store.create_campaign("Checked", settings=settings)
    store.add_items(made, [_item(Prompt.of(f"Number {number}?")) for number in range(12)])
    while (task := store.claim(made, "ada")) is not None:
        store.flag(task.item_id, "ada", "broken")
        said = Judgement(tuple((one,) for one in task.shown))
        store.submit(task.item_id, "ada", said, submission_id=str(task.item_id))
    client = TestClient(lead_app(store))
    flags = client.get("/api/lead/overview").json()["flags"]
    assert any(flag["of_item"] for flag in flags)
    for flag in flags:
        about = flag["of_item"] or flag["item_id"]
        assert client.get(f"/api/lead/items/{about}").status_code == 200


def test_ratings_faults_and_strengths_reach_the_lead(store: Store) -> None:
    prompt = Prompt.of("Which?")
    two = tuple(Response.of(prompt.id, text) for text in ("one", "two"))
    first, second = (one.id for one in two)
    client = TestClient(lead_app(store))
    details: dict[str, Json] = {
        "rate": {"ratings": {first: 6, second: 2}, "flags": {second: ["sexual"]}},
        "compare": {"strength": "slightly"},
    }
    for mode, said in details.items():
        made = store.create_campaign(mode, mode=mode)
        store.add_items(made, [Item(prompt, two)])
        task = store.claim(made, "ada")
        assert task is not None
        given = Judgement(((first,), (second,)), details=said)
        store.submit(task.item_id, "ada", given, submission_id=mode)
        facts = client.get(f"/api/lead/overview?campaign={mode}").json()["campaign"]
        assert facts["reviewable"] is True
        (vote,) = client.get(f"/api/lead/items/{task.item_id}?campaign={mode}").json()["votes"]
        nothing = dict.fromkeys(("ratings", "flags", "strength"))
        assert {name: vote[name] for name in nothing} == {**nothing, **said}


def test_what_cannot_be_reviewed_says_so(store: Store) -> None:
    prompt = Prompt.of("Which?")
    made = store.create_campaign("judged", mode="evaluate")
    store.add_items(made, [Item(prompt, tuple(Response.of(prompt.id, one) for one in "ab"))])
    client = TestClient(lead_app(store))
    assert client.get("/api/lead/overview").json()["campaign"]["reviewable"] is False
    assert client.get("/api/lead/items/1").json()["reviewable"] is False


def test_items_that_no_page_can_show_are_counted(store: Store, campaign: Campaign) -> None:
    prompt = Prompt.of("Too many?")
    responses = tuple(Response.of(prompt.id, f"Answer {n}") for n in range(10))
    store.add_items(campaign, [Item(prompt, responses)])
    assert quality_of(TestClient(lead_app(store)))["too_long"] == 1


def test_a_change_makes_a_version_that_labelers_are_told_of(
    client: TestClient, store: Store, campaign: Campaign
) -> None:
    sent = {
        "version": 1,
        "note": "Ties are fine.",
        "guidelines": "New.",
        "settings": {"open": False},
    }
    said = client.post("/api/lead/change", json=sent).json()["campaign"]
    assert (said["version"], said["guidelines_version"], said["settings"]["open"]) == (2, 2, False)
    assert [one.note for one in store.changes(store.campaign("Replies"), "labeler-aa")] == [
        "Ties are fine."
    ]
    assert log_of(store)[-1] == ("labeler-lead", "campaign changed", "Replies version 2")
    old = client.post("/api/lead/change", json=sent)
    assert (old.status_code, "version 2" in old.json()["detail"]) == (409, True)
    bad = {"version": 2, "note": "n", "settings": {"gold_share": 0.9}}
    assert client.post("/api/lead/change", json=bad).status_code == 422
    assert store.campaign("Replies").version == 2


@pytest.mark.parametrize("note", [{}, {"note": "  "}])
def test_checks_can_be_changed_without_a_word_to_those_who_are_checked(
    client: TestClient, store: Store, campaign: Campaign, note: dict[str, str]
) -> None:
    sent = {"version": 1, "settings": {"gold_share": 0.1, "overlap": 3, "overlap_share": 0.2}}
    assert client.post("/api/lead/change", json={**sent, **note}).status_code == 200
    assert store.campaign("Replies").settings.gold_share == 0.1
    assert store.changes(store.campaign("Replies"), "labeler-aa") == []


def test_items_are_added_from_lines_all_of_them(
    client: TestClient, store: Store, campaign: Campaign
) -> None:
    rows = [
        {"prompt": "New?", "responses": ["yes", {"text": "no", "model": "m"}], "wanted": 2},
        {"prompt": [{"role": "user", "content": "Gold?"}], "responses": ["a", "b", "c"],
         "expected": [[2], [1, 3]], "priority": 2},
    ]  # fmt: skip
    body = "\ufeff" + lines(*rows) + "\r\n\n"
    assert client.post("/api/lead/items", content=body.encode()).json() == {"added": 2}
    assert client.post("/api/lead/items", content=body.encode()).json() == {"added": 0}
    held = {item.prompt.text: item for item in store.items(campaign)}
    assert (held["New?"].wanted, held["New?"].responses[1].model) == (2, "m")
    texts = {one.id: one.text for one in held["Gold?"].responses}
    assert held["Gold?"].expected is not None
    assert [sorted(texts[one] for one in group) for group in held["Gold?"].expected] == [
        ["b"],
        ["a", "c"],
    ]
    assert log_of(store)[-2] == ("labeler-lead", "items added", "Replies: 2")


GOOD = {"prompt": "fine?", "responses": ["yes", "no"]}
BAD_LINES: dict[str, Any] = {
    "not JSON": "{",
    "not an object": "[1]",
    "prompt": {"responses": ["a", "b"]},
    "must end in a user turn": {
        "prompt": [{"role": "assistant", "content": "x"}],
        "responses": ["a", "b"],
    },
    "a role": {"prompt": [{"role": "boss", "content": "x"}], "responses": ["a", "b"]},
    "a list of texts": {"prompt": "x", "responses": "ab"},
    "at most 9": {"prompt": "x", "responses": [str(n) for n in range(10)]},
    "two different responses": {"prompt": "x", "responses": ["a", "a"]},
    "'model' is not known": {"prompt": "x", "responses": ["a", "b"], "model": "m"},
    "each of 1 to 2": {"prompt": "x", "responses": ["a", "b"], "expected": [[0], [1]]},
    "groups of numbers": {"prompt": "x", "responses": ["a", "b"], "expected": "12"},
    "up to 100": {"prompt": "x", "responses": ["a", "b"], "wanted": 101},
    "priority": '{"prompt": "x", "responses": ["a", "b"], "priority": NaN}',
    "broken Unicode": '{"prompt": "x \\ud800", "responses": ["a", "b"]}',
    "NUL": '{"prompt": "x", "responses": ["a", "b\\u0000"]}',
    "recursion": "[" * 20_000,
}


@pytest.mark.parametrize("fault", BAD_LINES)
def test_one_bad_line_is_named_and_nothing_is_added(
    client: TestClient, store: Store, campaign: Campaign, fault: str
) -> None:
    bad = BAD_LINES[fault]
    text = f"{lines(GOOD)}\n\n{bad if isinstance(bad, str) else lines(bad)}\n{lines(GOOD)}"
    before, log = len(list(store.items(campaign))), log_of(store)
    reply = client.post("/api/lead/items", content=text.encode())
    assert reply.status_code == 422
    detail = reply.json()["detail"]
    assert detail.startswith("line 3: ")
    assert detail.endswith("Nothing was added.")
    assert fault in detail
    assert (len(list(store.items(campaign))), log_of(store)) == (before, log)


def test_files_are_limited_and_must_be_text(client: TestClient, store: Store) -> None:
    not_text = lines(GOOD).encode() + b"\n\xff\xfe"
    reply = client.post("/api/lead/items", content=not_text)
    assert (reply.status_code, "line 2: not UTF-8" in reply.json()["detail"]) == (422, True)
    without_wall = lead_app(store)
    without_wall.user_middleware.clear()
    large = TestClient(without_wall).post("/api/lead/items", content=b" " * (MAX_UPLOAD_BYTES + 1))
    assert large.status_code == 413
    assert "16 MiB" in large.json()["detail"]


def test_a_models_responses_stand_beside_those_there_are(
    client: TestClient, store: Store, campaign: Campaign
) -> None:
    first = next(iter(store.items(campaign)))
    body = lines(
        {"prompt": first.prompt.text, "response": "four"},
        {"prompt_id": first.prompt.id, "response": "five"},
    )
    assert client.post("/api/lead/model?model=new", content=body).json() == {"added": 2}
    added = list(store.items(campaign))[-2:]
    assert [[one.text for one in item.responses] for item in added] == [
        ["one", "two", "three", "four"],
        ["one", "two", "three", "five"],
    ]
    assert [(item.responses[-1].model, item.wanted) for item in added] == [("new", 3)] * 2
    stranger = client.post(
        "/api/lead/model?model=new", content=lines({"prompt": "?", "response": "x"})
    )
    assert "line 1: the campaign holds no such prompt" in stranger.json()["detail"]


def test_gold_needs_an_order_over_the_items_own_responses(
    client: TestClient, store: Store, campaign: Campaign
) -> None:
    item = client.get("/api/lead/items").json()["items"][0]["item_id"]
    ids = [one["id"] for one in client.get(f"/api/lead/items/{item}").json()["responses"]]
    for wrong in (
        [[ids[0]], ids[1:2]],
        [ids],
        [[*ids[:2], "response-x"], [ids[2]]],
        [[], *[[i] for i in ids]],
    ):
        sent = {"item_id": item, "expected": wrong}
        assert client.post("/api/lead/gold", json=sent).status_code == 422
    sent = {"item_id": item, "expected": [[ids[2]], ids[:2]]}
    assert client.post("/api/lead/gold", json=sent).json() == {"item_id": item, "gold": True}
    assert next(iter(store.items(campaign))).expected == ((ids[2],), (ids[0], ids[1]))
    assert log_of(store)[-1] == ("labeler-lead", "gold marked", f"item {item}")
    client.post("/api/lead/gold", json={"item_id": item, "expected": None})
    assert next(iter(store.items(campaign))).expected is None
    other = client.post("/api/lead/gold", json={"item_id": 999, "expected": None})
    assert "no item 999" in other.json()["detail"]


def test_priorities_and_reviews(client: TestClient, store: Store, campaign: Campaign) -> None:
    sent = {"priorities": [{"item_id": 2, "priority": 5}, {"item_id": 3, "priority": -1.5}]}
    assert client.post("/api/lead/priorities", json=sent).json() == {"set": 2}
    with store.database.reading() as db:
        found = {row.id: row.priority for row in db.execute(select(items))}
    assert (found[1], found[2], found[3]) == (0.0, 5.0, -1.5)
    assert client.post("/api/lead/review", json={"item_id": 1}).json() == {"asked": 1}
    assert client.post("/api/lead/review", json={"item_id": 1}).json() == {"asked": 0}
    assert client.post("/api/lead/reviews", json={"below": 0.3}).json() == {"asked": 0}
    assert client.post("/api/lead/reviews", json={"below": 0.4}).json() == {"asked": 3}
    task = store.claim(campaign, "labeler-rev", review=True)
    assert task is not None
    assert ("labeler-lead", "reviews asked", "Replies: 3 below 0.4") in log_of(store)


def test_an_export_is_sorted_complete_and_leaves_out_only_who_is_named(
    client: TestClient, store: Store, campaign: Campaign
) -> None:
    task = store.task(1, "labeler-aa")
    assert task is not None
    said = Judgement((tuple(sorted(task.shown)),))
    store.submit(1, "labeler-aa", said, submission_id=str(uuid.uuid4()), now=NOW + 90)
    reply = client.get("/api/lead/export")
    rows = [json.loads(line) for line in reply.text.splitlines()]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert len(rows) == 13  # the corrected one is among them
    assert {row["labeler_id"] for row in rows} == set(LABELERS)
    assert log_of(store)[-1][1:] == ("answers exported", "Replies: 13 answers")
    named = client.get("/api/lead/export?without=labeler-cc")
    assert len(named.text.splitlines()) == 9
    assert log_of(store)[-1][2] == "Replies: 9 answers without labeler-cc"
    assert client.get("/api/lead/export?without=nobody").status_code == 422
