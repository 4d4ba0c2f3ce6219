"""Telling people that nobody works on a run: a file, an event on record, and the ways of lab.toml.

Belongs here: what the supervisor says to people, once for each process that is gone. Not here: when (supervisor),
words (chiploop.messages), sending (notify). No Prefect: it must work where that has died.

The process that usually tells people is the one that is gone. Messages have threads of their own: no chip waits
for a mail server.
"""

from __future__ import annotations

import time
from contextlib import suppress

from chiploop import messages
from chiploop.errors import ChiploopError
from chiploop.messages import Message
from flows.clock import WallClock, study_time_h
from flows.heartbeat import Beat
from flows.notify import Notifier
from flows.opening import RunFiles
from flows.record_place import place_of
from flows.runs_folder import runs_option
from instruments.notify_settings import NotifySettings

ALARM_FILE = "ALARM.txt"


class Bell:
    """Tells people of a run on every way of its bench; silent where lab.toml has none."""

    def __init__(self, files: RunFiles, ways: NotifySettings) -> None:
        self._files, self._ways = files, ways
        self._notifier: Notifier | None = None

    def alone(self, beat: Beat | None, why: str) -> None:
        """Tell, once for each process, that it works on the run no more."""
        where = runs_option(self._files.runs)
        self._tell(messages.alone(self._files.run_id, named(beat), why, where))

    def not_safe(self, beat: Beat | None) -> None:
        """Tell, once for each process that is gone, that the pumps could not be dealt with."""
        where = runs_option(self._files.runs)
        self._tell(messages.not_safe(self._files.run_id, named(beat), where))

    def close(self) -> None:
        """Wait a while for what is still to be sent."""
        if self._notifier is not None:
            self._notifier.close()

    def _tell(self, message: Message) -> None:
        if not self._ways.ways():
            return
        if self._notifier is None:
            files = self._files
            try:
                url = place_of(files.runs).url
            except ChiploopError as trouble:
                say(files, f"nobody can be told by message: {trouble}")
                return
            self._notifier = Notifier(
                self._ways, url, files.run_id, lambda: study_time_h(files.folder, files.simulated)
            )
        self._notifier.tell(message)


def named(beat: Beat | None) -> str:
    """Return what tells a process from all others."""
    return "nobody" if beat is None else f"{beat.pid}-{beat.process_started:.0f}"


def alarm(files: RunFiles, why: str) -> None:
    """Tell whoever is at the computer, and put on record, that nobody works on a run."""
    text = (
        f"{files.run_id}: NOBODY WORKS ON THIS RUN: {why}. Drug is stopped, plain medium flows, as lab.toml says. "
        f"Look at the bench, then: chiploop resume {files.run_id}{runs_option(files.runs)}"
    )
    say(files, text)
    with suppress(OSError):
        (files.folder / ALARM_FILE).write_text(text + "\n", encoding="utf-8")
    try:
        with place_of(files.runs).open() as record:
            record.add_event(files.run_id, "alarm", WallClock(files.folder).now_h(), {"why": why})
    except ChiploopError as trouble:
        say(files, f"the alarm is not on record: {trouble}")


def say(files: RunFiles, what: str) -> None:
    """Write a line to the supervisor's log, which is where its output goes; chips do not wait for it."""
    with suppress(OSError):  # the disk is full
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {files.run_id}: {what}", flush=True)
