"""Version 0003: raw and calibrated values, each a row. The last records of before there were versions have it."""

import sqlalchemy as sa
from alembic import op

from chiploop.record.guards import guard_statements

revision, down_revision = "0003", "0002"

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def short(length: int) -> sa.String:
    """Return the type of a short text."""
    return sa.String(length).with_variant(sa.Text(), "postgresql")


COLUMNS = (
    ("natural_key", short(255)),
    ("at_utc", short(40)),
    ("run_id", short(64)),
    ("cycle", WHOLE),
    ("stage", short(16)),
    ("chip_id", short(64)),
    ("channel", short(16)),
    ("readout", short(64)),
    ("analyte", short(64)),
    ("quantity", short(64)),
    ("role", short(16)),
    ("replicate", WHOLE),
    ("dilution", sa.Float()),
    ("value", sa.Float()),
    ("unit", short(40)),
    ("sd", sa.Float()),
    ("sd_kind", short(16)),
    ("scale", short(16)),
    ("n", WHOLE),
    ("time_h", sa.Float()),
    ("window_start_h", sa.Float()),
    ("censoring", short(16)),
    ("lower", sa.Float()),
    ("upper", sa.Float()),
    ("qc", short(16)),
    ("reasons", sa.Text()),
    ("method", sa.Text()),
    ("method_version", short(40)),
    ("plate", short(255)),
    ("well", short(16)),
    ("raw_sha256", short(64)),
    ("locator", short(255)),
    ("parents", sa.Text()),
    ("calibration", short(255)),
    ("supersedes", short(255)),
)
MAY_BE_NULL = {"dilution", "value", "sd", "window_start_h", "lower", "upper", "supersedes"}


def upgrade() -> None:
    """Make the table, with its triggers, where it is not there."""
    if sa.inspect(op.get_bind()).has_table("measurements"):
        return
    op.create_table(
        "measurements",
        sa.Column("id", WHOLE, primary_key=True, autoincrement=True),
        *(sa.Column(name, kind, nullable=name in MAY_BE_NULL) for name, kind in COLUMNS),
        sa.UniqueConstraint("natural_key"),
    )
    op.create_index("ix_measurements_run_id", "measurements", ["run_id"])
    for statement in guard_statements("measurements", op.get_bind().dialect.name):
        op.execute(sa.DDL(statement.replace("%", "%%")))
