"""The report's page: whole, escaped, self-contained, the same bytes each time, and right in a
browser.
"""

import os
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from browsers import CHROMIUM
from run_by_hand import CONFIG, answer_rows, results, write_run

from rlhf.reporting.cautions import CHECKS
from rlhf.reporting.comparison import write_comparison
from rlhf.reporting.report import write_report

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>{{ 7 * 7 }}'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a whole run."""
    folder = tmp_path_factory.mktemp("runs")
    rows = [r for family in "abcd" for r in answer_rows([0.0, 2.0, -1.0, 1.0], family)]
    return write_report(write_run(folder / "small", answers=rows), folder / "report.html")


def test_the_page_needs_nothing_but_itself(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert len(page.read_bytes()) < 1_000_000
    assert not re.search(r"https?:", html)
    assert not re.search(r"\bsrc=|@import|url\((?!#)", html)
    [script] = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert "default-src 'none'; " in html
    assert f"script-src 'sha256-{digest}'" in html
    assert re.findall(r'<link[^>]*href="([^"]*)"', html) == ["data:,"]


def test_every_part_is_there(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", html) == [
        "Ship the DPO policy.",
        "What was done",
        "Policies",
        "Answers side by side",
        "What the reward model likes most",
        "Reward model",
        "The reward model's certificate",
        "Training",
        "Training, validation, test",
        "Labelers",
        "How to do it again",
    ]
    assert html.count("<figure>") == html.count("<figcaption>") == html.count('role="img"') == 10
    assert html.count("<table>") == html.count("<caption>") == 11
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(set(ids)) == len(ids)
    assert f"None of the {len(CHECKS)} checks" in html
    linked = set(re.findall(r'<a href="#([^"]*)"', html))
    assert linked == {"policies", "certificate", "labelers", "liked"}
    assert linked <= set(ids)


def test_the_same_run_gives_the_same_bytes_without_torch(page: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.html"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from rlhf.reporting.report import write_report\n"
        "assert not {'torch', 'matplotlib'} & sys.modules.keys()\n"
        f"write_report(Path({str(page.parent / 'small')!r}), Path({str(again)!r}))\n"
        "assert not {'torch', 'transformers', 'matplotlib.pyplot'} & sys.modules.keys()\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert again.read_bytes() == page.read_bytes()


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    found = results()
    found["evaluate"]["judge"] = HOSTILE
    policies = found["evaluate"]["policies"]
    policies["<script>$x$"] = {**policies["ppo"], "kl": 1.0}
    rows = answer_rows([1.0, 2.0, 3.0], HOSTILE)
    for row in rows:
        row["prompt"][0]["content"] = HOSTILE
        row["answers"]["dpo"]["text"] = f"</p></article></style>{HOSTILE}"
    folder = write_run(tmp_path / "small", found, answers=rows, config={**CONFIG, "name": HOSTILE})
    html = write_report(folder, tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("<script") == 1  # our own
    assert "<img" not in html
    assert "49" not in re.sub(r"<svg.*?</svg>|sha256-[^']*", "", html, flags=re.DOTALL)
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        (
            ["evaluate", "ppo"],
            "PPO and the evaluation are not complete in this run, and not on this page.",
        ),
        (["evaluate", "dpo", "reward", "ppo"], "The reward model, DPO, PPO and the evaluation are"),
        (["pretrain"], "Pretraining is not complete"),
        (
            [name for name in results() if name != "prompts"],
            "Pretraining, SFT, the sampled responses, the rankings, the preferences",
        ),
    ],
)
def test_a_run_on_its_way_says_what_is_missing(
    tmp_path: Path, gone: list[str], sentence: str
) -> None:
    found = {name: result for name, result in results().items() if name not in gone}
    html = write_report(write_run(tmp_path / "small", found), tmp_path / "r.html").read_text()
    assert sentence in html
    assert ("No verdict yet." in html) == ("evaluate" in gone)


@pytest.mark.parametrize("alone", ["dpo", "ppo"])
def test_one_trained_policy_is_enough(tmp_path: Path, alone: str) -> None:
    other = {"dpo": "ppo", "ppo": "dpo"}[alone]
    found = results()
    del found[other], found["evaluate"]["policies"][other]
    found["evaluate"]["best"] = alone
    found["reward"] = {"dropped": {}}  # no split has votes
    found["label"]["agreement"] |= {"strict": None, "with_ties": None, "strict_interval": None}
    found["evaluate"]["ceiling"] = {"value": None, "from": "the labelers' agreement"}
    rows = answer_rows([1.0, 2.0])
    for row in rows:
        del row["answers"][other]
    config = {**CONFIG, "labelers": "people", other: {"enabled": False}}
    folder = write_run(tmp_path / "small", found, answers=rows, config=config)
    html = write_report(folder, tmp_path / "r.html").read_text(encoding="utf-8")
    assert f"Ship the {alone.upper()} policy." in html
    assert f"{other.upper()} is turned off in the config." in html
    assert "its accuracy is not known" in html
    assert "their agreement is not known" in html
    assert "4 rankings by 2 labelers" in html


def test_a_page_that_cannot_be_written_leaves_the_old_one(page: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    with pytest.raises(ValueError, match="no run in"):
        write_report(tmp_path / "nowhere", target)
    assert target.read_text() == "old"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture(scope="module")
def tab(page: Path, browser: Any) -> Iterator[Any]:
    """The page, open, on a narrow screen; what it asked for and complained about beside it."""
    opened = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(page.as_uri())
    yield opened
    opened.close()


@pytest.mark.browser
def test_the_filters_choose_among_the_samples(tab: Any) -> None:
    shown = ".sample-list .sample:visible"
    status = tab.locator(".shown-count")
    assert tab.locator(shown).count() == 4
    assert status.inner_text() == "4 of 16 shown"
    tab.select_option("select[name=outcome]", "loss")
    assert status.inner_text() == "4 of 4 shown"  # DPO loses once in each of four families
    assert set(tab.locator(f"{shown} .outcome").all_inner_texts()) == {
        "loses to SFT",
        "ties with SFT",
    }
    tab.select_option("select[name=family]", "b")
    assert tab.locator(shown).get_attribute("data-family") == "b"
    tab.select_option("select[name=policy]", "ppo")
    assert status.inner_text() == "No sample is like that."  # PPO ties everywhere
    tab.select_option("select[name=outcome]", "")
    assert status.inner_text() == "4 of 4 shown"
    assert tab.locator(f"{shown} .answer[data-policy=dpo]:visible").count() == 0
    assert tab.locator(f"{shown} .answer[data-policy=reference]:visible").count() == 4
    for name in ("family", "policy"):
        tab.select_option(f"select[name={name}]", "")
    assert status.inner_text() == "12 of 16 shown"
    tab.get_by_role("button", name="Show 4 more").click()
    assert status.inner_text() == "16 of 16 shown"


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_fits_and_is_accessible(tab: Any, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    tab.set_viewport_size({"width": width, "height": 844})
    tab.emulate_media(color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert [url for url in tab.asked if not url.startswith(("file:", "data:"))] == []
    assert tab.said == []
    found = Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()
    text_on_page = "getComputedStyle(document.body).color"
    text_in_plot = "getComputedStyle(document.querySelector('svg text[style*=ink]')).fill"
    assert tab.evaluate(text_on_page) == tab.evaluate(text_in_plot)
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false })")


@pytest.mark.browser
def test_print_opens_what_is_folded_and_leaves_out_what_filters_are_for(tab: Any) -> None:
    folded = "document.querySelector('summary + pre').checkVisibility()"
    assert not tab.evaluate(folded)
    tab.set_viewport_size({"width": 680, "height": 960})  # about A4 within its margins
    tab.select_option("select[name=family]", "c")
    tab.emulate_media(media="print", color_scheme="light")
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(folded)
    assert not tab.locator(".filters").is_visible()
    assert not tab.locator(".more").is_visible()
    assert tab.locator(".sample-list .sample:visible").count() == 12  # the dozen of the page
    plots = tab.locator("svg").all()
    assert all(box["x"] + box["width"] <= 680 for plot in plots if (box := plot.bounding_box()))
    assert tab.evaluate("document.documentElement.scrollWidth") <= 680  # wider shrinks all of it
    style = "getComputedStyle(document.querySelector('figure'))"
    assert tab.evaluate(f"{style}.breakInside") == "avoid"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    tab.emulate_media(media="screen")
    assert tab.locator(".sample-list .sample:visible").count() == 4


@pytest.mark.browser
def test_a_page_of_several_runs_fits_a_phone_and_is_accessible(
    page: Path, tab: Any, tmp_path: Path
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    first = page.parent / "small"
    rows = [r for family in "abcd" for r in answer_rows([1.0, 2.0, -1.0, 1.0], family)]
    config = {**CONFIG, "seed": 18}
    found = {"evaluate": results()["evaluate"]}
    second = write_run(tmp_path / "other", found, answers=rows, config=config)
    made = write_comparison([first, second], tmp_path / "comparison.html")
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.emulate_media(color_scheme="dark", media="screen")
    tab.goto(made.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    assert tab.said == []
    axe = Axe().run(tab)
    assert axe.violations_count == 0, axe.generate_report()
    tab.goto(page.as_uri())


@pytest.mark.browser
def test_without_its_script_the_page_shows_the_same_samples(page: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(page.as_uri())
    assert plain.locator(".filters").is_hidden()
    assert plain.locator("#samples-section .sample:visible").count() == 4
    plain.locator("details.rest > summary").click()
    assert plain.locator("#samples-section .sample:visible").count() == 16
    context.close()


def test_a_page_as_large_as_the_quickstart_s_is_made_in_time(tmp_path: Path) -> None:
    rows = [
        row
        for family in ("explain", "support", "thanks", "tips")
        for row in answer_rows([place % 7 - 2.0 for place in range(63)], family)
    ]
    for row in rows:
        for answer in row["answers"].values():
            answer["text"] = "We will swap it for a blue one, and it will be with you soon. " * 2
    folder = write_run(tmp_path / "large", answers=rows)
    before = time.process_time()
    made = write_report(folder, tmp_path / "report.html")
    assert time.process_time() - before < 3  # seconds of one core
    assert made.stat().st_size < 5_000_000
