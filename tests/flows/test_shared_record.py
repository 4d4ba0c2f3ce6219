"""A run whose record is on a server: the same loop and commands; a dose never waits for it; backed up alike."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from chiploop.measurement import Readout
from chiploop.record.journal import Journal
from chiploop.record.journal_mirror import mirror_journal, verify_mirrors
from chiploop.record.record import Record
from chiploop.record.sessions import RecordAway
from chiploop.study import load_study
from flows.mirroring import mirror_once, mirrored
from flows.opening import new_run
from flows.readouts_at_hand import ReadoutsAtHand
from flows.record_place import RecordPlace, place_of, record_named
from tests.flows.conftest import SMALL_STUDY, Warm
from tests.flows.run_checks import check_volumes, only_run, wait_until_nobody_is_left
from tests.postgresql_server import PostgresqlServer

pytestmark = pytest.mark.postgres
DOSE = {"line": "L1", "asked_nm": 60.0, "risk": 0.02, "chips": ["C01", "C02"]}


def files_with(folder: Path, secret: str) -> list[Path]:
    """Return the files of a folder that hold a text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if secret.encode() in path.read_bytes()]


def test_a_run_on_a_server_is_killed_backed_up_brought_back_elsewhere_and_ends_there(
    warm: Warm, tmp_path: Path, postgresql_server: PostgresqlServer
) -> None:
    runs, back, out = tmp_path / "runs", tmp_path / "back", tmp_path / "backup.zip"
    url, second = postgresql_server.new_database(), postgresql_server.new_database()
    killed = warm.run(
        "simulate", SMALL_STUDY, "--runs", runs, "--record", url, CHIPLOOP_FAULT="readouts_recorded@2"
    )  # fmt: skip
    assert killed.code == -9, killed.err
    run_id = only_run(runs)
    wait_until_nobody_is_left(runs / run_id)
    assert not (runs / "record.sqlite").exists()
    # the folder knows where its runs are on record; the password comes from outside
    word = {"PGPASSWORD": postgresql_server.password}
    made = warm.run("backup", out, "--runs", runs, "--json", **word)
    assert made.code == 0, made.err
    restored = warm.run("restore", out, "--into", back, "--record", second, "--json")
    assert restored.code == 0, restored.err
    assert restored.json["ok"] and restored.json["runs"] == [run_id]
    ended = warm.run("resume", run_id, "--runs", back, "--json", **word)
    assert ended.code == 0, ended.err
    assert ended.json["record"] == place_of(back).shown != place_of(runs).shown
    wait_until_nobody_is_left(back / run_id)
    check_volumes(back, run_id)
    audited = warm.run("audit", "verify", back, "--json", **word)
    assert audited.code == 0, audited.out
    with Record(second) as record:
        run = record.run(run_id)
        assert run is not None and run.state == "finished"
        with Journal(back / run_id / "journal.sqlite") as journal:
            rows, head = len(journal.events()), journal.verify().head
        (mirror,) = verify_mirrors(record)
        assert (mirror.rows, mirror.head, mirror.faults) == (rows, head, ())
    with Record(url, create=False) as old:
        stopped = old.run(run_id)
        assert stopped is not None and stopped.state == "running"
    assert files_with(tmp_path, postgresql_server.password) == []
    texts = [killed, made, restored, ended, audited]
    assert [t for t in texts if postgresql_server.password in t.out + t.err] == []


def test_two_people_decide_at_once_one_decision_stands_and_the_other_is_told(
    warm: Warm, tmp_path: Path, postgresql_server: PostgresqlServer
) -> None:
    url = postgresql_server.new_database()
    study = load_study(SMALL_STUDY)
    with Record(url) as record:
        record.add_run("r1", study, seed=1, simulated=True)
        for cycle in (1, 2, 3):
            record.add_proposal("r1", cycle, {"doses": [DOSE]})
            both = [
                warm.start(verb, "r1", "--why", "so", "--runs", tmp_path, "--record", url)
                for verb in ("approve", "reject")
            ]
            ended = [one.wait() for one in both]
            assert sorted(one.code for one in ended) == [0, 2], ended
            (refused,) = [one for one in ended if one.code == 2]
            assert f"r1/c{cycle:02d}/p1 was decided before" in refused.err
        assert len(record.decisions("r1")) == 3
        assert record.verify().whole


def test_a_run_of_the_same_name_on_another_computer_is_another_run(
    warm: Warm, tmp_path: Path, postgresql_server: PostgresqlServer
) -> None:
    study, url = load_study(SMALL_STUDY), postgresql_server.new_database()
    with record_named(url):
        first = new_run(study, tmp_path / "a", 1, True, False)
        with place_of(tmp_path / "a").open() as record:
            record.add_run(first.run_id, study, 1, True, {"matched": False, "token": first.token})
        second = new_run(study, tmp_path / "b", 1, True, False)
        assert second.run_id == first.run_id.removesuffix("1") + "2"
        # both began at the very same moment, before either was on record
        third = new_run(study, tmp_path / "c", 1, True, False)
        assert third.run_id == second.run_id
        with place_of(tmp_path / "b").open() as record:
            record.add_run(second.run_id, study, 1, True, {"token": second.token})
    ended = warm.run("resume", third.run_id, "--runs", tmp_path / "c", "--record", url)
    assert ended.code == 2 and f"has another run {third.run_id}" in ended.err, ended
    assert "Nothing was sent to any instrument" in ended.err


def test_the_journal_does_not_wait_for_a_record_that_is_away_and_the_mirror_catches_up(
    stoppable_server: PostgresqlServer, tmp_path: Path
) -> None:
    url = stoppable_server.new_database()
    place = RecordPlace(tmp_path, url, "shown", None)
    place.open().close()
    stoppable_server.stop()
    with Journal(tmp_path / "journal.sqlite") as journal:
        with mirrored(place, journal.path, every_s=0.01):
            for n in range(20):
                journal.note("r1", f"r1/c01/L{n}/dose", float(n), "while the server is away")
                time.sleep(0.005)
        assert not mirror_once(place, journal.path)
        stoppable_server.start()
        with mirrored(place, journal.path, every_s=60.0):
            pass
        with place.open() as record:
            assert [r.rows for r in verify_mirrors(record, [journal.path])] == [20]
            assert mirror_journal(record, journal.path) == 0
            assert record.verify().whole


class RecordThatStops:
    """A record on a server that answers once, and then not or with an error."""

    is_file = False

    def __init__(self, hangs: bool) -> None:
        self.hangs, self.asked, self.free = hangs, 0, threading.Event()

    def readouts(self, run_id: str) -> tuple[Readout, ...]:
        self.asked += 1
        if self.asked > 1:
            if not self.hangs:
                raise RecordAway("gone")
            self.free.wait(60.0)
        return (Readout("C01", "TEER", float(self.asked), "ohm*cm2", 0.1, "log", 24.0),)


@pytest.mark.parametrize("hangs", [True, False])
def test_a_dose_under_way_takes_the_readouts_last_seen_where_the_record_is_silent(
    hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.readouts_at_hand.ANSWER_WITHIN_S", 0.05)
    record: Any = RecordThatStops(hangs)
    at_hand = ReadoutsAtHand(record, "r1")
    seen = at_hand.now()
    assert at_hand.now() == seen and record.asked == 2
    record.free.set()


def test_a_record_that_never_answered_is_told_before_anything_is_given() -> None:
    record: Any = RecordThatStops(hangs=False)
    record.asked = 1
    with pytest.raises(RecordAway):
        ReadoutsAtHand(record, "r1").now()
