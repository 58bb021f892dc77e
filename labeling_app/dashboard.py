"""The lead's page as Gradio blocks: our own markup, filled by `static/dashboard.js`.

The markup takes no value and no event runs on the server. What people and models wrote reaches the
page through `/api/lead` and is only ever set as text.
"""

from html import escape

import gradio as gr

from labeling_app.lead_texts import LEAD_TEXTS

HEAD = '<link rel="stylesheet" href="../page/dashboard.css">'
_START = "import(new URL('../page/dashboard.js', document.baseURI)).then(m => m.start(element))"
_NUMBER = "type=number step=any min=0"
SETTINGS = {  # by name, the attributes of their inputs
    "overlap": _NUMBER,
    "overlap_share": _NUMBER,
    "gold_share": _NUMBER,
    "repeat_share": _NUMBER,
    "repeat_after": "type=number step=1 min=1",
    "identical_share": _NUMBER,
    "lease_minutes": _NUMBER,
    "pay_per_answer": _NUMBER,
    "currency": "maxlength=10",
    "consent": "type=checkbox",
    "members_only": "type=checkbox",
}
SECTIONS = ("progress", "findings", "agreement", "disputes", "labelers", "flags", "all_items")


def lead_page() -> gr.Blocks:
    """The blocks of the dashboard; to be mounted at `/lead`, for the role lead and above."""
    with gr.Blocks(title=LEAD_TEXTS["title"], analytics_enabled=False) as page:
        gr.HTML(html_template=_page(), elem_id="lead", apply_default_css=False, js_on_load=_START)
    return page


def _t(key: str) -> str:
    """A text as HTML; what Gradio would compile as a template is spelled as entities."""
    text = escape(LEAD_TEXTS[key])
    return text.replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;")


def _page() -> str:
    return (
        f'{_header()}<div class="page">{_progress()}{_findings()}{_agreement()}{_disputes()}'
        f"{_labelers()}{_flags()}{_items()}{_change()}</div>{_item_dialog()}"
        '<div class="said" role="status" aria-live="polite"></div>'
    )


def _header() -> str:
    links = "".join(f'<a href="#{name}">{_t(name)}</a>' for name in (*SECTIONS, "change"))
    return (
        f'<header><h1>{_t("title")}</h1><label class="choose">{_t("campaign")} '
        '<select id="campaign"></select></label><span class="state"></span>'
        f'<button type="button" data-action="pause">{_t("pause")}</button>'
        f'<span class="live"></span><a href="../campaigns">{_t("campaigns")}</a></header>'
        f'<nav aria-label="{_t("title")}">{links}</nav>'
        '<div class="lost" role="alert" hidden></div>'
    )


def _section(name: str, inside: str, *, plot: str = "") -> str:
    figure = ""
    if plot:
        figure = (
            f'<figure id="{plot}"><div class="drawing"></div><figcaption></figcaption>'
            f"<details><summary>{_t('figures')}</summary><table></table></details></figure>"
        )
    body = f'<div class="beside"><div>{inside}</div>{figure}</div>' if plot else inside
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{_t(name)}</h2>'
        f"{body}</section>"
    )


def _progress() -> str:
    return _section(
        "progress",
        f'<p class="lead">{_t("loading")}</p><progress max="1" value="0" '
        f'aria-labelledby="progress-title"></progress><dl class="facts"></dl>'
        '<p class="note too-long" hidden></p>',
        plot="plot-answers",
    )


def _findings() -> str:
    return _section(
        "findings", f'<p class="lead">{_t("counting")}</p><ul></ul><p class="note"></p>'
    )


def _table(*, wide: bool = False) -> str:
    style = "wide" if wide else "plain"
    return f'<div class="scroll"><table class="{style}"></table></div>'


def _agreement() -> str:
    inside = f'<p class="lead">{_t("counting")}</p>{_table()}'
    return _section("agreement", inside, plot="plot-agreement")


def _disputes() -> str:
    link = f'<a class="reviews" href="..">{_t("open_reviews")}</a>'
    return _section("disputes", f'<p class="lead"></p>{_table()}<p class="note">{link}</p>')


def _labelers() -> str:
    return _section("labelers", f'<p class="lead"></p>{_table(wide=True)}<p class="note"></p>')


