"""Modes, checks, drafts, versions, people, and the audit log; rankings become answers."""

import json

import sqlalchemy as sa
from alembic import op

from rlhf.feedback.audit import append_recorded
from rlhf.feedback.progress import count_all

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _widen_campaigns()
    _widen_items()
    _widen_assignments()
    op.add_column("labelers", sa.Column("withdrawn_at", sa.String(40)))
    _make_work_tables()
    _make_audit_tables()
    _make_people_tables()
    _turn_rankings_into_answers()


def _widen_campaigns() -> None:
    for name in ("version", "guidelines_version"):
        op.add_column("campaigns", sa.Column(name, sa.Integer, nullable=False, server_default="1"))
    op.create_table(
        "campaign_versions",
        _campaign(primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("guidelines_version", sa.Integer, nullable=False),
        sa.Column("guidelines", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=False),
        sa.Column("changed_at", sa.String(40), nullable=False),
    )
    op.execute(
        "insert into campaign_versions select id, 1, 1, guidelines, settings, '', '', created_at "
        "from campaigns"
    )


def _widen_items() -> None:
    op.add_column("items", sa.Column("kind", sa.String(10), nullable=False, server_default="work"))
    # In words: a batch would drop the table, which SQLite refuses while rows point to it.
    op.execute(
        "alter table items add column of_item integer "
        "constraint items_of_item_fkey references items (id)"
    )
    op.add_column("items", sa.Column("expected", sa.JSON))
    op.add_column("items", sa.Column("priority", sa.Float, nullable=False, server_default="0"))
    op.add_column("items", sa.Column("taken", sa.Integer, nullable=False, server_default="0"))
    op.execute(
        "update items set taken = (select count(*) from assignments where "
        "assignments.item_id = items.id and assignments.state in ('open', 'done'))"
    )
    op.execute("update items set taken = wanted where taken > wanted")
    op.create_index("items_wanted", "items", ["campaign_id", "kind", "wanted"])
    op.create_index("items_of_item", "items", ["of_item"])
    free = sa.text("taken < wanted")
    op.create_index(
        "items_free",
        "items",
        ["campaign_id", "kind", sa.text("priority DESC"), "position"],
        sqlite_where=free,
        postgresql_where=free,
    )
    op.create_index(
        "items_balanced",
        "items",
        ["campaign_id", "kind", sa.text("priority DESC"), "taken", "position"],
        sqlite_where=free,
        postgresql_where=free,
    )


def _widen_assignments() -> None:
    """Ordinals by the order of the items; the order shown stands in the rankings already."""
    old = sa.table(
        "assignments",
        *(sa.column(name) for name in ("item_id", "labeler_id", "state", "leased_until", "reason")),
    )
    items = sa.table(
        "items", *(sa.column(name) for name in ("id", "campaign_id", "position", "response_ids"))
    )
    joined = sa.select(old, items.c.campaign_id, items.c.response_ids).join(
        items, items.c.id == old.c.item_id
    )
    connection = op.get_bind()
    rows = connection.execute(joined.order_by(items.c.campaign_id, items.c.position)).all()
    op.drop_table("assignments")
    made = op.create_table(
        "assignments",
        sa.Column("item_id", sa.Integer, sa.ForeignKey("items.id"), primary_key=True),
        sa.Column("labeler_id", sa.String(64), sa.ForeignKey("labelers.id"), primary_key=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("leased_until", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        _campaign(),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("shown", sa.JSON, nullable=False),
    )
    op.create_index(
        "assignments_of_labeler", "assignments", ["labeler_id", "campaign_id", "state", "ordinal"]
    )
    op.create_index("assignments_in_order", "assignments", ["labeler_id", "campaign_id", "ordinal"])
    op.create_index("assignments_due", "assignments", ["campaign_id", "state", "leased_until"])
    counts: dict[tuple[int, str], int] = {}
    fresh = []
    for row in rows:
        key = (row.campaign_id, row.labeler_id)
        counts[key] = counts.get(key, 0) + 1
        responses = row.response_ids
        shown = json.loads(responses) if isinstance(responses, str) else responses
        fresh.append({**row._mapping, "ordinal": counts[key], "shown": shown})
        del fresh[-1]["response_ids"]
    if fresh:
        op.bulk_insert(made, fresh)


def _make_work_tables() -> None:
    op.create_table(
        "drafts",
        sa.Column("item_id", sa.Integer, sa.ForeignKey("items.id"), primary_key=True),
        _labeler(primary_key=True),
        sa.Column("body", sa.JSON, nullable=False),
        _told("saved_at"),
    )
    op.create_table(
        "flags",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("item_id", sa.Integer, sa.ForeignKey("items.id"), nullable=False),
        _labeler(),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        _told("flagged_at"),
    )
    op.create_table(
        "tallies",
        _campaign(primary_key=True),
        _labeler(primary_key=True),
        sa.Column("answers", sa.Integer, nullable=False),
        sa.Column("work", sa.Integer, nullable=False),
        sa.Column("late", sa.Integer, nullable=False),
    )
    op.create_table(
        "members",
        _campaign(primary_key=True),
        _labeler(primary_key=True),
        sa.Column("told_version", sa.Integer, nullable=False),
        _told("since"),
    )
    op.create_table(
        "consents",
        _campaign(primary_key=True),
        _labeler(primary_key=True),
        sa.Column("guidelines_version", sa.Integer, primary_key=True),
        _told("given_at"),
    )


def _make_audit_tables() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        _told("at"),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("chain", sa.String(64), nullable=False),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("chain", sa.String(64), nullable=False),
    )
    op.execute("insert into audit_head (id, number, chain) values (1, 0, '')")


def _make_people_tables() -> None:
    op.create_table(
        "accounts",
        _labeler(primary_key=True),
        sa.Column("login", sa.String(100), nullable=False, unique=True),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        _told("created_at"),
    )
    op.create_table(
        "invitations",
        sa.Column("token_digest", sa.String(64), primary_key=True),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("campaign_id", sa.Integer, sa.ForeignKey("campaigns.id")),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("used_by", sa.String(64)),
    )
    op.create_table(
        "sessions",
        sa.Column("token_digest", sa.String(64), primary_key=True),
        _labeler(),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        _told("created_at"),
        sa.Column("seen_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("revoked", sa.Boolean, nullable=False),
    )
    op.create_index("sessions_of_labeler", "sessions", ["labeler_id"])
    op.create_table(
        "throttles",
        sa.Column("key", sa.String(150), primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("blocked_until", sa.Float, nullable=False),
    )


def _turn_rankings_into_answers() -> None:
    op.create_table(
        "answers",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("submission_id", sa.String(64), nullable=False),
        _campaign(),
        sa.Column("item_id", sa.Integer, sa.ForeignKey("items.id"), nullable=False),
        _labeler(),
        sa.Column("body", sa.JSON),
        sa.Column("salt", sa.String(32)),
        sa.Column("superseded", sa.Boolean, nullable=False),
        sa.Column("late", sa.Boolean, nullable=False),
        sa.UniqueConstraint("campaign_id", "id"),
        sa.UniqueConstraint("campaign_id", "submission_id"),
    )
    op.execute(
        "insert into answers select number, id, 'ranking', submission_id, campaign_id, item_id, "
        "labeler_id, body, null, superseded, false from rankings order by number"
    )
    op.drop_table("rankings")
    op.create_index("answers_of_labeler", "answers", ["campaign_id", "labeler_id", "superseded"])
    op.create_index("answers_of_item", "answers", ["item_id"])
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":  # the numbers were copied, the counter was not
        op.execute(
            "select setval('answers_number_seq', coalesce(max(number), 1), count(*) > 0) "
            "from answers"
        )
    append_recorded(connection)
    count_all(connection)


def _campaign(*, primary_key: bool = False) -> sa.Column[int]:
    key = sa.ForeignKey("campaigns.id")
    return sa.Column("campaign_id", sa.Integer, key, primary_key=primary_key, nullable=False)


def _labeler(*, primary_key: bool = False) -> sa.Column[str]:
    key = sa.ForeignKey("labelers.id")
    return sa.Column("labeler_id", sa.String(64), key, primary_key=primary_key, nullable=False)


def _told(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(40), nullable=False)
