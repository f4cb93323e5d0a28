"""The schema's history (alembic).  A migration that has landed is never edited."""
