"""What a campaign's items want in all; the secret that names its items; seals of what had none."""

import secrets
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from rlhf.feedback.seals import seal_all

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("wanted", sa.Integer, nullable=False, server_default="0"))
    op.add_column(
        "campaigns", sa.Column("secret", sa.String(64), nullable=False, server_default="")
    )
    op.execute(
        "update campaigns set wanted = (select coalesce(sum(items.wanted), 0) from items where "
        "items.campaign_id = campaigns.id and items.kind = 'work')"
    )
    campaigns = sa.table("campaigns", sa.column("id"), sa.column("secret"))
    connection = op.get_bind()
    for campaign_id in connection.execute(sa.select(campaigns.c.id)).scalars().all():
        mine = sa.update(campaigns).where(campaigns.c.id == campaign_id)
        connection.execute(mine.values(secret=secrets.token_hex()))
    seal_all(connection, datetime.now(UTC).isoformat(timespec="milliseconds"))
