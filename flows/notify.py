"""Messages to people: e-mail, webhook, desktop; each in a thread of its own, so that none can delay a run.

Belongs here: sending, trying again, what became of it on record. Not here: words (chiploop.messages), when
something is due (telling), keys of lab.toml (instruments.notify_settings).

A message that was delivered on a way is not sent there again, also not by a process that takes the run up later. A
process that dies between sending and its row may send once more: better twice than never. So does one whose record
is away: that is news that people must have, and nobody can say then what was sent before.
"""

from __future__ import annotations

import html
import http.client
import json
import logging
import queue
import shutil
import smtplib
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any
from urllib.parse import urlsplit

from chiploop.errors import ChiploopError
from chiploop.messages import NOTIFICATION, Message
from chiploop.record.record import Record
from instruments.notify_settings import (
    DesktopSettings,
    MailSettings,
    NotifySettings,
    SecretNotThere,
    WebhookSettings,
    secret,
)

WAITS_S = (10.0, 60.0, 300.0)
"""Between the attempts of one message on one way."""
CLOSE_PATIENCE_S = 20.0
"""How long the end of a run waits for its last messages."""

_log = logging.getLogger(__name__)


class NotSent(Exception):
    """One attempt that failed; says why, and never a secret."""


def send_mail(settings: MailSettings, message: Message) -> str:
    """Send by SMTP; return who did not get it, empty where everybody did. Raises NotSent."""
    mail = EmailMessage()
    mail["Subject"], mail["From"] = message.subject, settings.sender
    mail["To"] = ", ".join(settings.to)
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="chiploop")
    mail.set_content(message.text)
    try:
        password = secret(settings.password_env, settings.password_file)
        context = ssl.create_default_context(cafile=settings.ca_file)
        place = (settings.host, settings.port)
        server: smtplib.SMTP
        if settings.security == "tls":
            server = smtplib.SMTP_SSL(*place, timeout=settings.timeout_s, context=context)
        else:
            server = smtplib.SMTP(*place, timeout=settings.timeout_s)
        with server:
            if settings.security == "starttls":
                server.starttls(context=context)
            if settings.user is not None:
                server.login(settings.user, password)
            refused = server.send_message(mail)
    except SecretNotThere as problem:
        raise NotSent(str(problem)) from None
    except smtplib.SMTPResponseException as problem:
        raise NotSent(f"the server answered {problem.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused as problem:
        raise NotSent(f"the server refused {', '.join(problem.recipients)}") from None
    except smtplib.SMTPNotSupportedError as problem:
        raise NotSent(f"the server can not do it: {problem}") from None
    except (smtplib.SMTPException, OSError) as problem:
        raise NotSent(_words(problem)) from None
    return f"refused for {', '.join(refused)}" if refused else ""


def send_webhook(settings: WebhookSettings, message: Message) -> str:
    """Send as JSON by POST; return nothing. Redirects are not followed. Raises NotSent."""
    try:
        url = urlsplit(settings.url or secret(settings.url_env, settings.url_file))
        if url.scheme not in ("http", "https") or not url.hostname:
            raise NotSent("the address is none of http:// or https://")
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(url.hostname, url.port, timeout=settings.timeout_s)
        try:
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            body = json.dumps(message.facts()).encode()
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if not 200 <= answer.status < 300:
                raise NotSent(f"the server answered {answer.status}")
        finally:
            connection.close()
    except SecretNotThere as problem:
        raise NotSent(str(problem)) from None
    except ValueError:  # a port that is none, a control character: the text may hold the address
        raise NotSent("the address is not valid") from None
    except (http.client.HTTPException, OSError) as problem:
        raise NotSent(_words(problem)) from None
    return ""


def send_desktop(settings: DesktopSettings, message: Message) -> str:
    """Show a notice on this computer's screen; return nothing. Raises NotSent where it has no way to."""
    title, body = message.subject, message.text
    if program := shutil.which("notify-send"):
        command = [program, "--app-name=chiploop", "--", title, html.escape(body, quote=False)]
    elif program := shutil.which("osascript"):
        script = [
            "on run argv",
            "display notification (item 2 of argv) with title (item 1 of argv)",
        ]
        lines = [part for line in (*script, "end run") for part in ("-e", line)]
        command = [program, *lines, title, body]
    else:
        raise NotSent("neither notify-send nor osascript is on this computer")
    try:
        ended = subprocess.run(
            command, capture_output=True, timeout=settings.timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise NotSent(_words(problem)) from None
    if ended.returncode:
        raise NotSent(f"{command[0]} ended with {ended.returncode}")
    return ""


def _words(problem: Exception) -> str:
    """Return what went wrong with a connection, without what was sent through it."""
    within = problem.__context__  # smtplib hides a silence in a lost connection
    if any(isinstance(p, TimeoutError | subprocess.TimeoutExpired) for p in (problem, within)):
        return "no answer in time"
    strerror = getattr(problem, "strerror", None)
    return f"{type(problem).__name__}" + (f": {strerror}" if strerror else "")


Send = Callable[[Any, Message], str]
SENDERS: Mapping[str, Send] = {
    "mail": send_mail,
    "webhook": send_webhook,
    "desktop": send_desktop,
}
"""Key below ``[notify]`` -> what sends on that way."""


@dataclass(frozen=True)
class Attempt:
    """What became of one attempt."""

    way: str
    to: str
    question: str
    """Key of the message."""
    number: int
    delivered: bool
    why: str
    """Why it failed, or who did not get it."""
    took_s: float


def attempt(way: str, settings: Any, message: Message, number: int = 1) -> Attempt:
    """Send once and return what became of it; never raises for what a network does."""
    begun, delivered = time.monotonic(), False
    try:
        why = SENDERS[way](settings, message)
        delivered = True
    except NotSent as problem:
        why = str(problem)
    took_s = round(time.monotonic() - begun, 3)
    return Attempt(way, settings.told, message.key, number, delivered, why, took_s)


class Notifier:
    """Sends messages of a run on every way of a bench, and puts each attempt on record."""

    def __init__(
        self,
        settings: NotifySettings,
        record_url: str,
        run_id: str,
        time_h: Callable[[], float],
        waits_s: tuple[float, ...] = WAITS_S,
    ) -> None:
        self._url, self._run_id, self._time_h, self._waits_s = record_url, run_id, time_h, waits_s
        self._ending = threading.Event()
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._left: dict[str, queue.Queue[Message | None]] = {}
        self._threads = []
        for way, one in settings.ways().items():
            self._left[way] = queue.Queue()
            thread = threading.Thread(
                target=self._serve, args=(way, one), name=f"notify {way}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def tell(self, message: Message) -> None:
        """Take a message over and return at once; one whose key was told before is dropped."""
        with self._lock:
            if message.key in self._told:
                return
            self._told.add(message.key)
        for waiting in self._left.values():
            waiting.put(message)

    def close(self, patience_s: float = CLOSE_PATIENCE_S) -> None:
        """Let every way try what it has left once more, and wait no longer than that."""
        self._ending.set()
        for waiting in self._left.values():
            waiting.put(None)
        until_s = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _serve(self, way: str, settings: Any) -> None:
        while (message := self._left[way].get()) is not None:
            try:
                self._deliver(way, settings, message)
            except Exception:  # the next message must still find this thread
                _log.exception("message %s by %s was lost", message.key, way)

    def _deliver(self, way: str, settings: Any, message: Message) -> None:
        before = self._attempts(way, message)
        if any(one["delivered"] for one in before):
            return
        for number, wait_s in enumerate((*self._waits_s, None), start=len(before) + 1):
            done = attempt(way, settings, message, number)
            self._keep(done)
            if done.delivered or wait_s is None or self._ending.wait(wait_s):
                return

    def _attempts(self, way: str, message: Message) -> list[Any]:
        """Return what became of a message on a way before; nothing where the record is away."""
        try:
            with Record(self._url) as record:
                events = [e.content for e in record.events(self._run_id, NOTIFICATION)]
        except ChiploopError as trouble:
            _log.warning("what was sent of %s before is not known: %s", message.key, trouble)
            return []
        return [one for one in events if (one["way"], one["question"]) == (way, message.key)]

    def _keep(self, done: Attempt) -> None:
        """Put an attempt on record; in the log alone where the record is away."""
        content = {key: value for key, value in vars(done).items() if key != "took_s"}
        key = f"{done.question}/{done.way}/{done.number}"
        try:
            with Record(self._url) as record:
                record.add_event(self._run_id, NOTIFICATION, self._time_h(), content, key=key)
        except ChiploopError as trouble:
            _log.warning("%s is not on record: %s", content, trouble)
