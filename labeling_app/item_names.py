"""The numbers under which a labeler knows items.

An item's own id counts up as items are made, and a check is made when it is given: by its id it
could be told from work. So ids leave in a permutation of their own for every labeler, keyed by the
campaign's secret: a Feistel network over 48 bits (Luby and Rackoff, 1988), which needs no table.
"""

import hashlib

from rlhf.feedback.campaigns import Campaign

BITS = 48  # JavaScript counts exactly to 53
_HALF = BITS // 2
_MASK = (1 << _HALF) - 1
_ROUNDS = 4


def name_of(campaign: Campaign, labeler_id: str, item_id: int) -> int:
    """The number under which this labeler knows an item."""
    key = _key(campaign, labeler_id)
    left, right = item_id >> _HALF, item_id & _MASK
    for number in range(_ROUNDS):
        left, right = right, left ^ _mixed(key, number, right)
    return left << _HALF | right


def item_named(campaign: Campaign, labeler_id: str, name: int) -> int:
    """The item's own id, whether there is such an item or not."""
    key = _key(campaign, labeler_id)
    left, right = name >> _HALF, name & _MASK
    for number in reversed(range(_ROUNDS)):
        left, right = right ^ _mixed(key, number, left), left
    return left << _HALF | right


def _key(campaign: Campaign, labeler_id: str) -> bytes:
    named = f"{campaign.secret} {labeler_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(named, digest_size=32).digest()


def _mixed(key: bytes, number: int, half: int) -> int:
    said = bytes([number]) + half.to_bytes(_HALF // 8, "big")
    return int.from_bytes(hashlib.blake2b(said, key=key, digest_size=_HALF // 8).digest(), "big")
