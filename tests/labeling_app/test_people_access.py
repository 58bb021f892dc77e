"""Every route called as everybody: a table of who gets what. A route without an entry fails."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fastapi.routing
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from starlette.routing import Mount
from team import ORIGIN, Team, begin, item, ranked

from labeling_app.item_names import name_of
from labeling_app.server import create_app
from rlhf.feedback import people
from rlhf.feedback.roles import ROLES
from rlhf.feedback.schema import labelers
from rlhf.feedback.store import Store

ID = "0123456789abcdef"
NOBODY = "labeler-00000000"
# Who are refused everything, whatever they held before.
GONE = ("nobody", "closed", "withdrawn", "revoked", "expired", "forged", "broken token")
# (method, path): the least role ("" is everybody, signed in or not), whether a token will do, a
# body, and the status for those who may: refusals of what the body asks for are not of the person.
Entry = tuple[str, bool, Any, int]
ROUTES: dict[tuple[str, str], Entry] = {
    ("POST", "/api/login"): ("", True, {"login": "no", "password": "wrong"}, 401),
    ("POST", "/api/invitations/look"): ("", True, {"token": "none"}, 404),
    ("POST", "/api/invitations/accept"): (
        "",
        True,
        {"token": "none", "login": "eve", "password": "wrong"},
        422,
    ),
    ("POST", "/api/invitations/password"): ("", True, {"token": "none", "password": "x"}, 422),
    ("GET", "/sign-in"): ("", True, None, 200),
    ("GET", "/invitation"): ("", True, None, 200),
    ("GET", "/api/me"): ("labeler", True, None, 200),
    ("GET", "/api/campaigns"): ("labeler", True, None, 200),
    ("GET", "/api/openapi.json"): ("labeler", True, None, 200),
    ("GET", "/campaigns"): ("labeler", True, None, 200),
    ("GET", "/account"): ("labeler", True, None, 200),
    ("GET", "/people"): ("lead", True, None, 200),
    ("POST", "/api/password"): ("labeler", False, {"old": "wrong", "new": "wrong"}, 422),
    ("GET", "/api/sessions"): ("labeler", False, None, 200),
    ("DELETE", "/api/sessions/{session_id}"): ("labeler", False, None, 404),
    ("GET", "/api/tokens"): ("labeler", False, None, 200),
    ("POST", "/api/tokens"): ("labeler", False, {"name": "a program"}, 200),
    ("DELETE", "/api/tokens/{token_id}"): ("labeler", False, None, 404),
    ("GET", "/api/accounts"): ("lead", False, None, 200),
    ("PATCH", "/api/accounts/{labeler_id}"): ("admin", False, {"active": True}, 422),
    ("POST", "/api/accounts/{labeler_id}/password-link"): ("admin", False, None, 422),
    ("POST", "/api/accounts/{labeler_id}/campaigns"): ("lead", False, {"campaign": "open"}, 422),
    ("DELETE", "/api/accounts/{labeler_id}/campaigns"): ("lead", False, None, 200),
    ("GET", "/api/invitations"): ("lead", False, None, 200),
    ("POST", "/api/invitations"): ("lead", False, {"role": "labeler"}, 200),
    ("DELETE", "/api/invitations/{invitation_id}"): ("lead", False, None, 404),
    ("GET", "/api/campaign"): ("labeler", True, None, 200),
    ("POST", "/api/next"): ("labeler", True, None, 200),
    ("POST", "/api/submit"): ("labeler", True, {}, 422),
    ("POST", "/api/skip"): ("labeler", True, {}, 422),
    ("POST", "/api/logout"): ("labeler", False, None, 200),  # last: it ends the session
}
# Where routes are many, what holds for all under a path: refused by role, else not by role.
UNDER: dict[str, str] = {"/api/lead": "lead"}
# Work routes that take other bodies than none: each refuses an empty one.
WORK = ("consent", "told", "flag", "draft", "heartbeat", "mine", "items/{item_id}")


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with Store(tmp_path_factory.mktemp("access") / "store.db") as store:
        campaign = store.create_campaign("open")
        store.add_items(campaign, [item(f"Question {n}?") for n in range(3)])
        store.create_campaign("closed campaign", settings={"members_only": True})
        yield Team(store, create_app(store.address, "open", accounts=True), time.time())


@pytest.fixture(scope="module")
def everybody(team: Team) -> dict[str, TestClient]:
    """A browser or program for each role and for each way to be refused."""
    store, now = team.store, team.moment
    for name in ("closed", "withdrawn", "revoked"):
        team.join(name)
    with store.database.writing() as db:
        people.change_account(db, team.ids["closed"], role=None, active=False, by="", moment=now)
        gone = labelers.update().where(labelers.c.id == team.ids["withdrawn"])
        db.execute(gone.values(withdrawn_at="2026-01-01"))
    assert team.browser("revoked").post("/api/logout").status_code == 200
    team.secrets["expired"] = begin(store, team.ids["labeler"], now - 15 * 86_400)
    team.secrets["forged"] = "A" * 43
    clients = {name: team.browser(name) for name in (*ROLES, "other", *GONE[1:-1])}
    clients["nobody"] = team.browser(None)
    clients["broken token"] = team.program("rlhf_nothing")
    token = begin(store, team.ids["admin"], now, "token")
    clients["admin's token"] = team.program(token)
    reset = begin(store, team.ids["admin"], now, "reset")
    clients["password link as a token"] = team.program(reset)
    return clients


def _listed(routes: Any) -> list[Any]:
    """Routes with those of included routers, which newer FastAPI holds back until they are used."""
    return list(getattr(fastapi.routing, "iter_route_contexts", iter)(routes))


def _routes(team: Team) -> list[tuple[str, str]]:
    """Every method and path of the app but those under what is mounted: Gradio and our files."""
    found: list[tuple[str, str]] = []
    mounted = set()
    for route in _listed(team.app.routes):
        if route.methods is None:
            mounted.add(route.path)
        else:
            found += [(method, str(route.path)) for method in sorted(route.methods)]
    assert mounted <= {"/page", "", "/lead"}
    return sorted(found, key=lambda one: one[1] == "/api/logout")


def _entry(method: str, path: str) -> Entry | None:
    if (method, path) in ROUTES:
        return ROUTES[method, path]
    for under, role in UNDER.items():
        if path.startswith(under):
            return (role, True, None if method == "GET" else {}, 0)
    if path.removeprefix("/api/") in WORK:
        return ("labeler", True, None if method == "GET" else {}, 0)
    return None


def _call(client: TestClient, method: str, path: str, body: Any) -> Any:
    for name, value in (("session_id", ID), ("token_id", ID), ("invitation_id", ID)):
        path = path.replace(f"{{{name}}}", value)
    path = path.replace("{labeler_id}", NOBODY).replace("{item_id}", "999999")
    params = (
        {"campaign": "open"} if (method, path.endswith("/campaigns")) == ("DELETE", True) else {}
    )
    if path == "/api/login":  # the same one over and over would be slowed down
        body = {**body, "login": str(uuid4())}
    return client.request(method, path, json=body, params=params)


def test_every_route_as_everybody(team: Team, everybody: dict[str, TestClient]) -> None:
    wrong = []
    routes = _routes(team)
    assert len(routes) >= len(ROUTES)
    for method, path in routes:
        entry = _entry(method, path)
        assert entry is not None, f"say in ROUTES who may {method} {path}"
        role, token_will_do, body, status = entry
        for name, client in everybody.items():
            refused = name in GONE or name == "password link as a token"
            page = not path.startswith("/api/")
            if role == "":
                expected = status
            elif refused:
                expected = 401
            elif ROLES.index(_role(name)) < ROLES.index(role) or not (
                token_will_do or "token" not in name
            ):
                expected = 403
            else:
                expected = status
            reply = _call(client, method, path, body)
            good = reply.status_code == expected
            if expected == 0:
                good = reply.status_code not in (401, 403) and reply.status_code < 500
            if not good:
                wrong.append((method, path, name, expected, reply.status_code, reply.text[:80]))
            if refused and role and page:
                html = client.get(path, headers={"Accept": "text/html"})
                assert html.headers["location"] == f"/sign-in?next={path}"
    assert wrong == []


def _role(name: str) -> str:
    return {"other": "labeler", "admin's token": "admin"}.get(name, name)


def test_gradios_own_routes_are_behind_the_gate(
    team: Team, everybody: dict[str, TestClient]
) -> None:
    team.secrets["labeler"] = begin(team.store, team.ids["labeler"], team.moment)
    signed_in = team.browser("labeler")
    assert signed_in.get("/").status_code == 200
    paths = ["/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/token", "/info"]
    for mount in team.app.routes:
        if isinstance(mount, Mount) and mount.path == "":
            paths += [str(route.path) for route in _listed(mount.routes)]
    assert len(paths) > 30
    for path in {path.replace("{", "").replace("}", "") for path in paths if path}:
        for name in GONE:
            reply = everybody[name].get(path)
            assert reply.status_code == 401, (path, name, reply.status_code)
        assert signed_in.post(path, json={}).status_code == 405, path


def test_a_labeler_sees_nothing_of_others_by_any_get(
    team: Team, everybody: dict[str, TestClient]
) -> None:
    for name in ("labeler", "other"):
        team.secrets[name] = begin(team.store, team.ids[name], team.moment)
    other, labeler = team.browser("other"), team.browser("labeler")
    found = other.post("/api/next").json()["item"]
    body = {**ranked(found, str(uuid4())), "rationale": "the-other-labelers-reason"}
    saved = other.post("/api/submit", json=body)
    assert saved.status_code == 200
    secrets = (
        "the-other-labelers-reason",
        "secret-",
        team.ids["other"],
        saved.json()["answer_id"],
        "other@example.org",
        "closed@example.org",
        "store.db",
        "closed campaign",
    )
    # The other's item under the numbers by which this labeler would know it.
    campaign = team.store.campaigns()[0]
    theirs = [name_of(campaign, team.ids["labeler"], number) for number in (1, 2, 3)]
    for method, path in _routes(team):
        if method != "GET":
            continue
        for item_id in (found["item_id"], *theirs, 1, 2, 3):
            reply = labeler.get(path.replace("{item_id}", str(item_id)))
            for secret in secrets:
                assert secret not in reply.text, (path, secret)
    for query in (f"?labeler_id={team.ids['other']}", f"?labeler_id={team.ids['admin']}"):
        assert labeler.get(f"/api/sessions{query}").status_code == 403
        assert labeler.get(f"/api/tokens{query}").status_code == 403
    # The same submission id belongs to whom it was: another labeler cannot read or take it.
    mine = labeler.post("/api/next").json()["item"]
    assert mine["turns"] == found["turns"]
    assert mine["item_id"] != found["item_id"]
    reply = labeler.post("/api/submit", json=ranked(mine, body["submission_id"]))
    assert reply.status_code in (409, 422)
    assert saved.json()["answer_id"] not in reply.text


def test_the_dashboard_is_found_without_a_slash_too(team: Team) -> None:
    for name in ("lead", "labeler"):
        team.secrets[name] = begin(team.store, team.ids[name], team.moment)
    reply = team.browser("lead").get("/lead?campaign=second%20%26%20more")
    assert reply.status_code == 307
    assert reply.headers["location"] == "/lead/?campaign=second%20%26%20more"
    assert team.browser("labeler").get("/lead").status_code == 403


def test_logins_are_for_admins_alone(team: Team) -> None:
    for name in ("lead", "admin"):
        team.secrets[name] = begin(team.store, team.ids[name], team.moment)
        rows = team.browser(name).get("/api/accounts").json()
        assert {row["labeler_id"] for row in rows} >= {team.ids[x] for x in ROLES}
        logins = {row["login"] for row in rows}
        assert ("labeler@example.org" in logins) == (name == "admin")
        assert logins == {None} or name == "admin"


def test_a_session_of_anothers_cannot_be_ended_or_even_seen(team: Team) -> None:
    for name in ("labeler", "other", "lead", "admin"):
        team.secrets[name] = begin(team.store, team.ids[name], team.moment)
    held = team.browser("other").get("/api/sessions").json()
    listed = next(row for row in held if not row["is_this"])
    for name in ("labeler", "lead"):
        assert team.browser(name).delete(f"/api/sessions/{listed['id']}").status_code == 404
    held = team.browser("admin").get(f"/api/sessions?labeler_id={team.ids['other']}").json()
    assert listed["id"] in {row["id"] for row in held}
    assert team.browser("admin").delete(f"/api/sessions/{listed['id']}").status_code == 200
    left = team.browser("other").get("/api/sessions").json()
    assert listed["id"] not in {row["id"] for row in left}


def test_only_campaigns_one_may_work_on_are_listed(team: Team) -> None:
    team.secrets["labeler"] = begin(team.store, team.ids["labeler"], team.moment)
    listed = team.browser("labeler").get("/api/campaigns").json()
    assert [row["name"] for row in listed] == ["open"]
    team.secrets["lead"] = begin(team.store, team.ids["lead"], team.moment)
    lead = team.browser("lead")
    seen = {row["name"]: row["may_work"] for row in lead.get("/api/campaigns").json()}
    assert seen == {"open": True, "closed campaign": False}
    mine = f"/api/accounts/{team.ids['labeler']}/campaigns"
    assert lead.post(mine, json={"campaign": "closed campaign"}).status_code == 200
    assert len(team.browser("labeler").get("/api/campaigns").json()) == 2
    assert lead.delete(f"{mine}?campaign=closed campaign").status_code == 200
    assert len(team.browser("labeler").get("/api/campaigns").json()) == 1


def test_one_labeler_on_this_machine_has_no_routes_about_people(tmp_path: Path) -> None:
    with Store(tmp_path / "one.db") as store:
        store.create_campaign("open")
        app = create_app(store.address, "open", labeler_id="ada")
        with TestClient(app, base_url=ORIGIN) as client:
            assert client.get("/api/me").json() == {
                "labeler_id": "ada",
                "role": "admin",
                "by": "machine",
            }
            for path in ("login", "accounts", "invitations", "tokens", "sessions"):
                assert client.post(f"/api/{path}", json={}).status_code in (404, 405)
                assert client.get(f"/api/{path}").status_code == 404
            assert client.get("/sign-in").status_code == 404
        with store.database.reading() as db:
            assert db.execute(select(labelers)).all() == []


def test_without_a_campaign_one_is_led_to_ones_own(tmp_path: Path) -> None:
    with Store(tmp_path / "several.db") as store:
        for name in ("first", "second & more"):
            store.create_campaign(name, settings={"members_only": True})
        several = Team(store, create_app(store.address, accounts=True), time.time())
        labeler, lead = several.browser("labeler"), several.browser("lead")
        assert labeler.get("/").headers["location"] == "/campaigns"
        mine = f"/api/accounts/{several.ids['labeler']}/campaigns"
        assert lead.post(mine, json={"campaign": "second & more"}).status_code == 200
        home = labeler.get("/")
        assert (home.status_code, home.headers["cache-control"]) == (303, "no-store")
        assert home.headers["location"] == "/?campaign=second%20%26%20more"
        assert labeler.get(home.headers["location"]).status_code == 200
        lead.post(mine, json={"campaign": "first"})
        assert labeler.get("/").headers["location"] == "/campaigns"
        # One person on this machine chooses in the same way.
        alone = create_app(store.address, labeler_id="ada")
        with TestClient(alone, base_url=ORIGIN, follow_redirects=False) as client:
            assert client.get("/").headers["location"] == "/campaigns"
            assert client.get("/campaigns").status_code == 200


def test_a_large_upload_is_refused_before_it_is_read(team: Team) -> None:
    large = b"x" * (1024 * 1024)
    team.secrets["labeler"] = begin(team.store, team.ids["labeler"], team.moment)
    for client, status in ((team.browser(None), 401), (team.browser("labeler"), 403)):
        assert client.post("/api/lead/anything", content=large).status_code == status
        assert client.post("/api/submit", content=large).status_code == 413
