"""What the log vouches for beside answers: versions of campaigns (guidelines and settings), the
expected orders of gold items, and consents.

None of it is about one person's words, so that the digests need no salt. Each function works inside
the caller's transaction.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from rlhf.data.identity import Json
from rlhf.feedback.audit import Entry, append, salted_digest
from rlhf.feedback.schema import campaign_versions, campaigns, consents, items

MADE = ("campaign made", "campaign changed", "version sealed")
GOLD = ("gold marked", "gold unmarked", "gold sealed")
CONSENTED = "consent given"

Expected = Iterable[Sequence[str]]  # tie groups of response ids, best first


def version_seal(
    campaign: str, version: int, guidelines_version: int, guidelines: str, settings: Json
) -> str:
    """The digest of a version of a campaign, as hex."""
    facts = [campaign, version, guidelines_version, guidelines, settings]
    return salted_digest("", {"campaign version": facts})


def gold_seal(item_id: int, expected: Expected | None) -> str:
    """The digest of the expected order of a gold item, as hex; empty for an item of work."""
    if expected is None:
        return ""
    return salted_digest("", {"item": item_id, "expected": [list(group) for group in expected]})


def gold_entry(by: str, action: str, item_id: int, expected: Expected | None) -> Entry:
    """The entry that says what is expected of an item from now on."""
    return Entry(by, action, f"item {item_id}", gold_seal(item_id, expected))


def consent_subject(campaign: str, guidelines_version: int) -> str:
    """How the log names what was consented to."""
    return f"{campaign} guidelines {guidelines_version}"


def seal_gold(db: Connection, at: str, campaign_id: int, keys: Sequence[str], by: str = "") -> None:
    """Notes in the log what is expected of the gold items of these keys, just added."""
    mine = (items.c.campaign_id == campaign_id, items.c.kind == "gold")
    rows = db.execute(select(items.c.id, items.c.key, items.c.expected).where(*mine)).all()
    wanted = set(keys)
    found = sorted((row.id, row.expected) for row in rows if row.key in wanted)
    append(db, at, [gold_entry(by, "gold sealed", *one) for one in found])


def seal_versions(db: Connection, at: str, campaign_id: int) -> None:
    """Notes in the log every version of a campaign that came in whole."""
    append(db, at, _version_entries(db, campaign_id))


def seal_all(db: Connection, at: str) -> None:
    """Seals what an earlier version of the store left unsealed. Columns by name: a migration runs
    this, and later ones may add some.
    """
    for campaign_id in db.execute(select(campaigns.c.id).order_by(campaigns.c.id)).scalars().all():
        seal_versions(db, at, campaign_id)
        gold = (items.c.campaign_id == campaign_id, items.c.kind == "gold")
        seal_gold(db, at, campaign_id, db.execute(select(items.c.key).where(*gold)).scalars().all())


def _version_entries(db: Connection, campaign_id: int) -> list[Entry]:
    return [
        Entry("", "version sealed", f"{name} version {version}", seal)
        for name, version, seal in version_seals(db, campaign_id)
    ]


def version_seals(db: Connection, campaign_id: int) -> list[tuple[str, int, str]]:
    """(campaign, version, seal) of each version of a campaign as it is now."""
    table = campaign_versions.c
    query = (
        select(
            campaigns.c.name,
            table.version,
            table.guidelines_version,
            table.guidelines,
            table.settings,
        )
        .join(campaigns, campaigns.c.id == table.campaign_id)
        .where(table.campaign_id == campaign_id)
        .order_by(table.version)
    )
    return [(row[0], row[1], version_seal(*row)) for row in db.execute(query).all()]


def consents_held(db: Connection) -> list[tuple[str, str]]:
    """(labeler, subject) of each consent in the store."""
    query = select(consents.c.labeler_id, campaigns.c.name, consents.c.guidelines_version).join(
        campaigns, campaigns.c.id == consents.c.campaign_id
    )
    return sorted((row[0], consent_subject(row[1], row[2])) for row in db.execute(query).all())
