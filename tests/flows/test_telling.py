"""What is due is read beside the run, from its record and journal alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.approvals import Moment, utc_of
from chiploop.errors import InstrumentTrouble, WaitingForPerson
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.study import load_study
from flows.asking import put_to_people
from flows.awaited_files import MISSING
from flows.cli.main import command_line
from flows.notify import NOTIFICATION
from flows.opening import RunFiles, new_run
from flows.reserving import IN_VAIN
from flows.run_owner import RunInUse
from flows.telling import Lookout, due_messages, telling
from instruments.notify_settings import MailSettings, NotifySettings
from tests.flows.conftest import SMALL_STUDY, edited
from tests.flows.loopback_servers import HOST, MailRoom, smtp_server

DOSES = {"doses": [{"line": "L1", "asked_nm": 60.0, "risk": 0.2}]}
APPROVAL = ("approval: {by: auto}", "approval: {by: person, expires: 12 h, two_above: 10 %}")


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    """A real run that has proposed nothing yet."""
    study = load_study(edited(SMALL_STUDY, tmp_path, [APPROVAL]))
    made = new_run(study, tmp_path / "runs", 1, False, False)
    with Record(f"sqlite:///{made.runs}/record.sqlite") as record, Journal(made.journal):
        record.add_run(made.run_id, study, 1, False)
    return made


@pytest.fixture
def books(files: RunFiles) -> Iterator[tuple[Record, Journal, Any]]:
    with (
        Record(f"sqlite:///{files.runs}/record.sqlite") as record,
        Journal(files.journal) as journal,
    ):
        clock = SimpleNamespace(now_h=lambda: 36.0)
        lab = SimpleNamespace(record=record, run_id=files.run_id, clock=clock)
        yield record, journal, lab


def keys(files: RunFiles, record: Record, journal: Journal) -> list[str]:
    return [one.key for one in due_messages(files, record, journal)]


def test_a_question_is_told_once_it_was_put_to_people_and_not_after_it_was_decided(
    files: RunFiles, books: tuple[Record, Journal, Any]
) -> None:
    record, journal, lab = books
    proposal = record.add_proposal(files.run_id, 2, DOSES)
    assert keys(files, record, journal) == []  # auto would approve it in a moment
    put_to_people(lab, proposal)
    put_to_people(lab, proposal)
    assert keys(files, record, journal) == ["decide/c02/p1"]
    record.add_approval(proposal, "alice", "", 2, 36.0)
    assert keys(files, record, journal) == ["decide/c02/p1", "second/c02/p1"]
    record.add_approval(proposal, "bob", "", 2, 36.0)
    assert keys(files, record, journal) == []


@pytest.mark.parametrize(
    ("hours", "told"), [(9.0, ["decide"]), (10.5, ["decide", "near"]), (12.5, [])]
)
def test_that_time_runs_out_is_told_before_it_has(
    hours: float,
    told: list[str],
    files: RunFiles,
    books: tuple[Record, Journal, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record, journal, lab = books
    put_to_people(lab, record.add_proposal(files.run_id, 2, DOSES))
    (proposal,) = record.proposals(files.run_id)
    now = Moment(utc_of(proposal.at_utc) + timedelta(hours=hours), 0.0)
    monkeypatch.setattr("flows.telling.moment_of", lambda folder, simulated: now)
    assert [key.split("/")[0] for key in keys(files, record, journal)] == told


def test_a_file_that_did_not_come_and_a_held_line_are_told(
    files: RunFiles, books: tuple[Record, Journal, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, journal, lab = books
    content = {"plate": "small-CCL26-cycle1", "label": "ABC", "deadline": "2026-11-24 06:00"}
    lab.record.add_event(lab.run_id, MISSING, 72.0, content, key="ABC")
    monkeypatch.setattr(Journal, "held", lambda self, run_id: {"L2": "it stalled"})
    no_file, held = sorted(due_messages(files, record, journal), key=lambda one: one.key)[::-1]
    assert (no_file.key, no_file.until) == ("no-file/small-CCL26-cycle1", "2026-11-24 06:00")
    assert held.key == "held/L2/1" and "it stalled" not in held.text


def test_an_instrument_that_was_not_free_in_time_is_told_once_with_who_has_it(
    files: RunFiles, books: tuple[Record, Journal, Any]
) -> None:
    record, journal, lab = books
    content = {
        "instrument": "teer", "what": "TEER of cycle 1 planned at 36.0000 h", "cycle": 1,
        "with": "run r9, process 7, for 31.0 min", "waits_min": 30.0, "outcome": "it is given up",
    }  # fmt: skip
    before = keys(files, record, journal)
    lab.record.add_event(lab.run_id, IN_VAIN, 36.5, content, key="x")
    (new,) = [one for one in due_messages(files, record, journal) if one.key not in before]
    assert "teer was not free for TEER of cycle 1" in new.asked and "run r9" in new.asked
    assert new.command.startswith("chiploop reservations")


def settings(room: MailRoom) -> NotifySettings:
    keys = {"host": HOST, "port": room.port, "from": "b@lab.example", "to": ["a@lab.example"]}
    return NotifySettings(mail=MailSettings.model_validate({**keys, "security": "none"}))


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (None, "the study has ended"),
        (InstrumentTrouble("pump of Mrs Smith is silent"), "IT FAILED (CL-400)"),
        (WaitingForPerson("look"), "it waits for a person (CL-700)"),
        (KeyboardInterrupt(), None),
        (RunInUse("another process"), None),
    ],
)
def test_the_end_of_a_run_is_told_unless_a_person_at_the_keyboard_made_it(
    trouble: BaseException | None, said: str | None, files: RunFiles
) -> None:
    with smtp_server(MailRoom()) as room:
        try:
            with telling(files, settings(room)):
                if trouble is not None:
                    raise trouble
        except BaseException as raised:
            assert raised is trouble
    assert len(room.mails) == (said is not None)
    if said is not None:
        text = room.mails[0].replace("=\n", "")
        assert said in text and "Smith" not in text
        with Record(f"sqlite:///{files.runs}/record.sqlite") as record:
            (event,) = record.events(files.run_id, NOTIFICATION)
        assert event.content["delivered"]


def test_the_end_of_a_run_is_told_though_its_record_is_away(files: RunFiles) -> None:
    (files.runs / "record.sqlite").write_bytes(b"no record at all" * 100)
    trouble = InstrumentTrouble("the record's server does not answer")
    with smtp_server(MailRoom()) as room, pytest.raises(InstrumentTrouble) as raised:
        with telling(files, settings(room)):
            raise trouble
    assert raised.value is trouble
    assert "IT FAILED (CL-400)" in room.mails[0].replace("=\n", "")


def test_the_lookout_hands_on_what_is_due(
    files: RunFiles, books: tuple[Record, Journal, Any]
) -> None:
    record, _, lab = books
    put_to_people(lab, record.add_proposal(files.run_id, 2, DOSES))
    told: list[Any] = []
    Lookout(files, SimpleNamespace(tell=told.append)).look()  # type: ignore[arg-type]
    assert [one.key for one in told] == ["decide/c02/p1"] and not told[0].simulated
    Lookout(replace(files, simulated=True, folder=files.folder / "x"), told).look()  # type: ignore[arg-type]


# --- chiploop notify


def lab_toml(folder: Path, text: str) -> Path:
    path = folder / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_test_message_is_sent_on_every_way_and_what_failed_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with smtp_server(MailRoom()) as room:
        text = (
            f'[notify.mail]\nhost = "{HOST}"\nport = {room.port}\nsecurity = "none"\n'
            'from = "b@lab.example"\nto = ["a@lab.example"]\n'
        )
        lab = lab_toml(tmp_path, text)
        assert command_line(["notify", str(lab)]) == 0 and room.mails == []
        assert command_line(["notify", str(lab), "--try"]) == 0
        assert "delivered" in capsys.readouterr().out and len(room.mails) == 1
        room.refuse["RCPT"] = "550 no"
        assert command_line(["notify", str(lab), "--try"]) == 4
        assert "the server refused a@lab.example" in capsys.readouterr().err
    assert command_line(["notify", str(lab_toml(tmp_path, ""))]) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[notify.pager]\n", "is no way to tell people; known: mail, webhook, desktop"),
        ('[notify.webhook]\nurl = "ftp://x"\n', "notify.webhook.url"),
        ("[notify.webhook]\n", "one of url, url_env and url_file"),
        ('[notify.mail]\nhost = "h"\nfrom = "b"\nto = ["a@b"]\n', "notify.mail.from"),
        (
            '[notify.mail]\nhost = "h"\nfrom = "b@c"\nto = ["a@b"]\npassword = "x"\n',
            "notify.mail.password",
        ),
        (
            '[notify.mail]\nhost = "h"\nfrom = "b@c"\nto = ["a@b"]\nuser = "u"\n',
            "user needs one of password_env and password_file",
        ),
        (
            '[notify.mail]\nhost = "h"\nfrom = "b@c"\nto = ["a@b"]\nuser = "u"\n'
            'password_env = "P"\nsecurity = "none"\n',
            "not sent in the clear",
        ),
    ],
)
def test_a_notify_section_that_can_not_be_is_told_with_its_key(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["notify", str(lab_toml(tmp_path, text))]) == 3
    told = capsys.readouterr().err
    assert said in told and "'x'" not in told
