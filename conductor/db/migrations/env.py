"""Alembic's entry: runs the migrations on the engine that ``session.Database`` hands in."""

from alembic import context

from conductor.db import models

with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection, target_metadata=models.Base.metadata,
                      render_as_batch=connection.dialect.name == "sqlite")
    with context.begin_transaction():
        context.run_migrations()
