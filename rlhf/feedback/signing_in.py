"""Signing in with a password: slowed down where it fails, and as slow for an unknown login as for a
wrong password.

Hashing takes its time, so it happens between transactions and never inside one.
"""

import math
from dataclasses import dataclass

from rlhf.feedback import people, sessions, throttling
from rlhf.feedback.database import Database
from rlhf.feedback.passwords import hash_password, is_outdated, is_password


class TooManyAttemptsError(ValueError):
    """Too many passwords were tried; `seconds` is how long to wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = math.ceil(seconds)
        super().__init__(f"too many attempts: try again in {self.seconds} s")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session: whose, and its secret."""

    labeler_id: str
    secret: str


def sign_in(
    database: Database, login: str, password: str, *, address: str, browser: str, moment: float
) -> SignedIn:
    """A new session for whoever knows the password of `login`.

    Raises TooManyAttemptsError, and ValueError in the same words for an unknown login, a closed
    account and a wrong password.
    """
    name = _form_of(login)
    labeler_id = check_slowly(database, name, password, address=address, moment=moment)
    with database.writing() as db:
        seconds = sessions.SESSION_SECONDS
        secret = sessions.start(db, labeler_id, "session", browser, moment=moment, seconds=seconds)
    return SignedIn(labeler_id, secret)


def check_slowly(
    database: Database, login: str, password: str, *, address: str, moment: float
) -> str:
    """The pseudonym of the account with this login and password; raises as `sign_in` does."""
    counted = (throttling.login_key(login), throttling.address_key(address))
    with database.writing() as db:
        wait = throttling.attempt(db, counted, moment)
        kept = None if wait else people.kept_password(db, login)
    if wait:
        raise TooManyAttemptsError(wait)
    right = is_password(None if kept is None else kept[1], password)
    if kept is None or not right:
        raise ValueError("the login or the password is wrong")
    labeler_id, password_hash = kept
    renewed = hash_password(password) if is_outdated(password_hash) else None
    with database.writing() as db:
        throttling.succeeded(db, *counted, moment)
        if renewed is not None:
            people.keep_password(db, labeler_id, renewed)
    return labeler_id


def _form_of(login: str) -> str:
    try:
        return people.checked_login(login)
    except ValueError:  # nobody can have it: counted and refused like an unknown one
        return login
