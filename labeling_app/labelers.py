"""Who ranks: ids that name a labeler without naming a person."""

import getpass
import hashlib
import re

_LABELER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def default_labeler_id() -> str:
    """A pseudonym for the user of this machine: the same every day, without the user's name in
    it.
    """
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry in the password database
        name = ""
    return f"labeler-{hashlib.sha256(f'rlhf labeler {name}'.encode()).hexdigest()[:8]}"


def check_labeler_id(labeler_id: str) -> str:
    """The id itself; ValueError where it could not stand in a file name or an export."""
    if not _LABELER_ID.fullmatch(labeler_id):
        raise ValueError(
            f"{labeler_id!r} cannot be a labeler's id: use 1 to 64 letters, digits, '.', '_' or "
            "'-', and a pseudonym rather than a name"
        )
    return labeler_id
