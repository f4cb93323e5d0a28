"""Conductors that are seen, hosts that are forced down, and a number for each move"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'

_MYSQL: dict[str, Any] = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4', 'mysql_collate': 'utf8mb4_bin'}


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.create_table(
        'services',
        sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
        sa.Column('name', sa.String(length=255), nullable=False),
        sa.Column('version', sa.String(length=16), nullable=False),
        sa.Column('started_at', sa.Double(), nullable=False),
        sa.Column('seen_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('id'),
        sa.UniqueConstraint('name', name='uniq_services0name'),
        **_MYSQL)
    op.create_table(
        'moves',
        sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
        sa.Column('task_id', sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(['task_id'], ['tasks.id']),
        sa.PrimaryKeyConstraint('id'),
        sa.UniqueConstraint('task_id', name='uniq_moves0task_id'),
        **_MYSQL)
    # Moves that are there already get their numbers in the order in which they were stored.
    op.execute("INSERT INTO moves (task_id) SELECT tasks.id FROM tasks "
               "JOIN operations ON operations.id = tasks.operation_id WHERE tasks.kind = 'vm_migrate' "
               "ORDER BY operations.created_at, tasks.position")
    with op.batch_alter_table('hosts') as table:
        table.add_column(sa.Column('forced_down', sa.Boolean(), nullable=False, server_default=sa.false()))
