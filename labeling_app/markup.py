"""The page's own markup: the same for every item, with texts from `texts.py` alone.

Nothing here ever takes a value: Gradio compiles templates as JavaScript.
"""

from html import escape

from labeling_app.texts import TEXTS

LETTERS = "ABCDEFGHI"
_NOT_PRESSED = 'aria-pressed="false"'
_NOT_READY = 'class="go" aria-disabled="true"'


def _t(key: str, **values: str) -> str:
    return escape(TEXTS[key].format(**values))


def _button(action: str, key: str, shortcut: str = "", *, extra: str = "") -> str:
    mark = f" <kbd>{escape(shortcut)}</kbd>" if shortcut else ""
    return f'<button type="button" data-action="{action}" {extra}>{_t(key)}{mark}</button>'


def header() -> str:
    guidelines = _button("guidelines", "guidelines", extra='aria-expanded="false"')
    return (
        f'<h1 class="campaign">{_t("title")}</h1><span class="progress-text"></span>'
        f'<progress max="1" value="0" aria-label="{_t("progress_label")}"></progress>'
        f'<span class="spring"></span>{guidelines}{_button("keys", "keys", "?")}'
    )


def guidelines_head() -> str:
    return f"<h2>{_t('guidelines')}</h2>{_button('guidelines', 'close')}"


def card_head(bank: int, letter: str) -> str:
    ranks = "".join(
        f'<label><input type="radio" name="rank-{bank}-{letter}" value="{rank}" '
        f'aria-label="{_t("rank_value", rank=str(rank))}"><span>{rank}</span></label>'
        for rank in range(1, len(LETTERS) + 1)
    )
    return (
        f'<h2 class="letter">{letter}</h2>'
        f'<div class="ranks" role="radiogroup" aria-label="{_t("rank_of", letter=letter)}">'
        f"{ranks}</div>"
    )


def card_foot() -> str:
    raw = _button("raw", "raw", extra=_NOT_PRESSED)
    clear = _button("clear", "clear", extra="hidden")
    tie = '<span class="tie"></span>'
    return f'<pre class="raw" hidden></pre><div class="foot">{raw}{clear}{tie}</div>'


def end() -> str:
    return (
        f'<p class="waiting">{_t("loading")}</p><div class="over" hidden>'
        f'<h2 tabindex="-1">{_t("end_title")}</h2><p class="mine"></p><p class="open"></p>'
        f'<div class="next"><p>{_t("end_next")}</p><pre tabindex="0"></pre></div>'
        f"{_button('again', 'end_again')}</div>"
    )


def dock() -> str:
    return (
        '<div class="failure" role="alert" hidden><span></span>'
        f"{_button('retry', 'retry')}</div>"
        f'<div class="order"><span class="lead">{_t("best_first")}</span> '
        '<span class="groups"></span></div><div class="actions">'
        f"{_button('none', 'none_acceptable', '0', extra=_NOT_PRESSED)}"
        f"{_button('skip', 'skip', 's')}{_button('undo', 'undo', 'u')}"
        f"{_button('submit', 'submit', '↵', extra=_NOT_READY)}</div>"
        '<div class="live" aria-live="polite" role="status"></div>'
    )


def skip_dialog() -> str:
    reasons = "".join(
        f'<label><input type="radio" name="reason" value="{_t(key)}"> {_t(key)}</label>'
        for key in TEXTS
        if key.startswith("skip_reason_")
    )
    return (
        '<dialog id="skip-dialog" aria-labelledby="skip-title"><form method="dialog">'
        f'<h2 id="skip-title">{_t("skip_title")}</h2><p>{_t("skip_lead")}</p>'
        f"<fieldset><legend>{_t('skip_reasons')}</legend>{reasons}</fieldset>"
        f'<label class="note">{_t("skip_note")}<textarea rows="2" maxlength="800"></textarea>'
        f'</label><div class="choices"><button type="submit" value="skip" class="go">'
        f'{_t("skip_confirm")}</button><button type="button" data-action="close-dialog">'
        f"{_t('skip_cancel')}</button></div></form></dialog>"
    )


def keys_dialog() -> str:
    keys = (
        ("A … I", "key_pick"),
        ("1 … 9", "key_rank"),
        ("⌫", "key_clear"),
        ("u", "key_undo"),
        ("0", "key_none"),
        ("r", "key_raw"),
        ("s", "key_skip"),
        ("↵", "key_submit"),
        ("?", "key_help"),
    )
    rows = "".join(f"<dt><kbd>{key}</kbd></dt><dd>{_t(text)}</dd>" for key, text in keys)
    return (
        f'<dialog id="keys-dialog" aria-labelledby="keys-title"><h2 id="keys-title">'
        f"{_t('keys_title')}</h2><dl>{rows}</dl>"
        f'<div class="choices">{_button("close-dialog", "close")}</div></dialog>'
    )
