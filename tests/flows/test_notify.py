"""Messages leave by real sockets, what became of each attempt is on record, and no network delays a run."""

from __future__ import annotations

import json
import os
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chiploop.messages import Message
from chiploop.record.record import Record
from flows.notify import NOTIFICATION, Notifier, NotSent, attempt, send_desktop, send_mail
from flows.notify import send_webhook as post
from instruments.notify_settings import (
    DesktopSettings,
    MailSettings,
    NotifySettings,
    WebhookSettings,
)
from tests.flows.loopback_servers import (
    HOST,
    Hook,
    MailRoom,
    http_server,
    own_certificate,
    smtp_server,
)

ASKED = Message(
    "decide/c02/p1",
    "run-1",
    "a person must decide about the doses",
    decision="L1 60 nM, L2 vehicle",
    risk="at most 4 % (line L1)",
    until="2026-11-24 06:00 UTC",
    command="chiploop propose run-1",
)
TRIES = (0.01, 0.01)


def mail(port: int, **more: Any) -> MailSettings:
    basic = {"host": HOST, "port": port, "from": "bench@lab.example", "to": ["a@lab.example"]}
    return MailSettings.model_validate({**basic, "security": "none", "timeout_s": 5.0, **more})


@pytest.fixture
def url(tmp_path: Path) -> str:
    with Record(str(tmp_path / "record.sqlite")) as record:
        record.add_event("run-1", "first", 0.0, {})
    return f"sqlite:///{(tmp_path / 'record.sqlite').as_posix()}"


@pytest.fixture
def notifier(url: str) -> Iterator[Callable[..., Notifier]]:
    made: list[Notifier] = []

    def make(**ways: Any) -> Notifier:
        made.append(Notifier(NotifySettings(**ways), url, "run-1", lambda: 36.0, TRIES))
        return made[-1]

    yield make
    for one in made:
        one.close(0.0)


def attempts(url: str) -> list[tuple[str, bool, str]]:
    with Record(url) as record:
        events = [e.content for e in record.events("run-1", NOTIFICATION)]
    return [(e["way"], e["delivered"], e["why"]) for e in events]


def test_a_mail_says_run_question_doses_risk_until_when_and_what_to_type() -> None:
    with smtp_server(MailRoom()) as room:
        assert send_mail(mail(room.port), ASKED) == ""
    (got,) = room.mails
    assert "Subject: chiploop run-1: a person must decide about the doses" in got
    for said in (ASKED.decision, ASKED.risk, ASKED.until, ASKED.command):
        assert said in got.replace("=\n", "")


def test_with_starttls_login_and_mail_go_through_tls_and_the_password_comes_from_its_file(
    tmp_path: Path,
) -> None:
    pem = own_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    (tmp_path / "password").write_text("s3cret\n", encoding="utf-8")
    user = {"security": "starttls", "user": "bench", "password_file": str(tmp_path / "password")}
    with smtp_server(MailRoom(tls)) as room:
        send_mail(mail(room.port, ca_file=str(pem), **user), ASKED)
        with pytest.raises(NotSent, match="SSLCertVerificationError"):
            send_mail(mail(room.port, **user), ASKED)  # nobody vouches for that certificate
    assert room.logins == [("bench", "s3cret")] and len(room.mails) == 1
    assert {line.split()[0].upper() for line in room.in_the_clear} <= {"EHLO", "STARTTLS"}


def test_a_server_without_starttls_gets_neither_password_nor_mail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENCH_PASSWORD", "s3cret")
    with smtp_server(MailRoom()) as room:
        settings = mail(room.port, security="starttls", user="u", password_env="BENCH_PASSWORD")
        with pytest.raises(NotSent, match="STARTTLS"):
            send_mail(settings, ASKED)
    assert room.mails == [] and not any("AUTH" in line for line in room.in_the_clear)


@pytest.mark.parametrize(
    ("verb", "answer", "said"),
    [
        ("MAIL", "451 try later", "the server answered 451"),
        ("RCPT", "550 no such user", "the server refused a@lab.example"),
        ("DATA", "554 no", "the server answered 554"),
    ],
)
def test_what_a_server_refuses_is_told_by_its_number(verb: str, answer: str, said: str) -> None:
    with smtp_server(MailRoom(refuse={verb: answer})) as room:
        done = attempt("mail", mail(room.port), ASKED)
    assert not done.delivered and said in done.why and room.mails == []


def test_a_message_is_tried_again_until_it_is_delivered_and_each_attempt_is_on_record(
    url: str, notifier: Callable[..., Notifier]
) -> None:
    with smtp_server(MailRoom(refuse={"MAIL": "451 later"})) as room:
        one = notifier(mail=mail(room.port))
        one.tell(ASKED)
        wait_until(lambda: len(attempts(url)) >= 1)
        room.refuse.clear()
        wait_until(lambda: bool(room.mails))
        one.close(10.0)
    *before, last = attempts(url)
    assert 1 <= len(before) <= 2
    assert {why for _, _, why in before} == {"the server answered 451"}
    assert last == ("mail", True, "")


