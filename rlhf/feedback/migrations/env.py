"""Alembic's entry: migrates over the connection that `rlhf.feedback.database` hands it."""

from alembic import context

from rlhf.feedback.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
