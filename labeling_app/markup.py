"""The page's own markup: the same for every item, with texts from `texts.py` alone.

Nothing here ever takes a value: Gradio compiles templates as JavaScript.
"""

from html import escape

from labeling_app.texts import TEXTS
from rlhf.feedback.answering import FLAG_KINDS
from rlhf.feedback.modes import RESPONSE_FLAGS

LETTERS = "ABCDEFGHI"
_NOT_PRESSED = 'aria-pressed="false"'
_NOT_READY = 'class="go" aria-disabled="true"'
_CLOSED = 'aria-expanded="false"'
_MAX_RATIONALE = 4_000  # what `answers.SubmittedAnswer` takes


def _t(key: str, **values: str) -> str:
    return escape(TEXTS[key].format(**values))


def _button(action: str, key: str, shortcut: str = "", *, extra: str = "") -> str:
    mark = f" <kbd>{escape(shortcut)}</kbd>" if shortcut else ""
    label = f'<span class="label">{_t(key)}</span>{mark}'
    return f'<button type="button" data-action="{action}" {extra}>{label}</button>'


def _aside(place: str) -> str:
    """What is about the page and not about the item; `place` is where the width shows it."""
    extra = f'class="{place}"'
    return (
        f"{_button('mine', 'mine', 'm', extra=f'{extra} {_CLOSED}')}"
        f"{_button('review', 'review_work', extra=f'{extra} hidden')}"
        f"{_button('theme', 'theme', extra=extra)}{_button('keys', 'keys', '?', extra=extra)}"
        f'<a {extra} href="campaigns">{_t("campaigns")}</a>'
        f'<a {extra} href="lead/" data-lead hidden>{_t("dashboard")}</a>'
    )


def header() -> str:
    return (
        '<h1 class="campaign"></h1><span class="progress-text"></span>'
        f'<progress max="1" value="0" aria-label="{_t("progress_label")}"></progress>'
        '<span class="state" role="status"></span><span class="spring"></span>'
        f"{_button('guidelines', 'guidelines', 'n', extra=_CLOSED)}{_aside('wide')}"
    )


def banner() -> str:
    return (
        '<div class="notice changed" hidden><div class="notes">'
        f"<strong>{_t('changed_title')}</strong><ul></ul></div>"
        f"{_button('read', 'changed_read')}{_button('told', 'changed_told')}</div>"
        f'<div class="notice correcting" hidden><p>{_t("correcting")} '
        f'<strong class="unsaved" hidden>{_t("correcting_unsaved")}</strong></p>'
        f"{_button('back', 'correcting_back', 'esc')}</div>"
    )


def guidelines_head() -> str:
    return (
        f'<h2 tabindex="-1"><span class="always">{_t("guidelines")}</span>'
        f'<span class="consenting">{_t("consent_title")}</span></h2>'
        f'{_button("guidelines", "close", extra=_CLOSED)}<p class="consenting">'
        f"{_t('consent_lead')}</p>"
    )


def guidelines_foot() -> str:
    accept = _button("consent", "consent_accept", extra='class="go"')
    return f'<div class="consenting choices">{accept}<p class="trouble" role="alert"></p></div>'


def own_answers() -> str:
    return (
        f'<div class="head"><h2 tabindex="-1">{_t("mine")}</h2>{_button("mine", "close")}</div>'
        f'<p class="lead">{_t("mine_lead")}</p><ol></ol>'
        f"{_button('more-mine', 'mine_more', extra='hidden')}"
    )


def card_head(bank: int, letter: str) -> str:
    numbers = "".join(
        f'<label><input type="radio" name="number-{bank}-{letter}" value="{number}">'
        f"<span>{number}</span></label>"
        for number in range(1, len(LETTERS) + 1)
    )
    return f'<h2 class="letter">{letter}</h2><div class="ranks" role="radiogroup">{numbers}</div>'


def card_foot() -> str:
    raw = _button("raw", "raw", extra=_NOT_PRESSED)
    expand = _button("expand", "fewer_lines", extra=f"hidden {_CLOSED}")
    diff, clear = _button("diff", "diff"), _button("clear", "clear", extra="hidden")
    flags = "".join(
        f'<label><input type="checkbox" value="{flag}"> {_t(f"flag_{flag}")}</label>'
        for flag in RESPONSE_FLAGS
    )
    return (
        f'<pre class="raw" tabindex="0" hidden></pre>'
        f'<details class="flags" hidden><summary>{_t("problems")} <span class="count"></span>'
        f"</summary><div>{flags}</div></details>"
        f'<div class="foot">{expand}{raw}{diff}{clear}<span class="tie"></span></div>'
    )


def editor(bank: int) -> str:
    return (
        f'<label class="editor"><span class="name">{_t("answer_label")}</span>'
        f'<textarea id="written-{bank}" rows="14" maxlength="50000" '
        f'placeholder="{_t("answer_hint")}"></textarea></label>'
    )


def votes() -> str:
    return f'<div class="votes"><h2>{_t("votes_title")}</h2><ol></ol></div>'


def end() -> str:
    return (
        f'<p class="waiting">{_t("loading")}</p><div class="over" hidden>'
        f'<h2 tabindex="-1">{_t("end_title")}</h2><p class="mine"></p><p class="open"></p>'
        f"<p>{_t('end_looking')}</p>"
        f'<div class="next"><p>{_t("end_next")}</p><pre tabindex="0"></pre></div>'
        f'<div class="choices">{_button("again", "end_again")}{_button("mine", "mine")}'
        f"{_button('review', 'review_work', extra='hidden')}</div></div>"
    )


