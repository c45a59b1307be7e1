"""Runs the migrations on the connection that `sendplan.io.database.engine.migrate` hands over."""

from alembic import context

from sendplan.io.database.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("Migrations run through `sendplan init`, which brings the connection.")

context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