def _flags() -> str:
    return (
        f'<div class="two">{_section("flags", f"<p class=lead></p>{_table()}")}'
        f"{_section('skips_title', f'<p class=lead></p>{_table()}')}</div>"
    )


def _items() -> str:
    find = (
        f'<form class="row" id="find"><label>{_t("search")} <input name="search" type="search" '
        f'maxlength="200"></label><button type="submit">{_t("search_go")}</button></form>'
    )
    more = f'<button type="button" data-action="more" hidden>{_t("more")}</button>'
    return _section("all_items", f'{find}<p class="lead"></p>{_table()}{more}')


def _change() -> str:
    return _section(
        "change",
        f'<div class="cards">{_guidelines()}{_settings()}{_uploads()}{_reviews()}{_export()}</div>'
        f"<h3>{_t('versions')}</h3>{_table()}",
    )


def _form(name: str, title: str, inside: str, button: str) -> str:
    return (
        f'<form class="card" id="{name}"><h3>{_t(title)}</h3>{inside}'
        f'<button type="submit" class="go">{_t(button)}</button>'
        '<p class="outcome" role="status"></p></form>'
    )


def _note() -> str:
    return (
        f'<label>{_t("note_label")}<input name="note" maxlength="1000" '
        f'autocomplete="off" placeholder="{_t("note_optional")}"></label>'
    )


def _guidelines() -> str:
    inside = (
        f'<label>{_t("guidelines_text")}<textarea name="guidelines" rows="12" maxlength="50000">'
        f'</textarea></label><details class="theirs" hidden><summary>{_t("theirs")}</summary>'
        f"<pre></pre></details>{_note()}"
    )
    return _form("change-guidelines", "guidelines", inside, "save_change")


def _settings() -> str:
    fields = "".join(
        f'<label>{_t(f"set_{name}")}<input name="{name}" autocomplete="off" {attributes}></label>'
        for name, attributes in SETTINGS.items()
    )
    orders = "".join(
        f'<option value="{order}">{_t(f"order_{order}")}</option>'
        for order in ("position", "balanced")
    )
    fields += f'<label>{_t("set_order")}<select name="order">{orders}</select></label>'
    inside = f'<div class="fields">{fields}</div><p class="note">{_t("settings_help")}</p>{_note()}'
    return _form("change-settings", "settings", inside, "save_change")


def _uploads() -> str:
    file = (
        f'<label>{_t("file")}<input name="file" type="file" accept=".jsonl,.ndjson,.json"></label>'
    )
    model = f'<label>{_t("model_name")}<input name="model" required maxlength="200"></label>'
    items = f'<p class="note">{_t("add_items_help")}</p>{file}'
    return _form("add-items", "add_items", items, "add") + _form(
        "add-model", "add_model", f'<p class="note">{_t("add_model_help")}</p>{model}{file}', "add"
    )


def _reviews() -> str:
    inside = (
        f'<p class="note">{_t("reviews_help")}</p><label>{_t("reviews_below")}<input name="below" '
        'type="number" min="0.05" max="1" step="0.05" value="0.6" required></label>'
    )
    return _form("ask-reviews", "reviews", inside, "reviews_ask")


def _export() -> str:
    inside = (
        f'<p class="note">{_t("export_help")}</p><label>{_t("export_without")}'
        '<input name="without" autocomplete="off"></label>'
    )
    return _form("export", "export", inside, "export_get")


def _item_dialog() -> str:
    gold = (
        f'<p class="note">{_t("gold_help")}</p><div class="row">'
        f'<button type="button" data-action="gold">{_t("mark_gold")}</button>'
        f'<button type="button" data-action="work">{_t("unmark_gold")}</button>'
        f'<button type="button" data-action="review">{_t("ask_review")}</button>'
        f'<label>{_t("priority")} <input name="priority" type="number" step="any"></label>'
        f'<button type="button" data-action="priority">{_t("set_priority")}</button></div>'
        '<p class="outcome" role="status"></p>'
    )
    return (
        '<dialog id="item" aria-labelledby="item-title"><div class="bar">'
        '<h2 id="item-title"></h2>'
        f'<button type="button" data-action="close">{_t("close")}</button></div>'
        '<div class="turns"></div><div class="responses"></div>'
        f'<h3>{_t("said_by")}</h3><div class="votes"></div>{gold}</dialog>'
    )
