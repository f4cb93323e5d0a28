"""What agents' messages carry, and which conductor wrote an event"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    with op.batch_alter_table('hosts') as table:
        table.add_column(sa.Column('heard', sa.BigInteger(), nullable=False, server_default='0'))
        table.add_column(sa.Column('agent_version', sa.String(length=16), nullable=True))
    with op.batch_alter_table('pools') as table:
        table.add_column(sa.Column('hosts', sa.JSON(none_as_null=True), nullable=True))
        table.add_column(sa.Column('report_digest', sa.String(length=64), nullable=True))
    with op.batch_alter_table('events') as table:
        table.add_column(sa.Column('conductor', sa.String(length=255), nullable=True))
