"""People hear that nobody works on a run: by mail, once for each process, also where the record is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.errors import InstrumentTrouble
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.study import load_study
from flows import supervisor
from flows.alarming import Bell
from flows.heartbeat import Beat
from flows.opening import RunFiles, new_run
from instruments.lab_settings import SupervisorSettings
from instruments.notify_settings import MailSettings, NotifySettings
from tests.flows.conftest import SMALL_STUDY
from tests.flows.loopback_servers import HOST, MailRoom, smtp_server

# process 2**22 + 1 is above what Linux gives, so nobody has it
DEAD = Beat(2**22 + 1, 17.0, 1000.0, 1000.0, 0.0, 1.0, 1, "dosing")
WHY = f"process {DEAD.pid} has ended"


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    study = load_study(SMALL_STUDY)
    made = new_run(study, tmp_path / "runs", 1, False, False)
    with Record(f"sqlite:///{made.runs}/record.sqlite") as record, Journal(made.journal):
        record.add_run(made.run_id, study, 1, False)
    return made


@pytest.fixture
def room() -> Iterator[MailRoom]:
    with smtp_server(MailRoom()) as one:
        yield one


def ways(room: MailRoom) -> NotifySettings:
    keys = {"host": HOST, "port": room.port, "from": "b@lab.example", "to": ["a@lab.example"]}
    return NotifySettings(mail=MailSettings.model_validate({**keys, "security": "none"}))


def text(mail: str) -> str:
    return mail.replace("=\n", "")


def test_people_are_told_once_for_each_process_that_is_gone(
    files: RunFiles, room: MailRoom
) -> None:
    for _ in range(2):  # the second one is that of a supervisor that was started again
        bell = Bell(files, ways(room))
        bell.alone(DEAD, WHY)
        bell.alone(DEAD, WHY)
        bell.close()
    (mail,) = room.mails
    assert "NOBODY WORKS ON THIS RUN" in text(mail) and WHY in text(mail)
    assert f"chiploop resume {files.run_id}" in text(mail)
    bell = Bell(files, ways(room))
    bell.alone(Beat(**{**vars(DEAD), "process_started": 18.0}), WHY)
    bell.not_safe(DEAD)
    bell.close()
    assert len(room.mails) == 3 and "COULD NOT BE MADE SAFE" in text(room.mails[-1])


def test_people_are_told_where_the_record_is_away(files: RunFiles, room: MailRoom) -> None:
    (files.runs / "record.sqlite").write_bytes(b"no record at all" * 100)
    bell = Bell(files, ways(room))
    bell.alone(DEAD, WHY)
    bell.close()
    assert WHY in text(room.mails[0])


def test_a_supervisor_outlives_what_nobody_foresaw_and_people_hear_that_it_does_not_get_at_the_pumps(
    files: RunFiles, room: MailRoom, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    met: list[Exception] = [ValueError("nobody foresaw this"), InstrumentTrouble("port is gone")]
    settings = SimpleNamespace(supervisor=SupervisorSettings(), notify=ways(room))
    monkeypatch.setattr(supervisor, "load_lab_settings", lambda _: settings)
    monkeypatch.setattr(supervisor, "last_beat", lambda _: DEAD)
    monkeypatch.setattr(supervisor, "has_ended", lambda _: not met)
    monkeypatch.setattr(supervisor.time, "sleep", lambda _: None)

    def safe_once(*_: object) -> None:
        raise met.pop(0)

    monkeypatch.setattr(supervisor, "safe_once", safe_once)
    supervisor.supervise(files.folder, lambda: 1e6)
    told = [text(mail) for mail in room.mails]
    assert [any(said in mail for mail in told) for said in (WHY, "COULD NOT BE MADE SAFE")] == [
        True,
        True,
    ]
    assert len(told) == 2
    said = capsys.readouterr().out
    assert "in safe_once" in said and "port is gone; it is tried again" in said
    with Record(f"sqlite:///{files.runs}/record.sqlite") as record:
        assert [e.content for e in record.events(files.run_id, "alarm")] == [{"why": WHY}]
