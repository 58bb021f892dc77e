"""The first tables: campaigns, prompts, responses, items, labelers, assignments, rankings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("mode", sa.String(40), nullable=False),
        sa.Column("guidelines", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
    )
    op.create_table(
        "prompts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "responses",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("prompt_id", sa.String(64), sa.ForeignKey("prompts.id"), nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "items",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("campaign_id", sa.Integer, sa.ForeignKey("campaigns.id"), nullable=False),
        sa.Column("prompt_id", sa.String(64), sa.ForeignKey("prompts.id"), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("response_ids", sa.JSON, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("wanted", sa.Integer, nullable=False),
        sa.UniqueConstraint("campaign_id", "key"),
    )
    op.create_index("items_in_order", "items", ["campaign_id", "position"])
    op.create_table(
        "labelers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.String(40), nullable=False),
    )
    op.create_table(
        "assignments",
        sa.Column("item_id", sa.Integer, sa.ForeignKey("items.id"), primary_key=True),
        sa.Column("labeler_id", sa.String(64), sa.ForeignKey("labelers.id"), primary_key=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("leased_until", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("assignments_of_labeler", "assignments", ["labeler_id", "state"])
    op.create_table(
        "rankings",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("submission_id", sa.String(64), nullable=False),
        sa.Column("campaign_id", sa.Integer, sa.ForeignKey("campaigns.id"), nullable=False),
        sa.Column("item_id", sa.Integer, sa.ForeignKey("items.id"), nullable=False),
        sa.Column("labeler_id", sa.String(64), sa.ForeignKey("labelers.id"), nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("superseded", sa.Boolean, nullable=False),
        sa.UniqueConstraint("campaign_id", "id"),
        sa.UniqueConstraint("campaign_id", "submission_id"),
    )
    op.create_index("rankings_of_campaign", "rankings", ["campaign_id", "number"])
