"""Run by Alembic. The connection, with its transaction and lock, comes from ``schema/upgrade.py``."""

from alembic import context

from fleetcast.schema.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
