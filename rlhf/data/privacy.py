"""Personal data and secrets out of texts, by their form: what has no form (names, street addresses)
stays.
"""

import re
from collections.abc import Callable

_SECRET = re.compile(
    r"""-----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    | \bsk-[A-Za-z0-9_-]{16,}
    | \bgh[opsur]_[A-Za-z0-9]{20,} | \bgithub_pat_\w{20,} | \bglpat-[\w-]{16,}
    | \bhf_[A-Za-z0-9]{20,}
    | \bxox[abprs]-[A-Za-z0-9-]{10,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b""",
    re.VERBOSE | re.DOTALL,
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.[^\W\d_]{2,24}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IP = re.compile(rf"(?<![\w.]){_OCTET}(?:\.{_OCTET}){{3}}(?![\w]|\.\d)")
# International, with an area code in brackets, as 3-3-4, or with a leading zero. A bare run of
# digits is left alone (it may be an order number), and so is a date.
_PHONE = re.compile(
    r"""(?<![\w.+-]) (?!\d{1,2}[.-]\d{1,2}[.-]\d{4}\b) (?:
      (?:\+|\b00)[1-9]\d{0,2} [ .-]? (?:\(\d{1,4}\)[ .-]?)? \d{1,4} (?:[ .-]?\d{2,4}){1,5}
    | (?:1[ .-])? \(\d{2,5}\) [ .-]? \d{3,4} [ .-]? \d{3,4}
    | (?:1[ .-])? \d{3} [ .-] \d{3} [ .-] \d{4}
    | 0\d{1,4} (?:[ .-]\d{2,4}){2,4}
    | 0\d{9,10}
    ) (?![\w-])""",
    re.VERBOSE,
)
PHONE_DIGITS = range(9, 16)


def scrub(text: str) -> str:
    """`text` with `[secret]`, `[email]`, `[iban]`, `[card]`, `[ip]` and `[phone]` in place of what
    has their form. Card numbers are checked by Luhn's sum, IBANs by theirs (ISO 7064, mod 97).
    """
    text = _SECRET.sub("[secret]", text)
    text = _EMAIL.sub("[email]", text)
    text = _IBAN.sub(_iban, text)
    text = _CARD.sub(_where("[card]", _is_card), text)
    text = _IP.sub("[ip]", text)
    return _PHONE.sub(_where("[phone]", lambda found: len(_digits(found)) in PHONE_DIGITS), text)


def _where(label: str, test: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
    return lambda match: label if test(match[0]) else match[0]


def _iban(match: re.Match[str]) -> str:
    """Words in capitals may follow the number: they are given back one by one."""
    found = match[0]
    while not _is_iban(found.replace(" ", "")):
        found = found.rpartition(" ")[0]
        if not found:
            return match[0]
    return "[iban]" + match[0][len(found) :]


def _is_iban(compact: str) -> bool:
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])) % 97 == 1


def _is_card(found: str) -> bool:
    digits = _digits(found)[::-1]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _digits(found: str) -> list[int]:
    return [int(sign) for sign in found if sign.isdecimal()]
