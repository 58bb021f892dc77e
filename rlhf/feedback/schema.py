"""The tables of the store. A change here needs a numbered migration in `migrations/versions`.

Times that are compared are seconds since the epoch; times that are only told are ISO 8601 in UTC.
"""

from secrets import token_hex

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
    text,
)

metadata = MetaData()

# What a campaign asks. The newest version stands here; `campaign_versions` keeps all of them.
# `wanted` is what its items of work want in all, kept here so that no reply has to count it.
# `secret` keys the names under which labelers know items: an item's own id would tell when it was
# made, and so a check from work.
campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("mode", String(40), nullable=False),
    Column("guidelines", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("guidelines_version", Integer, nullable=False, server_default="1"),
    Column("wanted", Integer, nullable=False, server_default="0"),
    Column("secret", String(64), nullable=False, server_default="", default=token_hex),
)

campaign_versions = Table(
    "campaign_versions",
    metadata,
    Column("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("guidelines_version", Integer, nullable=False),
    Column("guidelines", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("note", Text, nullable=False),
    Column("changed_by", String(64), nullable=False),
    Column("changed_at", String(40), nullable=False),
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
# ask about other responses to the same prompt. `kind` is `work`, a check that labelers cannot tell
# from work (`gold`, `repeat`, `identical`), or `review`; `of_item` is what is repeated or reviewed.
# `taken` is the number of labelers who hold a lease or have answered, but at most `wanted`.
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
    Column("kind", String(10), nullable=False, server_default="work"),
    Column("of_item", ForeignKey("items.id", name="items_of_item_fkey")),
    Column("expected", JSON(none_as_null=True)),
    Column("priority", Float, nullable=False, server_default="0"),
    Column("taken", Integer, nullable=False, server_default="0"),
    UniqueConstraint("campaign_id", "key"),
    Index("items_in_order", "campaign_id", "position"),
    Index("items_wanted", "campaign_id", "kind", "wanted"),
    Index("items_of_item", "of_item"),
)
Index(
    "items_free",
    items.c.campaign_id,
    items.c.kind,
    items.c.priority.desc(),
    items.c.position,
    sqlite_where=text("taken < wanted"),
    postgresql_where=text("taken < wanted"),
)

Index(
    "items_balanced",
    items.c.campaign_id,
    items.c.kind,
    items.c.priority.desc(),
    items.c.taken,
    items.c.position,
    sqlite_where=text("taken < wanted"),
    postgresql_where=text("taken < wanted"),
)

labelers = Table(
    "labelers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", String(40), nullable=False),
    Column("withdrawn_at", String(40)),
)

# One labeler meets one item once: open (leased), done, skipped, expired (the lease ran out), or
# withdrawn (they took their consent back).
# `ordinal` counts a labeler's items in a campaign, in the order in which they were given.
assignments = Table(
    "assignments",
    metadata,
    Column("item_id", ForeignKey("items.id"), primary_key=True),
    Column("labeler_id", ForeignKey("labelers.id"), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("leased_until", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("shown", JSON, nullable=False),
    Index("assignments_of_labeler", "labeler_id", "campaign_id", "state", "ordinal"),
    Index("assignments_in_order", "labeler_id", "campaign_id", "ordinal"),
    Index("assignments_due", "campaign_id", "state", "leased_until"),
)

# Half-made answers, one per labeler and item, overwritten as they grow.
drafts = Table(
    "drafts",
    metadata,
    Column("item_id", ForeignKey("items.id"), primary_key=True),
    Column("labeler_id", ForeignKey("labelers.id"), primary_key=True),
    Column("body", JSON, nullable=False),
    Column("saved_at", String(40), nullable=False),
)

flags = Table(
    "flags",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("item_id", ForeignKey("items.id"), nullable=False),
    Column("labeler_id", ForeignKey("labelers.id"), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("note", Text, nullable=False),
    Column("flagged_at", String(40), nullable=False),
)

# Rankings and demonstrations (`kind`), append-only: only `superseded` changes, and a withdrawal of
# consent empties `body` and `salt` and replaces the ids, which hash the content. One ranking may
# stand in several campaigns (the same file imported into each), but only once in one. `late`: it
# came after its lease had run out or was given back.
answers = Table(
    "answers",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("submission_id", String(64), nullable=False),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("item_id", ForeignKey("items.id"), nullable=False),
    Column("labeler_id", ForeignKey("labelers.id"), nullable=False),
    Column("body", JSON(none_as_null=True)),
    Column("salt", String(32)),
    Column("superseded", Boolean, nullable=False),
    Column("late", Boolean, nullable=False),
    UniqueConstraint("campaign_id", "id"),
    UniqueConstraint("campaign_id", "submission_id"),
    Index("answers_of_labeler", "campaign_id", "labeler_id", "superseded"),
    Index("answers_of_item", "item_id"),
)

# How many answers in force each labeler has given, on items of all kinds and on `work`, and how
# many came late: kept beside the answers, so that nobody counts them all to show the progress.
tallies = Table(
    "tallies",
    metadata,
    Column("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("labeler_id", ForeignKey("labelers.id"), primary_key=True),
    Column("answers", Integer, nullable=False),
    Column("work", Integer, nullable=False),
    Column("late", Integer, nullable=False),
)

# Who may work on a campaign that is not open to everyone, and the last version each was told of.
members = Table(
    "members",
    metadata,
    Column("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("labeler_id", ForeignKey("labelers.id"), primary_key=True),
    Column("told_version", Integer, nullable=False),
    Column("since", String(40), nullable=False),
)

consents = Table(
    "consents",
    metadata,
    Column("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("labeler_id", ForeignKey("labelers.id"), primary_key=True),
    Column("guidelines_version", Integer, primary_key=True),
    Column("given_at", String(40), nullable=False),
)

# The log of what was done. `digest` is the SHA-256 of salt and content, so that content and salt
# can be deleted while the chain stays whole; `chain` hashes the entry and the `chain` before it.
audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("chain", String(64), nullable=False),
)

# One row, locked by whoever writes to the log, so that entries have one order.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
    Column("chain", String(64), nullable=False),
)

# People who sign in. `labeler_id` is the pseudonym under which they work; `login` never leaves.
accounts = Table(
    "accounts",
    metadata,
    Column("labeler_id", ForeignKey("labelers.id"), primary_key=True),
    Column("login", String(100), nullable=False, unique=True),
    Column("password_hash", String(200), nullable=False),
    Column("role", String(10), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", String(40), nullable=False),
)

# Secrets are kept as SHA-256 digests: who reads the database cannot use them.
invitations = Table(
    "invitations",
    metadata,
    Column("token_digest", String(64), primary_key=True),
    Column("role", String(10), nullable=False),
    Column("campaign_id", ForeignKey("campaigns.id")),
    Column("made_by", String(64), nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_by", String(64)),
)

# A browser's session or a program's token (`kind`).
sessions = Table(
    "sessions",
    metadata,
    Column("token_digest", String(64), primary_key=True),
    Column("labeler_id", ForeignKey("labelers.id"), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("name", String(100), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("revoked", Boolean, nullable=False),
    Index("sessions_of_labeler", "labeler_id"),
)

# Failed logins, by login and by address.
throttles = Table(
    "throttles",
    metadata,
    Column("key", String(150), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", Float, nullable=False),
)
