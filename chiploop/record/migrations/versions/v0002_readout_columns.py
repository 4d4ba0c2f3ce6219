"""Version 0002: where a readout comes from (curve, channel, kind of sd, version, parents), what it supersedes.

Records of before there were versions may have some of the columns: each chiploop added what it knew.
"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"

COLUMNS = ("curve", "channel", "sd_kind", "method_version", "parents", "supersedes")


def upgrade() -> None:
    """Add the columns that are not there; rows keep NULL in them, and so their digests."""
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("readouts")}
    for name in COLUMNS:
        if name not in there:
            op.add_column("readouts", sa.Column(name, sa.Text(), nullable=True))
