"""Passwords: what is good enough, and how they are kept (Argon2id, the library's parameters)."""

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 10, 200
FEWEST_CHARACTERS = 4  # different ones
# The commonest ones that are long enough to pass otherwise.
_COMMON = """
1234567890 0123456789 0987654321 9876543210 12345678910 123456789a 1q2w3e4r5t 1qaz2wsx3edc
qwertyuiop qwerty12345 qwerty123456 asdfghjkl1 zxcvbnm123 1234qwerasdf q1w2e3r4t5 a123456789
password12 password123 password1234 passwordpassword passw0rd123 p@ssw0rd123 mypassword
administrator adminadmin admin12345 admin123456 letmein123 welcome123 welcome1234 changeme123
iloveyou12 iloveyou123 football123 baseball123 basketball superman123 sunshine123 princess123
dragon1234 monkey12345 liverpool1 abcdefghij abcd123456 abc1234567 secret12345 trustno1trustno1
correcthorsebatterystaple
"""
COMMON = frozenset(_COMMON.split())
_HASHER = PasswordHasher()


def check_password(password: str, login: str) -> str:
    """The password itself; ValueError that says what is wrong with it."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(
            f"a password has {SHORTEST} to {LONGEST} characters, this one has {len(password)}: "
            "a few words that do not belong together are easy to keep in mind"
        )
    plain = password.casefold().strip()
    if plain in (login.casefold(), login.casefold().partition("@")[0]):
        raise ValueError("the password is the login: choose another one")
    if plain in COMMON or len(set(plain)) < FEWEST_CHARACTERS:
        raise ValueError("this password is among the first that are tried: choose another one")
    return password


def hash_password(password: str) -> str:
    """The Argon2id hash, with its salt and parameters."""
    return _HASHER.hash(password)


def is_password(kept: str | None, password: str) -> bool:
    """Whether `kept` is a hash of `password`; takes the same time where nothing is kept."""
    nobody = _hash_of_nobody()
    try:
        return _HASHER.verify(kept or nobody, password) and bool(kept)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _hash_of_nobody() -> str:
    """Verified where there is no such login, so that the answer takes as long as for a wrong
    password.
    """
    return _HASHER.hash("nobody has this password")


def is_outdated(kept: str) -> bool:
    """Whether the hash was made with other parameters than those of today."""
    return _HASHER.check_needs_rehash(kept)
