"""Version 0004: the rows of action journals, mirrored."""

import sqlalchemy as sa
from alembic import op

from chiploop.record.guards import guard_statements

revision, down_revision = "0004", "0003"

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def short(length: int) -> sa.String:
    """Return the type of a short text."""
    return sa.String(length).with_variant(sa.Text(), "postgresql")


def upgrade() -> None:
    """Make the table with its triggers."""
    op.create_table(
        "journal_events",
        sa.Column("id", WHOLE, primary_key=True, autoincrement=True),
        sa.Column("natural_key", short(255), nullable=False, unique=True),
        sa.Column("at_utc", short(40), nullable=False),
        sa.Column("journal", short(64), nullable=False),
        sa.Column("seq", WHOLE, nullable=False),
        sa.Column("event_utc", short(40), nullable=False),
        sa.Column("run_id", short(64), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", short(16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("previous", short(64), nullable=False),
        sa.Column("hash", short(64), nullable=False),
    )
    for column in ("journal", "run_id"):
        op.create_index(f"ix_journal_events_{column}", "journal_events", [column])
    for statement in guard_statements("journal_events", op.get_bind().dialect.name):
        op.execute(sa.DDL(statement.replace("%", "%%")))
