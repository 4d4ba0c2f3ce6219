"""What Alembic runs to take steps: on the connection, and in the transaction, that it is handed."""

from alembic import context

from chiploop.record.schema import VERSION_TABLE
from chiploop.record.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
