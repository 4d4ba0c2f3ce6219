"""Version 0001: the tables of the first records, append-only, with their chain."""

import sqlalchemy as sa
from alembic import op

from chiploop.record.guards import guard_statements

revision, down_revision = "0001", None

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def short(length: int) -> sa.String:
    """Return the type of a short text."""
    return sa.String(length).with_variant(sa.Text(), "postgresql")


COLUMNS = {
    "studies": (("name", short(64)), ("content", sa.Text())),
    "runs": (
        ("study_id", WHOLE),
        ("seed", WHOLE),
        ("simulated", sa.Boolean()),
        ("software_version", short(40)),
        ("settings", sa.Text()),
    ),
    "chips": (
        ("run_id", short(64)),
        ("chip_id", short(64)),
        ("line", short(64)),
        ("donor", short(64)),
    ),
    "raw_files": (
        ("run_id", short(64)),
        ("sha256", short(64)),
        ("name", short(255)),
        ("kind", short(64)),
        ("size_bytes", WHOLE),
        ("time_h", sa.Float()),
    ),
    "readouts": (
        ("run_id", short(64)),
        ("cycle", WHOLE),
        ("chip_id", short(64)),
        ("readout", short(64)),
        ("value", sa.Float()),
        ("unit", short(40)),
        ("sd", sa.Float()),
        ("scale", short(16)),
        ("time_h", sa.Float()),
        ("window_start_h", sa.Float()),
        ("censoring", short(16)),
        ("lower", sa.Float()),
        ("upper", sa.Float()),
        ("n", WHOLE),
        ("qc", short(16)),
        ("reasons", sa.Text()),
        ("method", sa.Text()),
        ("plate", short(255)),
        ("wells", sa.Text()),
        ("raw_sha256", short(64)),
    ),
    "calibrations": (
        ("run_id", short(64)),
        ("cycle", WHOLE),
        ("attempt", WHOLE),
        ("content", sa.Text()),
    ),
    "proposals": (
        ("run_id", short(64)),
        ("cycle", WHOLE),
        ("attempt", WHOLE),
        ("content", sa.Text()),
    ),
    "decisions": (
        ("run_id", short(64)),
        ("proposal_sha256", short(64)),
        ("action", short(16)),
        ("by", short(255)),
        ("why", sa.Text()),
    ),
    "events": (
        ("run_id", short(64)),
        ("kind", short(64)),
        ("time_h", sa.Float()),
        ("content", sa.Text()),
    ),
}
MAY_BE_NULL = {"value", "sd", "window_start_h", "lower", "upper"}


def upgrade() -> None:
    """Make the tables."""
    for table, columns in COLUMNS.items():
        op.create_table(
            table,
            sa.Column("id", WHOLE, primary_key=True, autoincrement=True),
            sa.Column("natural_key", short(255), nullable=False, unique=True),
            sa.Column("at_utc", short(40), nullable=False),
            *(sa.Column(name, kind, nullable=name in MAY_BE_NULL) for name, kind in columns),
            *([sa.ForeignKeyConstraint(["study_id"], ["studies.id"])] if table == "runs" else []),
        )
        if any(name == "run_id" for name, _ in columns):
            op.create_index(f"ix_{table}_run_id", table, ["run_id"])
    op.create_table(
        "audit",
        sa.Column("seq", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("at_utc", short(40), nullable=False),
        sa.Column("table_name", short(64), nullable=False),
        sa.Column("row_id", WHOLE, nullable=False),
        sa.Column("row_key", short(255), nullable=False),
        sa.Column("row_sha256", short(64), nullable=False),
        sa.Column("previous", short(64), nullable=False, unique=True),
        sa.Column("hash", short(64), nullable=False),
    )
    for table in (*COLUMNS, "audit"):
        for statement in guard_statements(table, op.get_bind().dialect.name):
            op.execute(sa.DDL(statement.replace("%", "%%")))
