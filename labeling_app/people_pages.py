"""The pages about people: signing in, invitations, one's account, who is there, campaigns.

Each is the same for everybody: a shell that its script fills through `/api/`, as plain text.
"""

import json
from collections.abc import Awaitable, Callable
from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from labeling_app.people_texts import PEOPLE_TEXTS
from rlhf.feedback.passwords import LONGEST, SHORTEST

_SAID = "<p id='said' role='status' aria-live='polite'></p>"  # what happened, or why it did not


def people_pages(*, with_accounts: bool) -> APIRouter:
    """The routes of the pages; without accounts there is only the list of campaigns."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    pages = {"/campaigns": _campaigns()}
    if with_accounts:
        pages["/sign-in"] = _sign_in()
        pages["/invitation"] = _invitation()
        pages["/account"] = _account()
        pages["/people"] = _people()
    for path, html in pages.items():
        router.add_api_route(path, _same(html), methods=["GET"])
    return router


def _same(html: str) -> Callable[[], Awaitable[str]]:
    async def page() -> str:
        return html

    return page


def _sign_in() -> str:
    form = (
        f"<form>{_field('login', 'login', autocomplete='username')}"
        f"{_password('password', 'password', 'current-password')}"
        f"{_button('sign_in')}</form><p class='hint'>{_t('sign_in_help')}</p>"
    )
    return _page("sign_in_title", "sign-in", _card(f"<h1>{_t('sign_in_title')}</h1>{form}"))


def _invitation() -> str:
    form = (
        f"<form hidden>{_field('login', 'login', hint='login_hint', autocomplete='username')}"
        f"{_password('password', 'password', 'new-password', hint='password_hint')}"
        f"{_button('accept')}</form><p class='hint' id='pseudonym' hidden>"
        f"{_t('pseudonym_lead')}</p>"
    )
    body = f"<h1>{_t('invitation_title')}</h1><p id='lead'></p>{form}"
    return _page("invitation_title", "invitation", _card(body))


def _account() -> str:
    password = (
        f"<form id='password-form'>{_password('old', 'old_password', 'current-password')}"
        f"{_password('new', 'new_password', 'new-password', hint='password_hint')}"
        f"{_button('change_password')}</form>"
    )
    token = (
        f"<p>{_t('tokens_lead')}</p><ul id='tokens' class='rows'></ul><form id='token-form'>"
        f"{_field('name', 'token_name')}{_number('days', 'token_days', 90, 366)}"
        f"{_button('make_token')}</form>{_once('token_made', 'tokens')}"
    )
    body = (
        f"<h1>{_t('account_title')}</h1><p id='lead'></p>"
        f"{_section('sessions', '<ul id=sessions class=rows></ul>')}"
        f"{_section('change_password', password)}{_section('tokens', token)}"
    )
    return _page("account_title", "account", body, signed_in=True)


def _people() -> str:
    roles = "".join(
        f"<option value='{role}'>{_t(f'role_{role}')}</option>"
        for role in ("labeler", "reviewer", "lead", "admin")
    )
    any_campaign = f"<option value=''>{_t('campaign_any')}</option>"
    invite = (
        f"<form id='invite-form'>{_select('role', 'role', roles)}"
        f"{_select('campaign', 'campaign', any_campaign)}"
        f"{_number('days', 'invitation_days', 7, 90)}{_button('make_invitation')}</form>"
        f"{_once('link_made', 'link')}"
    )
    heads = "".join(
        f"<th scope='col'>{_t(key)}</th>" for key in ("account", "role", "state", "actions")
    )
    accounts = (
        "<div class='scroll' tabindex='0' role='group' aria-label='"
        f"{_t('accounts')}'><table><thead><tr>{heads}</tr></thead>"
        "<tbody id='accounts'></tbody></table></div>"
    )
    body = (
        f"<h1>{_t('people_title')}</h1>{_section('invite', invite)}"
        f"{_section('invitations', '<ul id=invitations class=rows></ul>')}"
        f"{_section('accounts', accounts)}"
    )
    return _page("people_title", "people", body, signed_in=True)


def _campaigns() -> str:
    modes = "".join(
        f"<option value='{mode}'>{_t(f'mode_{mode}')}</option>"
        for mode in ("rank", "compare", "rate", "demonstrate", "evaluate")
    )
    make = (
        f"<p>{_t('make_campaign_lead')}</p><form id='campaign-form'>"
        f"{_field('name', 'campaign_name')}{_select('mode', 'campaign_mode', modes)}"
        f"{_button('make_campaign')}</form>"
    )
    body = (
        f"<h1>{_t('campaigns_title')}</h1><ul id='campaigns' class='rows'></ul>"
        f"<div data-dashboard hidden>{_section('make_campaign', make)}</div>"
    )
    return _page("campaigns_title", "campaigns", body, signed_in=True)


def _page(title: str, script: str, body: str, *, signed_in: bool = False) -> str:
    texts = json.dumps(PEOPLE_TEXTS).replace("<", "\\u003c")
    header = ""
    if signed_in:
        links = "".join(
            f"<a href='{path}'{extra}>{_t(key)}</a>"
            for path, key, extra in (
                ("/campaigns", "campaigns_title", ""),
                ("/account", "account_title", " data-accounts hidden"),
                ("/people", "people_title", " data-lead hidden"),
                ("/lead/", "dashboard", " data-dashboard hidden"),
            )
        )
        out = f"<button type='button' id='sign-out' data-accounts hidden>{_t('sign_out')}</button>"
        header = f"<header><nav aria-label='{_t('navigation')}'>{links}</nav>{out}</header>"
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<meta name='color-scheme' content='light dark'><title>{_t(title)}</title>"
        "<link rel='icon' href='data:,'><link rel='stylesheet' href='/page/people.css'>"
        f"<script type='application/json' id='texts'>{texts}</script>"
        f"<script type='module' src='/page/{script}.js'></script></head><body>{header}"
        f"<main>{body}{_SAID if signed_in else ''}"
        f"<noscript><p>{_t('needs_script')}</p></noscript></main></body></html>"
    )


def _t(key: str) -> str:
    return escape(PEOPLE_TEXTS[key])


def _card(body: str) -> str:
    return f"<div class='card'>{body}{_SAID}</div>"


def _section(title: str, body: str) -> str:
    return (
        f"<section aria-labelledby='h-{title}'><h2 id='h-{title}'>{_t(title)}</h2>{body}</section>"
    )


def _button(key: str) -> str:
    return f"<button type='submit' class='go'>{_t(key)}</button>"


def _field(name: str, label: str, *, hint: str = "", autocomplete: str = "off") -> str:
    return _labeled(
        name,
        label,
        hint,
        f"type='text' maxlength='100' autocomplete='{autocomplete}' autocapitalize='none' "
        "spellcheck='false'",
    )


def _password(name: str, label: str, autocomplete: str, *, hint: str = "") -> str:
    length = f"minlength='{SHORTEST}' " if autocomplete == "new-password" else ""
    return _labeled(
        name,
        label,
        hint,
        f"type='password' {length}maxlength='{LONGEST}' autocomplete='{autocomplete}'",
    )


def _number(name: str, label: str, value: int, most: int) -> str:
    return _labeled(name, label, "", f"type='number' min='1' max='{most}' value='{value}'")


def _labeled(name: str, label: str, hint: str, attributes: str) -> str:
    described = f" aria-describedby='hint-{name}'" if hint else ""
    told = f"<span class='hint' id='hint-{name}'>{_t(hint)}</span>" if hint else ""
    return (
        f"<div class='field'><label for='{name}'>{_t(label)}</label>"
        f"<input id='{name}' name='{name}' required {attributes}{described}>{told}</div>"
    )


def _select(name: str, label: str, options: str) -> str:
    return (
        f"<div class='field'><label for='{name}'>{_t(label)}</label>"
        f"<select id='{name}' name='{name}'>{options}</select></div>"
    )


def _once(key: str, label: str) -> str:
    """Where a secret is shown, once."""
    return (
        f"<div class='once' hidden><p>{_t(key)}</p><div><input readonly aria-label='{_t(label)}'>"
        f"<button type='button'>{_t('copy')}</button></div></div>"
    )
