"""What is done to a text before it may be rendered: HTML and images are shown, code is kept."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling_app.rendering import MOST_PAIRED, inert_markdown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>bold</b>", "&lt;b>bold&lt;/b>"),
        ("a <img src=x onerror=f()>", "a &lt;img src=x onerror=f()>"),
        ("<!-- hidden --> seen", "&lt;!-- hidden --> seen"),
        ("![alt](http://host/x.png)", "!&#91;alt](http://host/x.png)"),
        (r"\![not an image](x)", r"\![not an image](x)"),
        ("1 < 2 and a<3", "1 < 2 and a<3"),
        ("<https://example.org/a>", "<https://example.org/a>"),
        ("<https://x onerror=y>", "&lt;https://x onerror=y>"),
        ("$HOME \\theta ${x} {{y}}", "$HOME \\theta ${x} {{y}}"),
        ("`<b>` but <b>", "`<b>` but &lt;b>"),
        ("``a ` <b> ``<i>", "``a ` <b> ``&lt;i>"),
        (r"\`<b>`", r"\`&lt;b>`"),
        ("`open <b>\n\nnext <b>`", "`open &lt;b>\n\nnext &lt;b>`"),
        ("```html\n<b>\n```\n<b>", "```html\n<b>\n```\n&lt;b>"),
        ("- item\n\n  ```\n  <b>\n  ```", "- item\n\n  ```\n  <b>\n  ```"),
        ("text\n\n    <b>code</b>\n\n<b>", "text\n\n    <b>code</b>\n\n&lt;b>"),
        ("~~~\n<b>", "~~~\n<b>"),
        ("```Mermaid\ngraph TD\n```", "```text\ngraph TD\n```"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("", ""),
    ],
)
def test_html_and_images_become_text_and_code_stays(text: str, shown: str) -> None:
    assert inert_markdown(text) == shown


@given(st.text(alphabet="<>!a/ `\n[~\\", max_size=60))
def test_only_openings_of_tags_and_images_are_replaced(text: str) -> None:
    shown = inert_markdown(text)
    assert shown.replace("&lt;", "<").replace("&#91;", "[") == text


def test_long_and_odd_texts_take_linear_time() -> None:
    odd = " ".join("`" * length for length in range(1, 600)) + "<a" * 30_000 + "[" * 50_000
    start = time.process_time()
    shown = inert_markdown(odd)
    assert time.process_time() - start < 2
    assert shown.count("&lt;a") == 30_000


@pytest.mark.parametrize("mark", ["*a ", "__b", "~~c ", "$$x", "\\(y "])
def test_what_would_hold_the_browser_is_one_code_block(mark: str) -> None:
    calm, endless = mark * MOST_PAIRED, mark * (MOST_PAIRED + 1)
    assert inert_markdown(calm) == calm
    assert inert_markdown(endless) == f"```\n{endless}\n```"
    assert inert_markdown(f"```` {endless}").startswith("`````\n```` ")


def test_many_paragraphs_with_emphasis_stay_markdown() -> None:
    text = "*so* it is\n\n" * MOST_PAIRED
    assert inert_markdown(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("so $x^2 + y^2$ is", r"so \(x^2 + y^2\) is"),
        ("$n$ of them, $\\alpha$", r"\(n\) of them, \(\alpha\)"),
        ("I paid $5 and $6", "I paid $5 and $6"),
        ("from $5-$10, $HOME/$USER", "from $5-$10, $HOME/$USER"),
        ("a$b=c$d", "a$b=c$d"),
        (r"\$x=1\$", r"\$x=1\$"),
        ("`$x=1$` and $$y=2$$", "`$x=1$` and $$y=2$$"),
        ("between $ x=1 $ blanks", "between $ x=1 $ blanks"),
        ("$word$", "$word$"),
    ],
)
def test_formulas_between_single_dollars(text: str, shown: str) -> None:
    assert inert_markdown(text) == shown
