"""A person's stop in the journal: which pumps have said that they stand, so that counters settle what they gave.

Belongs here: those rows. Not here: stopping (cli.stop), what a counter proves then (instruments.delivery), what a
run does that is taken up again (perfusion). Without these rows, as where their writer died, a counter amid
its volume proves nothing: its line is held until a person has looked.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from chiploop.record.actions import Action
from chiploop.record.journal import Journal
from flows.clock import study_time_h

BY_PERSON = "by_person"
"""Key in a row's body: it was a person who had the pump stopped."""


def put_stop(journal: Journal, run_id: str, confirmed: Collection[str], time_h: float) -> None:
    """Put on record that pumps stand which were stopped for a person; what had not begun is left as it is.

    Also of a pump that had not been told to start yet, where others of its programme had: it starts no more.
    """
    for action in journal.open_actions(run_id):
        if action.intent.pump not in confirmed or action.stood_h is not None:
            continue
        if not any(a.sent_h for a in journal.programme(action.intent.programme_key)):
            continue
        text = "stopped for a person (chiploop stop); the pump says that it stands"
        marks = {"stands": True, "counted": True, BY_PERSON: True}
        journal.note(run_id, action.intent.key, time_h, text, **marks)


def put_stop_of_run(folder: Path, simulated: bool, confirmed: Collection[str]) -> None:
    """Put a stop on record in the journal of a run's folder, where it has one."""
    path = (folder if simulated else folder.parent) / "journal.sqlite"
    if not confirmed or not path.is_file():
        return
    with Journal(path) as journal:
        put_stop(journal, folder.name, confirmed, study_time_h(folder, simulated))


def was_stopped_by_person(journal: Journal, actions: Collection[Action]) -> bool:
    """Return whether a person had one of these pumps stopped."""
    return any(e.body.get(BY_PERSON) for a in actions for e in journal.events(a.intent.key))
