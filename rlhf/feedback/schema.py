"""The tables of the store. A change here needs a numbered migration in `migrations/versions`."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("mode", String(40), nullable=False),
    Column("guidelines", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("created_at", String(40), nullable=False),
)

prompts = Table(
    "prompts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("body", JSON, nullable=False),
)

responses = Table(
    "responses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("prompt_id", ForeignKey("prompts.id"), nullable=False),
    Column("body", JSON, nullable=False),
)

# `key` hashes the prompt and the set of responses: a campaign holds the same question once, but may
# ask about other responses to the same prompt.
items = Table(
    "items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("prompt_id", ForeignKey("prompts.id"), nullable=False),
    Column("key", String(64), nullable=False),
    Column("response_ids", JSON, nullable=False),
    Column("position", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    UniqueConstraint("campaign_id", "key"),
    Index("items_in_order", "campaign_id", "position"),
)

labelers = Table(
    "labelers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", String(40), nullable=False),
)

# One labeler meets one item once: open (leased), done or skipped.
assignments = Table(
    "assignments",
    metadata,
    Column("item_id", ForeignKey("items.id"), primary_key=True),
    Column("labeler_id", ForeignKey("labelers.id"), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("leased_until", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Index("assignments_of_labeler", "labeler_id", "state"),
)

# Append-only: `superseded` is the one column that ever changes. A ranking may stand in several
# campaigns (the same file imported into each), but only once in one.
rankings = Table(
    "rankings",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False),
    Column("submission_id", String(64), nullable=False),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("item_id", ForeignKey("items.id"), nullable=False),
    Column("labeler_id", ForeignKey("labelers.id"), nullable=False),
    Column("body", JSON, nullable=False),
    Column("superseded", Boolean, nullable=False),
    UniqueConstraint("campaign_id", "id"),
    UniqueConstraint("campaign_id", "submission_id"),
    Index("rankings_of_campaign", "campaign_id", "number"),
)
