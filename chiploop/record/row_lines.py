"""The rows of a record as lines of text, and lines as rows of another, empty record.

Belongs here: out of any database and into any other, word for word with numbers and links. Not here: files around
them (backup, restore).

Each line is a JSON object {"table", "row"}. Every table stands in the order of its numbers, tables that others
refer to come first. No program of the database is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import IO, Any

from sqlalchemy import Table, inspect, select, text

from chiploop.record.chain import Head, RecordConflict, RecordUnreadable
from chiploop.record.database import last_link
from chiploop.record.record import Record
from chiploop.record.tables import Base

AT_ONCE = 500


def dump_rows(record: Record, lines: IO[str] | None) -> tuple[dict[str, int], Head]:
    """Write all rows of a record as it stands at one moment; return table -> number of rows, and the last link.

    ``lines`` None writes nothing and counts.
    """
    counts: dict[str, int] = {}
    with record.sessions.reading() as session:
        connection = session.connection()
        known = inspect(connection)
        for table in Base.metadata.sorted_tables:
            if not known.has_table(table.name):
                continue
            there = {column["name"] for column in known.get_columns(table.name)}
            columns = [column for column in table.columns if column.name in there]
            order = list(table.primary_key.columns)
            counts[table.name] = 0
            asked = select(*columns).order_by(*order).execution_options(yield_per=AT_ONCE)
            for row in connection.execute(asked).mappings():
                counts[table.name] += 1
                if lines is not None:
                    content = {"table": table.name, "row": dict(row)}
                    lines.write(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")
        return counts, last_link(session)


def load_rows(record: Record, lines: Iterable[str]) -> dict[str, int]:
    """Add all rows to an empty record, in one transaction; return table -> number of rows.

    Raises RecordConflict where the record has rows, RecordUnreadable for a line that is no row of it.
    """
    counts: dict[str, int] = {}
    with record.sessions.writing() as session:
        if last_link(session).count:
            raise RecordConflict(
                f"{record.url} has rows already; a backup is brought back into an empty database only. Nothing "
                "was changed"
            )
        for table, rows in groupby(map(_row_of, lines), key=lambda found: found[0]):
            values = (row for _, row in rows)
            while batch := list(islice(values, AT_ONCE)):
                session.execute(table.insert(), batch)
                counts[table.name] = counts.get(table.name, 0) + len(batch)
        if session.connection().dialect.name == "postgresql":
            for name in counts:
                if "id" in Base.metadata.tables[name].columns:
                    session.execute(text(_NEXT_NUMBER.format(table=name)))
    return counts


_NEXT_NUMBER = (
    "SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
)
"""New rows go on after the numbers that came with the old ones."""


def _row_of(line: str) -> tuple[Table, dict[str, Any]]:
    try:
        content = json.loads(line)
        return Base.metadata.tables[content["table"]], dict(content["row"])
    except (ValueError, KeyError, TypeError) as problem:
        raise RecordUnreadable(f"a line of the backup is no row of a record: {problem}") from None


def lines_of(file: IO[str]) -> Iterator[str]:
    """Yield the lines of a file that are not empty."""
    return (line for line in file if line.strip())
