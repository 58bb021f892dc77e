"""Text of models and users, made ready for Markdown that runs and fetches nothing.

The browser's sanitiser is the wall; this makes sure that nothing reaches it that it would drop
without a word. Raw HTML and images outside code, and diagrams, are shown as the characters
that they are.
"""

import re
from collections import deque
from itertools import groupby

from markdown_it import MarkdownIt

# Blocks alone are parsed: it is fast on long lines, and code spans are found below.
_BLOCKS = MarkdownIt("commonmark").disable("html_block")
_BLOCKS.core.ruler.enableOnly(["normalize", "block"])

_BACKTICKS = re.compile(r"`+")
_PARAGRAPH_END = re.compile(r"(\n[ \t]*\n)")
# The browser would draw these, and drawing loads images.
_DIAGRAM = re.compile("mermaid", re.IGNORECASE)
_TAG_START = re.compile(r"<(?=[a-zA-Z/!?])(?!(?:https?://|mailto:)[^\s<>]*>)")
_IMAGE_START = re.compile(r"(?<!\\)!\[")
# What the browser pairs up in time that grows with the square of their number: emphasis within
# a paragraph, formulas within a text. Nobody writes as many; 10,000 would hold the page for half
# a minute.
_EMPHASIS = re.compile(r"\*+|_+|~+")
_FORMULA = re.compile(r"\$+|\\[\[(]")
# `$x$` by pandoc's rule: no blank within the marks, no digit after them; and a sign that it is a
# formula, so that prices and shell variables stay as they are.
_INLINE_FORMULA = re.compile(r"(?<![\\$\w])\$(?![\s$])([^$\n]{1,200}?)(?<![\s\\])\$(?![\w$])")
_MATHS = re.compile(r"[\\^_=<>+*/|]|^\s*[A-Za-z]\s*$")
MOST_PAIRED = 1_500


def inert_markdown(text: str) -> str:
    r"""`text` as Markdown in which raw HTML and images outside code appear as text, and `$x$` is a
    formula as `\(x\)` is.

    Code blocks, code spans, formulas and everything else stay as they were written. A text that
    would hold the browser for seconds (`MOST_PAIRED`) becomes one code block, letter for letter.
    """
    if _is_endless(text):
        longest = max((len(run.group()) for run in _BACKTICKS.finditer(text)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{fence}\n{text}\n{fence}"
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    in_code = [False] * len(lines)
    for token in _BLOCKS.parse("\n".join(lines)):
        if token.type in ("fence", "code_block") and token.map:
            first, end = token.map
            in_code[first:end] = [True] * (min(end, len(lines)) - first)
            if token.info:
                lines[first] = _DIAGRAM.sub("text", lines[first])
    parts = []
    for code, group in groupby(zip(in_code, lines, strict=True), key=lambda pair: pair[0]):
        chunk = "\n".join(line for _, line in group)
        parts.append(chunk if code else _outside_code_blocks(chunk))
    return "\n".join(parts)


def _is_endless(text: str) -> bool:
    paragraphs = (len(_EMPHASIS.findall(part)) for part in _PARAGRAPH_END.split(text))
    return max(paragraphs) > MOST_PAIRED or len(_FORMULA.findall(text)) > MOST_PAIRED


def _outside_code_blocks(chunk: str) -> str:
    # A code span ends with its paragraph at the latest; odd parts are the blank lines between.
    parts = _PARAGRAPH_END.split(chunk)
    return "".join(
        part if index % 2 else _outside_code_spans(part) for index, part in enumerate(parts)
    )


def _outside_code_spans(paragraph: str) -> str:
    """A span runs from some backticks to the next run of as many; one pass, whatever the input."""
    runs = list(_BACKTICKS.finditer(paragraph))
    closers: dict[int, deque[int]] = {}
    for index, run in enumerate(runs):
        closers.setdefault(len(run.group()), deque()).append(index)
    parts, end, index = [], 0, 0
    while index < len(runs):
        same_length = closers[len(runs[index].group())]
        while same_length and same_length[0] <= index:
            same_length.popleft()
        start = runs[index].start()
        escaped = start > 0 and paragraph[start - 1] == "\\"
        if same_length and not escaped:
            close = same_length[0]
            parts.append(_as_text(paragraph[end:start]))
            end = runs[close].end()
            parts.append(paragraph[start:end])
            index = close
        index += 1
    return "".join([*parts, _as_text(paragraph[end:])])


def _as_text(prose: str) -> str:
    formulas = _INLINE_FORMULA.sub(_formula, prose)
    return _IMAGE_START.sub("!&#91;", _TAG_START.sub("&lt;", formulas))


def _formula(found: re.Match[str]) -> str:
    return rf"\({found[1]}\)" if _MATHS.search(found[1]) else found[0]
