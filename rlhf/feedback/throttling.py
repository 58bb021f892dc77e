"""Slowing down those who guess passwords, by login and by address.

The counts are in the store: they hold across restarts and workers. Each function works inside the
caller's transaction.
"""

import hashlib
import ipaddress
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from rlhf.feedback.schema import throttles

FREE_OF_LOGIN = 5
FREE_OF_ADDRESS = 100  # a whole office of labelers may sit behind one
LONGEST_BLOCK_SECONDS = 900.0
FORGOTTEN_AFTER_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Key:
    """What is counted; after `free` failures each doubles the wait."""

    name: str
    free: int


def login_key(login: str) -> Key:
    """Attempts on one login; its digest, so that this table holds no names."""
    return Key(
        f"login:{hashlib.sha256(login.encode('utf-8', 'replace')).hexdigest()}", FREE_OF_LOGIN
    )


def address_key(address: str) -> Key:
    """Attempts from one address (an IPv6 network of 64 bits counts as one); many may sit behind
    it.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return Key(f"address:{address[:100]}", FREE_OF_ADDRESS)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return Key(f"address:{ipaddress.ip_network((found, 64), strict=False)}", FREE_OF_ADDRESS)
    return Key(f"address:{found}", FREE_OF_ADDRESS)


def block_seconds(failures: int, free: int) -> float:
    """How long to wait after so many failures: 0, then 1, 2, 4, ... up to 15 minutes."""
    over = failures - free
    return 0.0 if over < 0 else float(min(LONGEST_BLOCK_SECONDS, 2.0 ** min(over, 30)))


def attempt(db: Connection, keys: tuple[Key, ...], moment: float) -> float:
    """Counts an attempt as failed until it succeeds, so that many at once are not free.

    Returns the seconds to wait before trying again; where that is more than 0 the attempt does not
    count and must not be made.
    """
    old = throttles.c.blocked_until < moment - FORGOTTEN_AFTER_SECONDS
    db.execute(delete(throttles).where(old))
    names = sorted(key.name for key in keys)
    for name in names:
        _ensure(db, name, moment)
    # Locked in one order before they are read, so that attempts at once are counted one by one.
    query = select(throttles).where(throttles.c.key.in_(names)).order_by(throttles.c.key)
    held = {row.key: row for row in db.execute(query.with_for_update()).all()}
    waits: list[float] = [row.blocked_until - moment for row in held.values()]
    if max(waits) > 0:
        return max(waits)
    for key in sorted(keys, key=lambda key: key.name):
        failures = held[key.name].failures + 1
        until = moment + block_seconds(failures, key.free)
        mine = throttles.c.key == key.name
        db.execute(update(throttles).where(mine).values(failures=failures, blocked_until=until))
    return 0.0


def succeeded(db: Connection, login: Key, address: Key, moment: float) -> None:
    """Forgets the login's failures and takes the attempt off its address; the address's other
    failures stay, or one good login of an attacker's own would wipe them out.
    """
    db.execute(delete(throttles).where(throttles.c.key == login.name))
    fewer = {"failures": throttles.c.failures - 1, "blocked_until": moment}
    db.execute(update(throttles).where(throttles.c.key == address.name).values(**fewer))
    db.execute(delete(throttles).where(throttles.c.key == address.name, throttles.c.failures < 1))


def _ensure(db: Connection, name: str, moment: float) -> None:
    """Makes the row of a key where there is none; another attempt may do so at the same time."""
    if db.execute(select(throttles.c.key).where(throttles.c.key == name)).first() is not None:
        return
    try:
        with db.begin_nested():
            row = {"key": name, "failures": 0, "blocked_until": moment}
            db.execute(insert(throttles).values(**row))
    except IntegrityError:
        return
