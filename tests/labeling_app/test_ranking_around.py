"""The routes around an answer: facts, consent, changes, drafts, flags, own answers, reviews."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from ranking_client import an_answer, an_item, next_item, routes_of

from labeling_app.item_names import item_named, name_of
from labeling_app.routes import ranking_routes
from labeling_app.visitors import Role, Visitor
from rlhf.feedback.store import Judgement, Store

pytest_plugins = ["ranking_fixtures"]


def test_the_facts_of_a_campaign_hold_what_the_page_needs(
    client: TestClient, replies: Store
) -> None:
    client.post("/api/next")
    replies.change_campaign(
        replies.campaign("replies"), by="lead", guidelines="New.", note="Read it."
    )
    replies.change_campaign(replies.campaign("replies"), by="lead", settings={"gold_share": 0.2})
    replies.change_campaign(
        replies.campaign("replies"), by="lead", settings={"pay_per_answer": 2.0}
    )
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
    client: TestClient, replies: Store
) -> None:
    closed = replies.create_campaign("closed", settings={"members_only": True})
    replies.add_items(closed, [an_item("Secret?")])
    for method, path, body in WORK:
        reply = client.request(method, f"/api/{path}", params={"campaign": "closed"}, json=body)
        assert reply.status_code == 403, path
        assert reply.json()["detail"] == "you are not a member of the campaign 'closed'."
        gone = client.request(method, f"/api/{path}", params={"campaign": "no"}, json=body)
        assert gone.status_code == 404, path
    replies.join(closed, "ada")
    item = client.post("/api/next", params={"campaign": "closed"}).json()["item"]
    assert item["turns"][0]["text"] == "Secret?"
    body = an_answer(item, 1, 2, 3)
    assert client.post("/api/submit", json=body).status_code == 422  # under another name: not hers
    assert client.post("/api/submit", params={"campaign": "closed"}, json=body).status_code == 200


WORK: list[tuple[str, str, Any]] = [
    ("POST", "next", {}),
    ("POST", "submit", an_answer({"item_id": 1, "responses": []})),
    ("POST", "skip", {"item_id": 1}),
    ("POST", "flag", {"item_id": 1, "kind": "other"}),
    ("GET", "mine", None),
    ("GET", "items/1", None),
]


def test_work_waits_for_consent_to_the_newest_guidelines(
    client: TestClient, replies: Store
) -> None:
    campaign = replies.change_campaign(
        replies.campaign("replies"), by="lead", settings={"consent": True}
    )
    for method, path, body in WORK:
        reply = client.request(method, f"/api/{path}", json=body)
        assert reply.status_code == 409, path
        assert "accepted before the work goes on" in reply.json()["detail"]
    assert client.get("/api/campaign").json()["needs_consent"]
    assert client.post("/api/consent", json={"guidelines_version": 7}).status_code == 409
    assert client.post("/api/consent", json={"guidelines_version": 1}).status_code == 200
    assert replies.has_consented(campaign, "ada")
    assert not client.get("/api/campaign").json()["needs_consent"]
    assert next_item(client) is not None
    replies.change_campaign(campaign, by="lead", guidelines="Stricter.")
    assert client.post("/api/next").status_code == 409


def test_what_was_begun_is_kept_while_new_guidelines_are_read(
    client: TestClient, replies: Store
) -> None:
    item = next_item(client)
    campaign = replies.change_campaign(
        replies.campaign("replies"), by="lead", settings={"consent": True}
    )
    began = time.time()
    draft = {"item_id": item["item_id"], "draft": {"said": 1}}
    assert client.post("/api/draft", json=draft).status_code == 200
    beat = client.post("/api/heartbeat", json={"item_ids": [item["item_id"]]})
    assert (beat.status_code, beat.json()["version"]) == (200, campaign.version)
    item_id = item_named(campaign, "ada", item["item_id"])
    task = replies.task(item_id, "ada", campaign)
    assert task is not None
    assert task.draft == {"said": 1}
    assert task.leased_until >= began + 30 * 60


def test_items_of_others_can_be_neither_read_nor_touched(
    client: TestClient, replies: Store
) -> None:
    task = replies.claim(replies.campaign("replies"), "bo")
    assert task is not None
    said = Judgement((tuple(sorted(task.shown)),))
    replies.submit(task.item_id, "bo", said, submission_id="bo1")
    replies.save_draft(task.item_id, "bo", {"secret": 1})
    name = name_of(replies.campaign("replies"), "ada", task.item_id)
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
    assert replies.task(task.item_id, "bo") == replace(task, draft={"secret": 1})


def test_drafts_are_kept_and_given_back_and_limited(client: TestClient, replies: Store) -> None:
    item = next_item(client)
    draft = {"said": {"numbers": [1, None, None]}, "rationale": "a whole \U0001f600 pair"}
    body = {"item_id": item["item_id"], "draft": draft}
    assert client.post("/api/draft", json=body).status_code == 200
    assert next_item(client)["draft"] == draft
    huge = {**body, "draft": {"text": "x" * 60_001}}
    reply = client.post("/api/draft", json=huge)
    assert reply.status_code == 422
    assert "at most 60000 characters" in reply.json()["detail"]
    assert next_item(client)["draft"] == draft
    client.post("/api/submit", json=an_answer(item, 1, 2, 3))
    assert client.get(f"/api/items/{item['item_id']}").json()["draft"] is None


def test_own_answers_are_listed_opened_and_corrected(client: TestClient, replies: Store) -> None:
    items = []
    for ranks in ((1, 2, 3), (2, 2, 1)):
        items.append(next_item(client))
        client.post("/api/submit", json=an_answer(items[-1], *ranks, rationale=" why\x00 "))
    listed = client.get("/api/mine").json()["answers"]
    assert [row["item_id"] for row in listed] == [item["item_id"] for item in reversed(items)]
    assert [row["title"] for row in listed] == ["Question 1?", "Question 0?"]
    assert len(client.get("/api/mine", params={"limit": 1}).json()["answers"]) == 1
    rest = client.get("/api/mine", params={"limit": 1, "offset": 1}).json()["answers"]
    assert [row["title"] for row in rest] == ["Question 0?"]
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
    client.post("/api/submit", json=an_answer(first, 3, 2, 1))
    rankings = replies.rankings(replies.campaign("replies"), with_superseded=True)
    assert [ranking.supersedes for ranking in rankings] == [None, None, rankings[0].id]
    assert len(client.get("/api/mine").json()["answers"]) == 2


def test_only_reviewers_review_and_see_orders_without_names(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db") as replies:
        campaign = replies.create_campaign("replies")
        replies.add_items(campaign, [an_item("Which?", wanted=2)])
        for labeler, turn in (("bo", 1), ("cy", -1)):
            task = replies.claim(campaign, labeler)
            assert task is not None
            order = tuple((one,) for one in sorted(task.shown)[::turn])
            replies.submit(
                task.item_id,
                labeler,
                Judgement(order),
                submission_id=labeler,
                rationale=f"{labeler}'s reason",
            )
        replies.open_reviews(campaign)
        roles: dict[str, Role] = {"ada": "labeler", "rex": "reviewer"}

        def visitor(request: Request) -> Visitor:
            name = request.headers["x-name"]
            return Visitor(name, roles[name])

        app = FastAPI()
        app.include_router(ranking_routes(replies, campaign.name, visitor, "rlhf run x"))
        with TestClient(app) as client:
            review = {"review": "true"}
            ada, rex = {"x-name": "ada"}, {"x-name": "rex"}
            assert client.post("/api/next", params=review, headers=ada).status_code == 403
            facts = client.get("/api/campaign", headers=ada).json()
            assert (facts["review"], facts["next_step"]) == (False, "")
            reply = client.post("/api/next", params=review, headers=rex)
            item = reply.json()["item"]
            roles["rex"] = "labeler"  # and so the votes are not for him any more, nor the verdict
            number, answer = {"item_id": item["item_id"]}, an_answer(item, 1, 2, 3)
            for method, path, body in (
                ("GET", f"items/{item['item_id']}", None),
                ("POST", "submit", answer),
                ("POST", "draft", {**number, "draft": {}}),
                ("POST", "flag", {**number, "kind": "other"}),
                ("POST", "skip", number),
            ):
                refused = client.request(method, f"/api/{path}", json=body, headers=rex)
                assert refused.status_code == 403, path
                assert "votes" not in refused.text
            assert client.post("/api/next", headers=rex).json()["item"] is None
            roles["rex"] = "reviewer"
            assert client.post("/api/submit", json=answer, headers=rex).status_code == 200
        ids = sorted(response["id"] for response in item["responses"])
        assert item["mode"] == "review"
        orders = [[[one] for one in ids], [[one] for one in ids[::-1]]]
        assert item["votes"] == [
            {"groups": groups, "none": False, "rationale": why}
            for groups, why in zip(orders, ("bo's reason", "cy's reason"), strict=True)
        ]
        assert '"bo"' not in reply.text
        assert '"cy"' not in reply.text


@pytest.mark.parametrize("kind", ["gold", "repeat", "identical"])
def test_no_reply_tells_a_check_from_work(tmp_path: Path, kind: str) -> None:
    """Every item is answered; the keys of replies, the ids, the steps of the counts are alike."""
    settings = {f"{kind}_share": 0.5, "repeat_after": 1}
    with Store(tmp_path / "store.db") as replies:
        campaign = replies.create_campaign("replies", settings=settings)
        work = [an_item(f"Question {n}?") for n in range(12)]
        golden = [an_item(f"Gold {n}?") for n in range(6)]
        replies.add_items(campaign, work)
        if kind == "gold":
            replies.add_items(
                campaign,
                [replace(item, expected=tuple((r.id,) for r in item.responses)) for item in golden],
            )
        app = routes_of(replies, "replies")
        shapes, ids, steps, done = set(), [], set(), 0
        with TestClient(app) as client:
            while (item := next_item(client)) is not None:
                shapes.add((*item, *item["responses"][0]))
                ids += [response["id"] for response in item["responses"]]
                reply = client.post("/api/submit", json=an_answer(item, 1, 2, 3))
                assert reply.status_code == 200
                opened = client.get(f"/api/items/{item['item_id']}").json()
                assert set(opened["answer"]["ranks"]) == {row["id"] for row in item["responses"]}
                progress = reply.json()["progress"]
                if progress["done"] < progress["wanted"]:
                    steps.add(progress["done"] - done)
                done = progress["done"]
        with replies.database.reading() as db:
            given = db.exec_driver_sql(
                "select count(*) from assignments join items on items.id = item_id where kind = ?",
                (kind,),
            ).scalar_one()
        assert given >= 1  # there were checks among them
        assert len(shapes) == 1
        assert steps == {1}
        assert all(re.fullmatch(r"response-[0-9a-f]{16}", one) for one in ids)