def dock() -> str:
    secondary = (
        f"{_button('none', 'none_acceptable', '0', extra=_NOT_PRESSED)}"
        f"{_button('why', 'why', 'w', extra=_CLOSED)}{_button('flag', 'tell_lead', 'l')}"
        f"{_button('skip', 'skip', 's')}{_button('undo', 'undo', 'u')}{_aside('narrow')}"
    )
    menu = _button("menu", "menu", extra=f'class="narrow" {_CLOSED} aria-controls="secondary"')
    return (
        '<div class="failure" role="alert" hidden><span></span>'
        f"{_button('retry', 'retry')}</div>"
        f'<label class="rationale" hidden>{_t("rationale_label")}'
        f'<textarea id="rationale" rows="2" maxlength="{_MAX_RATIONALE}"></textarea></label>'
        f'<div class="verdicts" role="radiogroup" aria-label="{_t("verdicts_label")}" hidden></div>'
        f'<div class="order" tabindex="0" role="group" aria-label="{_t("so_far")}">'
        '<span class="lead"></span> '
        '<span class="groups"></span></div><div class="actions">'
        f'<div id="secondary" class="secondary">{secondary}</div>{menu}'
        f"{_button('submit', 'submit', '↵', extra=_NOT_READY)}</div>"
        '<div class="live" aria-live="polite" role="status"></div>'
    )


def _form(name: str, fields: str, confirm: str, cancel: str) -> str:
    return (
        f'<dialog id="{name}-dialog" aria-labelledby="{name}-title"><form method="dialog">'
        f'<h2 id="{name}-title">{_t(f"{name}_title")}</h2><p>{_t(f"{name}_lead")}</p>{fields}'
        f'<label class="note">{_t("skip_note")}<textarea rows="2" maxlength="800"></textarea>'
        f'</label><div class="choices"><button type="submit" value="{name}" class="go">'
        f'{_t(confirm)}</button><button type="button" data-action="close-dialog">{_t(cancel)}'
        f"</button></div></form></dialog>"
    )


def _choices(name: str, legend: str, options: dict[str, str]) -> str:
    rows = "".join(
        f'<label><input type="radio" name="{name}" value="{escape(value)}"> {_t(key)}</label>'
        for key, value in options.items()
    )
    return f"<fieldset><legend>{_t(legend)}</legend>{rows}</fieldset>"


def dialogs() -> str:
    reasons = {key: key for key in TEXTS if key.startswith("skip_reason_")}
    kinds = {f"kind_{kind}": kind for kind in FLAG_KINDS}
    skip = _form("skip", _choices("reason", "skip_reasons", reasons), "skip_confirm", "skip_cancel")
    flag = _form("flag", _choices("kind", "flag_kinds", kinds), "flag_confirm", "flag_cancel")
    return skip + flag + _diff_dialog() + _keys_dialog()


def _diff_dialog() -> str:
    sides = "".join(
        f'<div class="side"><label>{_t(f"diff_{side}")} <select id="diff-{side}"></select></label>'
        f'<div class="text" tabindex="0" role="region" aria-labelledby="diff-{side}"></div></div>'
        for side in ("left", "right")
    )
    return (
        f'<dialog id="diff-dialog" class="large" aria-labelledby="diff-title">'
        f'<h2 id="diff-title">{_t("diff_title")}</h2><p class="trouble" role="status"></p>'
        f'<div class="sides">{sides}</div>'
        f'<div class="choices">{_button("close-dialog", "close")}</div></dialog>'
    )


# Shortcut, what it does, and the modes in which it does so (none: in all of them).
_KEYS = (
    ("A … I", "key_pick", "rank review rate"),
    ("1 … 9", "key_rank", "rank review"),
    ("1 … 7", "key_rate", "rate"),
    ("A  B", "key_compare", "compare evaluate"),
    ("1 … 7  ←  →", "key_scale", "compare evaluate"),
    ("t", "key_tie", "compare evaluate"),
    ("esc", "key_write", "demonstrate"),
    ("p", "key_problems", "rate"),
    ("⌫", "key_clear", "rank review rate compare evaluate"),
    ("0", "key_none", "rank review compare evaluate"),
    ("u", "key_undo", ""),
    ("w", "key_why", ""),
    ("r", "key_raw", ""),
    ("x", "key_expand", ""),
    ("v", "key_diff", ""),
    ("l", "key_lead", ""),
    ("m", "key_mine", ""),
    ("n", "key_guidelines", ""),
    ("s", "key_skip", ""),
    ("↵", "key_submit", ""),
    ("?", "key_help", ""),
)


def _keys_dialog() -> str:
    rows = "".join(
        f'<div data-modes="{modes}"><dt><kbd>{key}</kbd></dt><dd>{_t(text)}</dd></div>'
        for key, text, modes in _KEYS
    )
    return (
        f'<dialog id="keys-dialog" aria-labelledby="keys-title"><h2 id="keys-title">'
        f'{_t("keys_title")}</h2><dl>{rows}</dl><label class="switch">'
        f'<input type="checkbox" id="single-keys" checked> {_t("keys_switch")}</label>'
        f'<div class="choices">{_button("close-dialog", "close")}</div></dialog>'
    )
