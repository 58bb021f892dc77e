"""The ranking page as Gradio blocks: slots for texts, and the chrome around them.

Two banks of slots take turns: while one is in view, the next item is rendered in the other, so
that it is there at once. Texts of models and users reach `gr.Markdown` alone, through an event
that runs in the browser; what `static/ranking.js` writes elsewhere is plain text.
"""

from pathlib import Path

import gradio as gr

from labeling_app import markup
from labeling_app.texts import TEXTS

STATIC = Path(__file__).parent / "static"
TURN_SLOTS = 10  # the latest turns; what lies further back is shown as plain text
LATEX = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]
_FONT = ["Inter", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
# A stylesheet of our own: Gradio would rewrite the selectors of one passed as `css`.
HEAD = (
    '<link rel="stylesheet" href="page/ranking.css">'
    '<script type="module" src="page/theme.js"></script>'
)
THEME = gr.themes.Base(font=_FONT, font_mono=_MONO)

_START = "import(new URL('page/ranking.js', document.baseURI)).then(m => m.start(trigger))"


def ranking_page() -> gr.Blocks:
    """The blocks of the page; they hold no campaign's or labeler's data, and run no event on the
    server.
    """
    with gr.Blocks(title=TEXTS["mode_rank"], analytics_enabled=False) as page:
        _html(markup.header(), "header")
        _html(markup.banner(), "banner")
        with gr.Column(elem_id="guidelines"):
            _html(markup.guidelines_head(), "guidelines-head")
            guidelines = _markdown("guidelines-text")
            _html(markup.guidelines_foot(), "guidelines-foot")
        _html(markup.own_answers(), "mine")
        slots = [guidelines, *(slot for bank in (0, 1) for slot in _bank(bank))]
        _html(markup.end(), "end")
        _html(markup.dock(), "dock")
        _html(markup.dialogs(), "dialogs")
        bridge = gr.HTML(html_template="<i hidden></i>", js_on_load=_START, elem_id="bridge")
        filled = bridge.change(
            fn=None, js="() => window.rankingTexts()", outputs=slots, show_progress="hidden"
        )
        filled.then(fn=None, js="() => window.rankingTextsShown()", show_progress="hidden")
    return page


def _bank(bank: int) -> list[gr.Markdown]:
    with gr.Column(elem_id=f"bank-{bank}", elem_classes="bank"):
        with gr.Column(elem_id=f"conversation-{bank}", elem_classes="conversation"):
            _html('<pre class="earlier" hidden></pre>', f"earlier-{bank}")
            turns = [_markdown(f"turn-{bank}-{index}") for index in range(TURN_SLOTS)]
        _html(markup.votes(), f"votes-{bank}")
        with gr.Column(elem_classes="cards"):
            texts = []
            for letter in markup.LETTERS:
                with gr.Column(elem_id=f"card-{bank}-{letter}", elem_classes="card"):
                    _html(markup.card_head(bank, letter), f"head-{bank}-{letter}")
                    texts.append(_markdown(f"text-{bank}-{letter}"))
                    _html(markup.card_foot(), f"foot-{bank}-{letter}")
            _html(markup.editor(bank), f"editor-{bank}")
    return turns + texts


def _markdown(elem_id: str) -> gr.Markdown:
    return gr.Markdown(
        "",
        elem_id=elem_id,
        sanitize_html=True,
        line_breaks=True,
        latex_delimiters=LATEX,
    )


def _html(template: str, elem_id: str) -> gr.HTML:
    """Our own markup, the same for every item; it never takes a value."""
    return gr.HTML(
        html_template=template,
        elem_id=elem_id,
        apply_default_css=False,
        js_on_load=None,
    )
