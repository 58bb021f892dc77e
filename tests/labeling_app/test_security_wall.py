"""Hosts, origins, cookies and hostile values: what the app answers to those who try."""

import json
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from postgres import fresh_database
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from team import ORIGIN, PASSWORD, Team, begin, item, ranked

from labeling_app.api_description import description
from labeling_app.security import MAX_BODY_BYTES, Wall, checked_origin
from labeling_app.server import create_app
from rlhf.feedback.store import Store

HOSTILE = [
    "' or '1'='1",
    "'; drop table accounts; --",
    '" union select password_hash from accounts --',
    "%' or 1=1 --",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "\0",
    "a\r\nSet-Cookie: rlhf=stolen",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}${7*7}<%= 7*7 %>",
    "\ud800",
    "\u202eesrever",
    "x" * 5000,
    "-1",
    "1e999",
    str(2**70),
    "",
    "🦜" * 60,
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def team(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    if request.param == "sqlite":
        address = str(tmp_path_factory.mktemp("wall") / "store.db")
    else:
        address = fresh_database(request.getfixturevalue("postgres_server"))
    with Store(address) as store:
        campaign = store.create_campaign("open")
        store.add_items(campaign, [item(f"Question {n}?") for n in range(3)])
        yield Team(store, create_app(store.address, "open", accounts=True), time.time())


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _attacks(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Method, path, query and body for every hostile value in every parameter and field."""
    for path, operations in document["paths"].items():
        if path == "/api/logout":
            continue
        for method, operation in operations.items():
            parameters = operation.get("parameters", [])
            sent = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            fields = _resolved(sent.get("schema", {}), document).get("properties", {})
            for value in HOSTILE:
                quoted = {one["name"]: value for one in parameters if one["in"] == "query"}
                filled = path
                for one in parameters:
                    if one["in"] == "path":
                        filled = filled.replace(f"{{{one['name']}}}", _segment(value))
                plain = dict.fromkeys(fields, "x")
                if quoted or filled != path:
                    yield method, filled, quoted, plain or None
                for field in fields:
                    yield method, path, {}, {**plain, field: value}
                    yield method, path, {}, {**plain, field: {value[:50]: [value]}}


def _segment(value: str) -> str:
    unsafe = value.encode("utf-8", "replace")[:200]
    return "".join(f"%{byte:02X}" for byte in unsafe).replace("%2F", "%252F") or "%20"


def _send(client: TestClient, method: str, path: str, query: Any, body: Any) -> Any:
    content = None if body is None else json.dumps(body)
    params = {name: value.encode("utf-8", "replace") for name, value in query.items()}
    headers = {"Content-Type": "application/json"}
    return client.request(method, path, params=params, content=content, headers=headers)


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_hostile_values_in_every_parameter_are_refused_or_harmless(team: Team, every: int) -> None:
    client = team.browser("admin")
    accounts = len(client.get("/api/accounts").json())
    tried = 0
    attacks = islice(_attacks(description(team.app)), 0, None, every)
    for method, path, query, body in attacks:
        reply = _send(client, method, path, query, body)
        seen = (method, path[:60], str(query)[:60], str(body)[:80], reply.text[:200])
        assert reply.status_code < 500, seen
        if reply.status_code == 401:
            assert path == "/api/login", seen
        assert reply.headers["content-type"] in ("application/json", ""), seen
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in reply.headers, seen
        tried += 1
    assert tried * every > 2_000
    made = client.get("/api/accounts").json()
    assert len([one for one in made if not one["is_program"]]) == accounts


def test_broken_bodies_are_refused(team: Team) -> None:
    client = team.browser("labeler")
    headers = {"Content-Type": "application/json"}
    bodies = [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe{}",
        b'{"item_id": 1, "reason": "\xff\xff"}',
        b"[" * 30_000,
        b'{"a":' * 10_000,
        b'{"item_id": 1, "reason": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"item_id": NaN, "reason": "x"}',
        b'{"item_id": 1e400, "reason": "x"}',
        b'{"item_id": ' + b"9" * 4000 + b', "reason": "x"}',
        b'{"item_id": ' + b"9" * 30 + b', "reason": "x"}',
        b'{"item_id": 1, "item_id": 2, "reason": "\\u0000"}',
        b'{"item_id": 1, "reason": "\\ud800"}',
        b'{"\\ud800": 1}',
    ]
    for path in ("/api/skip", "/api/submit", "/api/login", "/api/tokens", "/api/password"):
        for body in bodies:
            reply = client.post(path, content=body, headers=headers)
            assert reply.status_code < 500, (path, body[:40], reply.text[:200])
            if reply.status_code >= 400:
                assert isinstance(reply.json()["detail"], str), (path, body[:40])
    found = client.post("/api/next").json()["item"]
    for depth in (100, 900, 3000):
        answer = '{"a":' * depth + "1" + "}" * depth
        sent = json.dumps({**ranked(found, str(uuid4())), "answer": "?"}).replace('"?"', answer)
        reply = client.post("/api/submit", content=sent, headers=headers)
        assert 400 <= reply.status_code < 500, (depth, reply.text)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),  # a cookie, and not a word of where it comes from
        ({"Origin": ORIGIN}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://127.0.0.1:8080"}, 403),
        ({"Origin": "https://127.0.0.1"}, 403),
        ({"Origin": "http://127.0.0.1.evil.test"}, 403),
        ({"Origin": "http://evil.test", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Referer": f"{ORIGIN}/"}, 403),
    ],
)
def test_writes_with_a_cookie_must_come_from_our_pages(
    team: Team, headers: dict[str, str], status: int
) -> None:
    with TestClient(team.app, base_url=ORIGIN) as client:
        client.cookies.set("rlhf", team.secrets["labeler"])
        assert client.post("/api/next", headers=headers).status_code == status
        client.cookies.set("rlhf", team.secrets["admin"])
        mine = f"/api/accounts/{team.ids['other']}"
        assert client.patch(mine, json={"active": True}, headers=headers).status_code == status
        ended = client.delete(f"{mine}/campaigns?campaign=open", headers=headers)
        assert ended.status_code == status


def test_a_token_needs_no_origin_and_shuts_out_the_cookie(team: Team) -> None:
    token = begin(team.store, team.ids["labeler"], team.moment, "token")
    program = team.program(token)
    assert program.post("/api/next").status_code == 200
    assert program.get("/api/me").json() == {
        "labeler_id": team.ids["labeler"],
        "role": "labeler",
        "by": "token",
    }
    # A cookie that rides along is not used, neither with a token nor with a broken one.
    program.cookies.set("rlhf", team.secrets["admin"])
    assert program.get("/api/me").json()["role"] == "labeler"
    for header in ("Bearer nothing", "Bearer", "Basic YTpi", "", "Bearer  "):
        reply = program.get("/api/me", headers={"Authorization": header})
        assert reply.status_code == 401, header
        assert reply.headers["www-authenticate"].startswith("Bearer")


def test_signing_in_begins_another_session_and_ends_the_one_brought_along(team: Team) -> None:
    team.join(f"fixed{time.time()}")
    name = next(reversed(team.ids))
    browser = team.browser(name)
    planted = team.secrets[name]
    reply = browser.post("/api/login", json={"login": f"{name}@example.org", "password": PASSWORD})
    assert reply.status_code == 200
    cookie = reply.headers["set-cookie"]
    assert planted not in cookie
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age="):
        assert part in cookie
    assert "Secure" not in cookie  # plain http on this machine
    assert "Domain" not in cookie
    assert team.program(planted).get("/api/me").status_code == 401
    # A session id that an attacker made up is never taken on.
    forger = team.browser(None)
    forger.cookies.set("rlhf", "attacker-made-this-up")
    body = {"login": f"{name}@example.org", "password": PASSWORD}
    assert "attacker" not in forger.post("/api/login", json=body).headers["set-cookie"]


def test_unknown_logins_and_wrong_passwords_answer_alike_and_take_as_long(team: Team) -> None:
    def attempt(number: int, login: str) -> tuple[float, str, int]:
        client = TestClient(
            team.app, base_url=ORIGIN, client=(f"10.1.{number}.1", 1), headers={"Origin": ORIGIN}
        )
        began = time.perf_counter()
        reply = client.post("/api/login", json={"login": login, "password": "not this one"})
        return time.perf_counter() - began, reply.text, reply.status_code

    for number in range(8):
        team.join(f"timed{number}")
    known = [attempt(n, f"timed{n}@example.org") for n in range(8)]
    unknown = [attempt(n + 100, f"untimed{n}@example.org") for n in range(8)]
    assert {one[1:] for one in known} == {one[1:] for one in unknown}
    assert known[0][2] == 401
    one, other = (statistics.median(x[0] for x in rows) for rows in (known, unknown))
    assert 0.4 < one / other < 2.5, (one, other)  # without a hash it would be over 10
    assert min(x[0] for x in unknown) > 0.02


def test_guessing_is_slowed_down_and_says_for_how_long(team: Team) -> None:
    name = f"guessed{time.time()}"
    team.join(name)
    body = {"login": f"{name}@example.org", "password": "wrong wrong wrong"}
    statuses = []
    for number in range(15):  # a slow machine may be past the first waits of 1 and 2 seconds
        client = TestClient(
            team.app, base_url=ORIGIN, client=(f"10.2.{number}.1", 1), headers={"Origin": ORIGIN}
        )
        reply = client.post("/api/login", json=body)
        statuses.append(reply.status_code)
        if reply.status_code == 429:
            break
    assert statuses[:5] == [401] * 5
    assert statuses[-1] == 429
    assert 1 <= int(reply.headers["retry-after"]) <= 900
    assert client.post("/api/login", json={**body, "password": PASSWORD}).status_code == 429


WHO_ASKS = [
    ("127.0.0.1", True),
    ("127.0.0.1:7860", True),
    ("LOCALHOST:1", True),
    ("[::1]:7860", True),
    ("rank.example.org", True),
    ("RANK.example.org:443", True),
    ("", False),
    ("evil.test", False),
    ("127.0.0.1.evil.test", False),
    ("evil.test:127.0.0.1", False),
    ("evil.test@127.0.0.1", False),
    ("127.0.0.1@evil.test", False),
    ("127.0.0.1#evil.test", False),
    ("127.0.0.1/evil.test", False),
    ("127.0.0.1 evil.test", False),
    ("127.0.0.1:80:80", False),
    ("[::1", False),
    ("[", False),
    ("rank.example.org.", False),
    ("0.0.0.0", False),
    ("xrank.example.org", False),
]


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"scheme": request.url.scheme})


@pytest.fixture(scope="module")
def walled() -> TestClient:
    routes = [Route("/api/x", _echo, methods=["GET", "POST"])]
    wall = Wall(
        Starlette(routes=routes),
        ("127.0.0.1", "localhost", "::1"),
        "https://rank.example.org",
        cookies=True,
    )
    return TestClient(wall, base_url="http://127.0.0.1")


@pytest.mark.parametrize(("host", "answered"), WHO_ASKS)
def test_only_names_of_ours_are_answered(walled: TestClient, host: str, answered: bool) -> None:
    reply = walled.get("/api/x", headers={"Host": host})
    assert reply.status_code == (200 if answered else 421)
    assert "evil" not in reply.text


def test_the_public_url_is_the_origin_behind_a_proxy(walled: TestClient) -> None:
    for host, origin, status in (
        ("rank.example.org", "https://rank.example.org", 200),
        ("rank.example.org", "http://rank.example.org", 403),
        ("rank.example.org", "https://evil.test", 403),
        ("127.0.0.1:7860", "http://127.0.0.1:7860", 200),
        ("127.0.0.1:7860", "https://rank.example.org", 403),
    ):
        headers = {"Host": host, "Origin": origin, "Cookie": "rlhf=1"}
        assert walled.post("/api/x", headers=headers).status_code == status, (host, origin)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://rank.example.org", "https://rank.example.org"),
        ("https://Rank.Example.org:443/", "https://rank.example.org"),
        ("http://rank.lan:7860", "http://rank.lan:7860"),
        ("http://[2001:db8::1]:80", "http://[2001:db8::1]"),
    ],
)
def test_a_public_url_is_read_as_browsers_write_origins(url: str, origin: str) -> None:
    assert checked_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "rank.example.org",
        "ftp://x.org",
        "https://x.org/path",
        "https://a@x.org",
        "https://x.org?q",
        "https://x.org:port",
        "https://",
        "https://x.org:99999",
        "https://[::1",
        "javascript:alert(1)",
    ],
)
def test_other_public_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="as https://rank"):
        checked_origin(url)


def test_lengths_that_are_not_one_are_refused(walled: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * MAX_BODY_BYTES

    for length in (str(MAX_BODY_BYTES + 1), "-1", "1e3", "9" * 5000, "0x10", "+1", " "):
        reply = walled.post("/api/x", headers={"Content-Length": length, "Origin": ORIGIN})
        assert reply.status_code == 413, length[:10]
    assert walled.post("/api/x", content=chunks(), headers={"Origin": ORIGIN}).status_code == 413
    both = {"Transfer-Encoding": "chunked", "Content-Length": "5", "Origin": ORIGIN}
    assert walled.post("/api/x", content=b"12345", headers=both).status_code == 413


def test_cookies_are_secure_where_people_come_by_https(team: Team) -> None:
    app = create_app(
        team.store.address, "open", accounts=True, public_url="https://rank.example.org"
    )
    headers = {"Origin": "https://rank.example.org", "Host": "rank.example.org"}
    with TestClient(app, base_url="http://127.0.0.1", headers=headers) as client:
        name = f"secure{time.time()}"
        team.join(name)
        body = {"login": f"{name}@example.org", "password": PASSWORD}
        cookie = client.post("/api/login", json=body).headers["set-cookie"]
        assert cookie.startswith("__Host-rlhf=")
        for part in ("Secure", "HttpOnly", "Path=/", "SameSite=lax"):
            assert part in cookie
        assert "Domain" not in cookie
        secret = cookie.partition("=")[2].partition(";")[0]
        sent = {**headers, "Cookie": f"__Host-rlhf={secret}"}
        assert client.get("/api/me", headers=sent).status_code == 200
        # One without the prefix could have been set by another name of the same domain.
        plain = {**headers, "Cookie": f"rlhf={secret}"}
        assert client.get("/api/me", headers=plain).status_code == 401
        team.secrets["lead"] = begin(team.store, team.ids["lead"], team.moment)
        lead = {**headers, "Cookie": f"__Host-rlhf={team.secrets['lead']}"}
        link = client.post("/api/invitations", json={}, headers=lead).json()["url"]
        assert link.startswith("https://rank.example.org/invitation#")
