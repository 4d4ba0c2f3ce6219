"""When people are told: a look at record and journal beside the run, and what a run's end says.

Belongs here: reading what is due. Not here: words (chiploop.messages), sending (notify).

The look has a thread and connections of its own. It changes nothing of the run, and the run does not know of it:
it also tells of a question while the run fits, waits or hangs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from chiploop import messages
from chiploop.errors import ChiploopError
from chiploop.messages import Message
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.worklist import HandTask
from flows.asking import ASKED, moment_of, question_of, study_time_h
from flows.awaited_files import MISSING
from flows.away import AWAY, BACK
from flows.away import MISSED as MISSED_READING
from flows.disk_room import low_times, no_room
from flows.hands import begun_exposures_h, states, teer_by_hand
from flows.notify import NOTIFICATION, Notifier
from flows.opening import RunFiles
from flows.record_place import place_of
from flows.reserving import IN_VAIN
from flows.run_owner import RunInUse
from flows.runs_folder import runs_option

if TYPE_CHECKING:
    from instruments.notify_settings import NotifySettings

LOOK_EVERY_S = 15.0

_log = logging.getLogger(__name__)


def due_messages(files: RunFiles, record: Record, journal: Journal) -> list[Message]:
    """Return everything that people should know by now, told before or not."""
    run_id, where = files.run_id, runs_option(files.runs)
    found: list[Message] = []
    proposal = record.latest_proposal(run_id)
    asked = {e.content["proposal"] for e in record.events(run_id, ASKED)}
    if proposal is not None and record.decision_for(proposal.key) is None:
        now = moment_of(files.folder, files.simulated)
        one = question_of(record, run_id, proposal, now, files.simulated)
        is_asked = proposal.key in asked or bool(proposal.content.get("edited_from"))
        if is_asked and not (one.end is not None and one.end.over):
            found += messages.decide(
                run_id,
                proposal.key,
                proposal.content["doses"],
                [given.by for given in one.given],
                one.needs,
                "" if one.end is None else one.end.told,
                one.end is not None and one.end.near,
                where,
            )
    for line in journal.held(run_id):
        settled = sum(
            action.end is not None and action.end.kind == "abandoned"
            for action in journal.actions(run_id)
            if action.intent.programme.line == line
        )
        found.append(messages.held(run_id, line, settled + 1, where))
    for event in record.events(run_id, MISSING):
        said = event.content
        found.append(messages.no_file(run_id, said["plate"], said["deadline"], where))
    for event in record.events(run_id, IN_VAIN):
        said = event.content
        words = (said["instrument"], said["what"], said["with"], said["outcome"])
        found.append(messages.not_free(run_id, f"{said['what']}/{event.time_h:.4f}", *words, where))
    back = {(e.content["what"], e.content["number"]) for e in record.events(run_id, BACK)}
    missed = {event.content["what"] for event in record.events(run_id, MISSED_READING)}
    for event in record.events(run_id, AWAY):
        what, number = event.content["what"], int(event.content["number"])
        if (what, number) not in back and what not in missed:
            found.append(messages.away(run_id, what, number, where))
    if (lows := low_times(record, run_id)) and (why := no_room(files.folder)):
        found.append(messages.disk_low(run_id, lows, why, where))
    if not files.simulated:  # where the virtual technician does it all
        found += by_hand(files, record, journal)
    return [replace(message, simulated=files.simulated) for message in found]


def by_hand(files: RunFiles, record: Record, journal: Journal) -> list[Message]:
    """Return what must be done by hand now or is late, one message for all lines."""
    now_h = study_time_h(files.folder, files.simulated)
    by_entry = teer_by_hand(files.folder)
    groups: dict[tuple[str, str], list[HandTask]] = {}
    now = states(files.study, files.run_id, record, journal, now_h, by_entry)
    begun = begun_exposures_h(journal.actions(files.run_id))
    for task, state in now:
        if state in ("due", "late") and (task.cycle in begun or task.kind == "refill"):
            group = task.task_id.rsplit("/", 1)[0] if task.kind == "collect" else task.task_id
            groups.setdefault((group, state), []).append(task)
    return [
        messages.by_hand(
            files.run_id,
            group,
            f"{tasks[0].kind} ({', '.join(task.task_id for task in tasks)})",
            state,
            f"{tasks[0].due_h:.4g} h of study time, in {tasks[0].due_h - now_h:.2g} h"
            if state == "due"
            else f"{tasks[0].due_h:.4g} h of study time, which is over",
            runs_option(files.runs),
        )
        for (group, state), tasks in groups.items()
    ]


class Lookout:
    """Looks at a run beside it and hands what is due to its notifier."""

    def __init__(self, files: RunFiles, notifier: Notifier) -> None:
        self.files, self.notifier = files, notifier
        self.place = place_of(files.runs)
        """Asked for here: what a command line names is not known to the thread."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lookout", daemon=True)

    def start(self) -> None:
        """Begin to look, every quarter of a minute."""
        self._thread.start()

    def look(self) -> None:
        """Look once."""
        files = self.files
        if not self.place.is_there() or not files.journal.exists():
            return
        with self.place.open() as record, Journal(files.journal) as journal:
            if record.run(files.run_id) is not None:
                for message in due_messages(files, record, journal):
                    self.notifier.tell(message)

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()

    def _watch(self) -> None:
        while not self._ending.wait(LOOK_EVERY_S):
            try:
                self.look()
            except Exception:  # a look that fails must not be the last one
                _log.exception("the look for messages failed; the next one follows")


@contextmanager
def telling(files: RunFiles, settings: NotifySettings) -> Iterator[None]:
    """Tell people of a run while it goes on, and how it ended; nothing where its bench has no way to.

    To be entered before the bench is opened, so that pumps are dealt with before the last message is waited for.
    """
    if not settings.ways():
        yield
        return
    url = place_of(files.runs).url

    def time_h() -> float:
        return study_time_h(files.folder, files.simulated)

    notifier = Notifier(settings, url, files.run_id, time_h)
    lookout = Lookout(files, notifier)
    lookout.start()
    last: Message | None = None
    try:
        yield
        last = messages.ended(files.run_id)
    except BaseException as trouble:
        last = message_of(files, url, trouble)
        raise
    finally:
        lookout.stop()
        if last is not None:
            notifier.tell(replace(last, simulated=files.simulated))
        notifier.close()


def message_of(files: RunFiles, url: str, trouble: BaseException) -> Message | None:
    """Return what is told of a run that did not come to its end; None where a person stopped it."""
    exit_code = int(getattr(trouble, "exit_code", 1))
    if isinstance(trouble, KeyboardInterrupt | RunInUse) or exit_code == 130:
        return None  # a person did that, at the keyboard
    try:
        with Record(url) as record:
            told = record.events(files.run_id, NOTIFICATION)
        keys = {e.content["question"] for e in told}
        number = 1 + sum(key.startswith("failed/") for key in keys)
    except (
        ChiploopError
    ):  # the record's server may be why the run stands: people must hear of that above all
        number = int(time.time())
    code = str(getattr(trouble, "code", "CL-100"))
    return messages.failed(files.run_id, number, code, exit_code, runs_option(files.runs))