def test_a_server_that_is_away_is_given_up_after_the_last_attempt(
    url: str, notifier: Callable[..., Notifier]
) -> None:
    with smtp_server(MailRoom()) as room:
        port = room.port
    one = notifier(mail=mail(port))
    one.tell(ASKED)
    wait_until(lambda: len(attempts(url)) == 1 + len(TRIES))
    assert {(ok, why.split(":")[0]) for _, ok, why in attempts(url)} == {
        (False, "ConnectionRefusedError")
    }


def test_a_question_is_sent_once_per_way_also_by_the_process_that_takes_the_run_up(
    url: str, notifier: Callable[..., Notifier]
) -> None:
    with smtp_server(MailRoom()) as room, http_server(Hook()) as hook:
        ways = {"mail": mail(room.port), "webhook": WebhookSettings(url=hook.url)}
        for _ in range(2):  # the second one is that of a resumed run
            one = notifier(**ways)
            one.tell(ASKED)
            one.tell(ASKED)
            one.close(10.0)
    assert len(room.mails) == len(hook.got) == 1
    assert sorted(attempts(url)) == [("mail", True, ""), ("webhook", True, "")]


def test_a_message_goes_out_though_the_record_is_away(tmp_path: Path) -> None:
    spoilt = tmp_path / "record.sqlite"
    spoilt.write_bytes(b"no record at all" * 100)
    with smtp_server(MailRoom(refuse={"MAIL": "451 later"})) as room:
        settings = NotifySettings(mail=mail(room.port))
        one = Notifier(settings, f"sqlite:///{spoilt.as_posix()}", "run-1", lambda: 36.0, (0.2,))
        one.tell(ASKED)
        room.refuse.clear()
        wait_until(lambda: bool(room.mails))
        one.close(10.0)
    assert len(room.mails) == 1


def test_a_silent_server_delays_neither_the_run_nor_the_other_ways(
    url: str, notifier: Callable[..., Notifier]
) -> None:
    greet = threading.Event()
    with smtp_server(MailRoom(silent=greet)) as room, http_server(Hook()) as hook:
        one = notifier(mail=mail(room.port, timeout_s=60.0), webhook=WebhookSettings(url=hook.url))
        one.tell(ASKED)  # returns though the mail's server greets nobody
        wait_until(lambda: ("webhook", True, "") in attempts(url))
        assert [way for way, _, _ in attempts(url)] == ["webhook"] and room.mails == []
        greet.set()
        wait_until(lambda: ("mail", True, "") in attempts(url))


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    with smtp_server(MailRoom(silent=threading.Event())) as room:
        done = attempt("mail", mail(room.port, timeout_s=0.1), ASKED)
    assert (done.delivered, done.why) == (False, "no answer in time")


def test_a_webhook_gets_one_json_object_whose_text_a_chat_can_show() -> None:
    with http_server(Hook()) as hook:
        assert post(WebhookSettings(url=hook.url), ASKED) == ""
    (got,) = hook.got
    assert got["run_id"] == "run-1" and got["decision"] == "L1 60 nM, L2 vehicle"
    assert "chiploop propose run-1" in got["text"]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_answers_otherwise_has_not_got_it_and_its_address_stays_secret(
    status: int, url: str, notifier: Callable[..., Notifier], tmp_path: Path
) -> None:
    with http_server(Hook(status)) as hook:
        (tmp_path / "address").write_text(hook.url, encoding="utf-8")
        one = notifier(webhook=WebhookSettings(url_file=str(tmp_path / "address")))
        one.tell(ASKED)
        one.close(10.0)
    with Record(url) as record:
        kept = json.dumps([e.content for e in record.events("run-1", NOTIFICATION)])
    assert f"the server answered {status}" in kept and "s3cret" not in kept and HOST not in kept


@pytest.mark.skipif(os.name != "posix", reason="a script stands in for the desktop's program")
def test_a_desktop_notice_goes_to_the_program_that_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/shown\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert send_desktop(DesktopSettings(), ASKED) == ""
    assert "a person must decide" in (tmp_path / "shown").read_text()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(NotSent, match="neither notify-send nor osascript"):
        send_desktop(DesktopSettings(), ASKED)


def test_a_secret_that_is_not_there_is_told_without_sending(tmp_path: Path) -> None:
    settings = mail(1, security="tls", user="u", password_file=str(tmp_path / "none"))
    with pytest.raises(NotSent, match="none can not be read"):
        send_mail(settings, ASKED)


def wait_until(is_so: Callable[[], bool], longest_s: float = 20.0) -> None:
    until_s = time.monotonic() + longest_s
    while not is_so():
        assert time.monotonic() < until_s, "it did not come"
        time.sleep(0.01)
