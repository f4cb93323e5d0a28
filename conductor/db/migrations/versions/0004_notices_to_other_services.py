"""What other services are still to be told"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'

_MYSQL: dict[str, Any] = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4', 'mysql_collate': 'utf8mb4_bin'}


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.create_table(
        'notices',
        sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
        sa.Column('uuid', sa.String(length=36), nullable=False),
        sa.Column('at', sa.Double(), nullable=False),
        sa.Column('event_type', sa.String(length=64), nullable=False),
        sa.Column('payload', sa.JSON(), nullable=False),
        sa.Column('taken_by', sa.String(length=255), nullable=True),
        sa.Column('taken_until', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('id'),
        **_MYSQL)
    op.create_index('ix_notices_taken_until', 'notices', ['taken_until'])
