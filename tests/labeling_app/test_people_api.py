"""The API for programs: its description, its worked example, its speed beside a single user's."""

import copy
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from fastapi import FastAPI
from team import Team, begin, item, ranked

from labeling_app.api_description import EXAMPLES
from labeling_app.server import create_app
from labeling_app.sessions import REMEMBERED_SECONDS
from rlhf.feedback import sessions
from rlhf.feedback.store import Store

API_PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    with Store(tmp_path / "store.db") as store:
        campaign = store.create_campaign("my replies")
        store.add_items(campaign, [item(f"Question {n}?", wanted=9) for n in range(60)])
        yield Team(store, create_app(store.address, "my replies", accounts=True), time.time())


def _served(app: FastAPI) -> tuple[str, Callable[[], None]]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(5)
        listening.close()

    return f"http://127.0.0.1:{listening.getsockname()[1]}", stop


def test_the_worked_example_saves_one_ranking(team: Team) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", API_PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    lead = team.browser("lead")
    asked = {"name": "worker 17", "days": 30, "new_labeler": True, "campaign": "my replies"}
    made = lead.post("/api/tokens", json=asked).json()
    url, stop = _served(team.app)
    try:
        environment = {
            **os.environ,
            "URL": url,
            "TOKEN": made["token"],
            "CAMPAIGN": "my replies",
        }
        script = "set -euo pipefail\n" + "\n".join(blocks)
        ran = subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60
        )
    finally:
        stop()
    assert ran.returncode == 0, ran.stderr
    replies = [json.loads(line) for line in re.findall(r"\{.*?\}\}", ran.stdout)]
    assert len(replies) == 2
    assert replies[0] == replies[1]
    assert replies[0]["progress"]["mine"] == 1
    (ranking,) = team.store.rankings(team.store.campaign("my replies"))
    assert (ranking.id, ranking.labeler_id) == (replies[0]["answer_id"], made["labeler_id"])
    assert ranking.shown == tuple(one for group in ranking.groups for one in group)
    assert ranking.rationale == "The first one answers the question."
    assert made["labeler_id"] != team.ids["lead"]


def test_a_token_is_listed_without_its_secret_and_can_be_revoked(team: Team) -> None:
    browser = team.browser("labeler")
    made = browser.post("/api/tokens", json={"name": "my script", "days": 1}).json()
    program = team.program(made["token"])
    assert program.get("/api/me").json()["labeler_id"] == team.ids["labeler"]
    listed = browser.get("/api/tokens")
    assert [row["name"] for row in listed.json()] == ["my script"]
    assert made["token"] not in listed.text
    # What a token must not do: keep itself alive, or lock its owner out.
    for method, path, body in (
        ("POST", "tokens", {"name": "child"}),
        ("POST", "password", {"old": "x", "new": "y"}),
        ("POST", "logout", None),
        ("DELETE", f"tokens/{made['id']}", None),
    ):
        assert program.request(method, f"/api/{path}", json=body).status_code == 403, path
    assert browser.delete(f"/api/tokens/{made['id']}").status_code == 200
    assert program.get("/api/me").status_code == 401
    assert browser.delete(f"/api/tokens/{made['id']}").status_code == 404
    refused = browser.post("/api/tokens", json={"name": "x", "new_labeler": True})
    assert refused.status_code == 403


def test_a_lead_revokes_a_programs_token_but_not_a_persons(team: Team) -> None:
    lead = team.browser("lead")
    made = lead.post("/api/tokens", json={"name": "worker", "new_labeler": True}).json()
    (listed,) = lead.get(f"/api/tokens?labeler_id={made['labeler_id']}").json()
    assert listed["id"] == made["id"]
    own = team.browser("other").post("/api/tokens", json={"name": "mine"}).json()
    assert lead.delete(f"/api/tokens/{own['id']}").status_code == 404
    assert lead.get(f"/api/tokens?labeler_id={team.ids['other']}").status_code == 403
    assert lead.delete(f"/api/tokens/{made['id']}").status_code == 200
    assert team.program(made["token"]).get("/api/me").status_code == 401
    login = {"login": made["labeler_id"], "password": ""}
    assert team.browser(None).post("/api/login", json=login).status_code in (401, 422)


