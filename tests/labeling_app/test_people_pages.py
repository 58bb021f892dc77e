"""From the first admin's link to a labeler's ranking, in a real Chromium."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from browsers import CHROMIUM
from team import PASSWORD, begin, item, person

from labeling_app.people_texts import PEOPLE_TEXTS
from labeling_app.server import create_app
from rlhf.feedback.invitations import invite_first_admin
from rlhf.feedback.store import Store

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}
LABELING_APP = Path(__file__).parents[2] / "labeling_app"
needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium on this machine"),
]


@dataclass(frozen=True)
class Site:
    store: Store
    url: str
    open: Callable[..., Any]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with Store(tmp_path_factory.mktemp("pages") / "store.db") as store:
        for name in ("Replies", "Other replies"):
            campaign = store.create_campaign(name, settings={"members_only": name != "Replies"})
            store.add_items(campaign, [item("Which is best?", count=2)])
        listening = socket.create_server(("127.0.0.1", 0))
        app = create_app(store.address, accounts=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

            def open_page(path: str, look: dict[str, Any], secret: str | None = None) -> Any:
                context = browser.new_context(**look)
                if secret is not None:
                    context.add_cookies([{"name": "rlhf", "value": secret, "url": url}])
                page = context.new_page()
                page.set_default_timeout(30_000)
                page.goto(path if path.startswith("http") else url + path)
                return page

            yield Site(store, url, open_page)
            browser.close()
        server.should_exit = True
        thread.join(5)
        listening.close()


def _faults(page: Any, state: str) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return [
        f"{state}: {row['id']} {node['html'][:200]}"
        for row in axe.run(page).response["violations"]
        if row["impact"] in ("serious", "critical", "moderate")
        for node in row["nodes"]
    ]


def _wide(page: Any) -> bool:
    """Whether the page is wider than the screen."""
    return bool(
        page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    )


class TestPages:
    """In order: each goes on where the one before it ended."""

    pytestmark = needs_chromium

    def test_from_the_admin_link_to_a_ranking_and_out(self, site: Site) -> None:
        with site.store.database.writing() as db:
            secret = invite_first_admin(db, time.time())
        admin = site.open(f"/invitation#{secret}", DESKTOP)
        admin.get_by_label("Login").fill("Ada@example.org")
        admin.get_by_label("Password").fill("Ada@example.org")
        admin.get_by_role("button", name="Make my account").click()
        admin.wait_for_selector("#said.failed >> text=The password is the login")
        admin.get_by_label("Password").fill(PASSWORD)
        admin.keyboard.press("Enter")
        admin.wait_for_url(re.compile(r"/\?campaign=Replies$"))

        admin.goto(f"{site.url}/people")
        admin.get_by_label("Campaign").select_option("Other replies")
        admin.get_by_role("button", name="Make a link").click()
        field = admin.get_by_label("Link", exact=True)
        field.wait_for()
        link = field.input_value()
        assert link.startswith(f"{site.url}/invitation#")
        assert "labeler · Other replies" in admin.locator("#invitations").inner_text()

        asked = []
        phone = site.open("/sign-in", PHONE)
        phone.on("request", lambda request: asked.append(request.url))
        phone.goto(link)
        phone.wait_for_selector("text=to work on “Other replies”")
        phone.get_by_label("Login").fill("bo")
        phone.get_by_label("Password").fill("short")
        phone.get_by_role("button", name="Make my account").tap()
        assert phone.url == link
        phone.get_by_label("Login").fill("bobby")
        phone.get_by_label("Password").fill(PASSWORD)
        phone.get_by_role("button", name="Make my account").tap()
        phone.wait_for_url(f"{site.url}/campaigns")
        token = link.partition("#")[2]
        assert not [url for url in asked if token in url.partition("#")[0]]

        phone.get_by_role("button", name="Sign out").tap()
        phone.wait_for_url(f"{site.url}/sign-in")
        phone.goto(f"{site.url}/?campaign=Replies")
        assert phone.url == f"{site.url}/sign-in?next=/%3Fcampaign%3DReplies"
        phone.get_by_label("Login").fill("bobby")
        phone.get_by_label("Password").fill("not the password")
        phone.keyboard.press("Enter")
        phone.wait_for_selector("text=The login or the password is wrong.")
        phone.get_by_label("Password").fill(PASSWORD)
        phone.keyboard.press("Enter")
        phone.wait_for_url(f"{site.url}/?campaign=Replies")
        phone.wait_for_selector(".bank.in-view .md p")
        for key in ("1", "2", "Enter"):
            phone.keyboard.press(key)
        phone.wait_for_function("document.querySelector('#end .over:not([hidden])') !== null")
        rankings = [
            one for campaign in site.store.campaigns() for one in site.store.rankings(campaign)
        ]
        assert len(rankings) == 1
        assert re.fullmatch("labeler-[0-9a-f]{8}", rankings[0].labeler_id)

        phone.goto(f"{site.url}/account")
        phone.wait_for_selector(f"text={rankings[0].labeler_id}")
        cookies = {one["name"]: one for one in phone.context.cookies()}
        assert cookies["rlhf"]["httpOnly"]
        assert cookies["rlhf"]["sameSite"] == "Lax"
        phone.get_by_role("button", name="Sign out", exact=True).tap()
        phone.wait_for_url(f"{site.url}/sign-in")
        phone.go_back()
        phone.wait_for_url(re.compile("/sign-in"))

        admin.reload()
        row = admin.locator("#accounts tr", has_text="bobby")
        row.get_by_label("Role of").select_option("reviewer")
        admin.wait_for_selector("#said >> text=Done.")
        row.get_by_role("button", name="Close").click()
        admin.locator("#accounts tr", has_text="bobby").get_by_text("closed").wait_for()
        mine = admin.locator("#accounts tr", has_text="ada@example.org")
        mine.get_by_role("button", name="Close").click()
        admin.wait_for_selector("#said.failed >> text=This is the only active admin")

    def test_a_lost_password_is_set_anew_by_a_link(self, site: Site) -> None:
        admin = person(site.store, "eve@example.org", "admin")
        cleo = person(site.store, "cleo@example.org")
        page = site.open("/people", DESKTOP, begin(site.store, admin, time.time()))
        row = page.locator("#accounts tr", has_text=cleo)
        members_only = site.store.campaign("Other replies")
        for choice, expected in (("Add to", True), ("Take off", False)):
            row.get_by_label("Memberships of").select_option(f"{choice}: Other replies")
            page.wait_for_selector("#said >> text=Done.")
            page.evaluate("document.getElementById('said').textContent = ''")
            assert site.store.may_work(members_only, cleo) is expected
        row.get_by_role("button", name="Password link").click()
        field = page.get_by_label("Link", exact=True)
        field.wait_for()
        phone = site.open(field.input_value(), PHONE)
        phone.get_by_label("Password").fill("another anchor rowing")
        phone.get_by_role("button", name="Set the password").tap()
        phone.wait_for_selector("text=The password is set.")
        phone.goto(f"{site.url}/sign-in?next=//evil.test/")
        phone.get_by_label("Login").fill("cleo@example.org")
        phone.get_by_label("Password").fill("another anchor rowing")
        phone.keyboard.press("Enter")
        phone.wait_for_url(f"{site.url}/?campaign=Replies")

    def test_ones_account_has_sessions_and_tokens(self, site: Site) -> None:
        dora = person(site.store, "dora@example.org")
        begin(site.store, dora, time.time())
        page = site.open("/account", DESKTOP, begin(site.store, dora, time.time()))
        page.get_by_role("button", name="Sign out there").click()
        page.wait_for_selector("#said >> text=Done.")
        assert page.locator("#sessions li").count() == 1
        page.get_by_label("Name of the token").fill("<b>crowd</b> 3")
        page.get_by_role("button", name="Make a token").click()
        field = page.get_by_label("Tokens for programs").locator(".once input")
        field.wait_for()
        assert field.input_value().startswith("rlhf_")
        assert "<b>crowd</b> 3" in page.locator("#tokens").inner_text()
        page.get_by_role("button", name="Revoke").click()
        page.wait_for_selector("text=No tokens.")
        page.get_by_label("Password so far").fill(PASSWORD)
        page.get_by_label("New password").fill("quite another password")
        page.get_by_role("button", name="Change the password").click()
        page.wait_for_selector("text=The password is changed.")

    @pytest.mark.parametrize(
        "look",
        [
            DESKTOP,
            PHONE,  # dark
            pytest.param({**DESKTOP, "color_scheme": "dark"}, marks=pytest.mark.slow),
            pytest.param({**PHONE, "color_scheme": "light"}, marks=pytest.mark.slow),
        ],
    )
    def test_axe_finds_nothing_and_nothing_is_cut(
        self, site: Site, look: dict[str, Any], tmp_path: Path
    ) -> None:
        login = f"axe{time.time_ns()}@example.org"
        admin = person(site.store, login, "admin")
        secret = begin(site.store, admin, time.time())
        begin(site.store, admin, time.time())
        begin(site.store, admin, time.time(), "token")
        from rlhf.feedback.invitations import invite

        with site.store.database.writing() as db:
            link = invite(db, "labeler", "Other replies", by=admin, moment=time.time())
        faults = []
        width = look["viewport"]["width"]
        for path, ready, who in (
            ("/sign-in", "form", None),
            (f"/invitation#{link}", "form:not([hidden])", None),
            ("/invitation#gone", "#said.failed", None),
            ("/account", "#tokens li", secret),
            ("/people", "#accounts tr", secret),
            ("/campaigns", "#campaigns li", secret),
        ):
            page = site.open(path, look, who)
            page.wait_for_selector(ready)
            name = re.sub(r"\W+", "-", path.partition("#")[0]).strip("-") + (
                "-gone" * ("gone" in path)
            )
            shot = tmp_path / f"{name}-{width}-{look.get('color_scheme', 'light')}.png"
            page.screenshot(path=shot, full_page=True)
            faults += _faults(page, path)
            if _wide(page):
                faults.append(f"{path} is wider than {width} px")
            page.context.close()
        assert faults == []


def test_every_text_is_used_and_every_text_used_is_there() -> None:
    scripts = "\n".join(
        (LABELING_APP / "static" / f"{name}.js").read_text()
        for name in ("shell", "sign-in", "invitation", "account", "people", "campaigns")
    )
    pages = (LABELING_APP / "people_pages.py").read_text()
    put_together = ("role_", "mode_")  # looked up by a name that is put together
    unused = {key for key in PEOPLE_TEXTS if not re.search(rf"\b{key}\b", scripts + pages)}
    assert {key for key in unused if not key.startswith(put_together)} == set()
    used = re.findall(r"\bwords\.(\w+)", scripts)
    assert len(used) > 30
    assert set(used) <= set(PEOPLE_TEXTS)
