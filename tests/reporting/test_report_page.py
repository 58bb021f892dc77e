"""The report's page: whole, escaped, self-contained, the same bytes each time, and right in a
browser.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_by_hand import CONFIG, answer_rows, results, write_run

from rlhf.reporting.cautions import CHECKS
from rlhf.reporting.report import write_report

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
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
    assert "<script" not in html
    assert not re.search(r"\bsrc=|@import|url\((?!#)", html)
    assert re.findall(r'<link[^>]*href="([^"]*)"', html) == ["data:,"]


def test_every_part_is_there(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", html) == [
        "Ship the DPO policy.",
        "What was done",
        "Policies",
        "Answers side by side",
        "Reward model",
        "The reward model's certificate",
        "Training",
        "Labelers",
        "How to do it again",
    ]
    assert html.count("<figure>") == html.count("<figcaption>") == html.count('role="img"') == 9
    assert html.count("<table>") == html.count("<caption>") == 9
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(set(ids)) == len(ids)
    assert f"None of the {len(CHECKS)} checks" in html


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
    assert "<script" not in html
    assert "<img" not in html
    assert "49" not in re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
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


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_fits_and_is_accessible(page: Path, browser: Any, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    said: list[str] = []
    asked: list[str] = []
    tab = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    for details in tab.locator("summary").all():
        details.click()
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    found = Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()
    text_on_page = "getComputedStyle(document.body).color"
    text_in_plot = "getComputedStyle(document.querySelector('svg text[style*=ink]')).fill"
    assert tab.evaluate(text_on_page) == tab.evaluate(text_in_plot)
    tab.close()


@pytest.mark.browser
def test_print_opens_what_is_folded(page: Path, browser: Any) -> None:
    tab = browser.new_page()
    tab.goto(page.as_uri())
    folded = "document.querySelector('summary + pre').checkVisibility()"
    assert not tab.evaluate(folded)
    tab.emulate_media(media="print")
    assert tab.evaluate(folded)
    tab.close()
