"""A record whose server goes away and comes back, and one whose lock others hold."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from chiploop.record.chain import RecordUnreadable
from chiploop.record.database import WRITERS_LOCK
from chiploop.record.record import Record
from chiploop.record.sessions import RecordAway
from tests.postgresql_server import PostgresqlServer


@pytest.mark.postgres
def test_a_server_that_comes_back_is_waited_for_and_one_that_stays_away_is_told(
    stoppable_server: PostgresqlServer,
) -> None:
    url = stoppable_server.new_database()
    with Record(url) as record:
        record.add_event("r1", "note", 1.0, {})
        stoppable_server.stop()
        record.sessions.patience_s = 0.0
        with pytest.raises(RecordAway, match="could not be reached") as told:
            record.add_event("r1", "note", 2.0, {})
        assert stoppable_server.password not in str(told.value) and told.value.exit_code == 4
        with pytest.raises(RecordUnreadable):
            Record(url)
        record.sessions.patience_s = 60.0
        back = threading.Timer(0.3, stoppable_server.start)
        back.start()
        assert record.add_event("r1", "note", 3.0, {})
        back.join()
        assert [e.time_h for e in record.events("r1")] == [1.0, 3.0]
        assert record.verify().whole


@pytest.mark.postgres
def test_a_server_lost_in_the_middle_leaves_nothing_half_and_adding_again_is_safe(
    stoppable_server: PostgresqlServer,
) -> None:
    with Record(stoppable_server.new_database()) as record:
        key = record.add_proposal("r1", 2, {"doses": [1]})
        real = record.now_utc

        def lost() -> str:
            stoppable_server.stop()
            return real()

        record.now_utc = lost
        with pytest.raises(RecordAway, match="wholly or not at all"):
            record.replace_proposal(key, {"doses": [2]}, "an", "bolder")
        record.now_utc = real
        stoppable_server.start()
        assert record.decision_for(key) is None and len(record.proposals("r1")) == 1
        record.replace_proposal(key, {"doses": [2]}, "an", "bolder")
        assert record.verify().whole


def test_a_writer_who_keeps_the_lock_is_waited_for_and_then_told_of(
    record_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chiploop.record.database.LOCK_TIMEOUT_S", 1)
    with Record(record_url) as record:
        if record.is_file:
            path = Path(record_url.removeprefix("sqlite:///"))
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                check_waiting(record)
                other.execute("ROLLBACK")
        else:
            with psycopg.connect(record_url) as connection:
                connection.execute(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})")
                check_waiting(record)
        assert record.add_event("r1", "note", 1.0, {})


def check_waiting(record: Record) -> None:
    record.sessions.patience_s = 0.0
    begun_s = time.monotonic()
    with pytest.raises(RecordAway):
        record.add_event("r1", "note", 1.0, {})
    assert time.monotonic() - begun_s >= 0.9
    assert record.events("r1") == ()  # readers are not held up