def test_revocation_elsewhere_is_honoured_within_the_time_said(team: Team) -> None:
    secret = begin(team.store, team.ids["labeler"], team.moment)
    team.secrets["labeler"] = secret
    browser = team.browser("labeler")
    assert browser.get("/api/me").status_code == 200
    with team.store.database.writing() as db:  # by another process: no one told this one
        sessions.revoke_secret(db, sessions.digest_of(secret))
    asked = time.monotonic()
    while browser.get("/api/me").status_code == 200:
        assert time.monotonic() - asked < REMEMBERED_SECONDS + 1
        time.sleep(0.2)
    # In this process it ends at once.
    team.secrets["labeler"] = begin(team.store, team.ids["labeler"], team.moment)
    assert team.browser("labeler").post("/api/logout").status_code == 200
    assert team.browser("labeler").get("/api/me").status_code == 401


def test_a_role_that_is_taken_away_is_gone_at_once(team: Team) -> None:
    lead, admin = team.browser("lead"), team.browser("admin")
    assert lead.get("/api/invitations").status_code == 200
    mine = f"/api/accounts/{team.ids['lead']}"
    assert admin.patch(mine, json={"role": "labeler"}).status_code == 200
    assert lead.get("/api/invitations").status_code == 403
    assert admin.patch(mine, json={"active": False}).status_code == 200
    assert lead.get("/api/me").status_code == 401


def test_every_operation_is_described(team: Team) -> None:
    described = team.browser("labeler").get("/api/openapi.json").json()
    assert set(described["components"]["securitySchemes"]) == {"token", "session"}
    bare = []
    for path, operations in described["paths"].items():
        assert path.startswith("/api/")
        for method, operation in operations.items():
            content = operation["responses"]["200"].get("content", {}).get("application/json", {})
            told = "$ref" in json.dumps(content) or "example" in content
            assert operation.get("description"), (method, path)
            assert operation.get("summary"), (method, path)
            if not told:
                bare.append(path)
            assert "security" in operation
    ours = {"/api/campaign", "/api/openapi.json"}  # the page's texts; this document
    assert {path for path in bare if not path.startswith("/api/lead/")} <= ours


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(part) for key, part in value.items()}
    return [_shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def test_the_examples_have_the_shape_of_real_answers(team: Team) -> None:
    browser = team.browser("labeler")
    found = browser.post("/api/next").json()
    replies = {
        "/api/next": found,
        "/api/submit": browser.post("/api/submit", json=ranked(found["item"], str(uuid4()))).json(),
    }
    second = browser.post("/api/next").json()["item"]["item_id"]
    sent = {
        "/api/draft": {"item_id": second, "draft": {}},
        "/api/flag": {"item_id": second, "kind": "other"},
        "/api/heartbeat": {"item_ids": [second]},
        "/api/told": {"version": 1},
        "/api/consent": {"guidelines_version": 1},
        "/api/skip": {"item_id": second},
    }
    replies |= {path: browser.post(path, json=body).json() for path, body in sent.items()}
    replies["/api/mine"] = browser.get("/api/mine").json()
    own = browser.get(f"/api/items/{found['item']['item_id']}").json()
    replies["/api/items/{item_id}"] = own
    assert len(own["answer"].pop("ranks")) == len(own["responses"])  # its keys are ids
    assert set(replies) == set(EXAMPLES)
    for path, reply in replies.items():
        example = copy.deepcopy(EXAMPLES[path])
        example.get("answer", {}).pop("ranks", None)
        assert _shape(reply) == _shape(example), path
