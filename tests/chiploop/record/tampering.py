"""A record's database beside chiploop: as it is, and with its triggers off, as somebody who means harm has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import create_engine

from chiploop.record.record_url import record_url as parsed


@contextmanager
def behind(url: str) -> Iterator[Any]:
    """Yield a connection beside chiploop's, as somebody with a password has one."""
    engine = create_engine(parsed(url))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def unguarded(url: str) -> Iterator[Any]:
    """Yield a connection with the triggers switched off, and on again afterwards."""
    with behind(url) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET session_replication_role = replica")
            yield connection
            return
        asked = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        triggers = connection.exec_driver_sql(asked).all()
        for name, _ in triggers:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield connection
        for _, statement in triggers:
            connection.exec_driver_sql(statement)
