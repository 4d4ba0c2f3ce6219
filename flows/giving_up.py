"""A run that is given up: its chips are off the bench, and nobody may start or await a pump in its name.

Belongs here: what that asks of its pumps and its journal. Not here: its reservation (record.reservations),
stopping pumps (cli.stop). Moves no liquid.

Its supervisor would otherwise begin plain medium on pumps that another run has by then, and pumps that still run
for it would give that run's chips something on top. So they are stopped first, by a person who sees to it.
"""

from __future__ import annotations

from pathlib import Path

from chiploop.errors import WrongUse
from chiploop.record.journal import Journal
from flows.run_owner import only_owner
from flows.stop_mark import is_stopped, mark_stopped


def give_up(
    folder: Path, run_id: str, simulated: bool, time_h: float, by: str, why: str
) -> list[str]:
    """End what is open in the journal of a run that nobody works on, on a person's word; return its pumps.

    What they gave is on record as not known. Raises WrongUse where a pump may run and nobody has stopped the run,
    RunInUse where its supervisor is at work just now.
    """
    if not folder.is_dir():
        return []  # somebody took it away; there is nobody to tell
    with only_owner(folder):
        book = (folder if simulated else folder.parent) / "journal.sqlite"
        pumps: list[str] = []
        if book.exists():
            with Journal(book) as journal:
                left = journal.open_actions(run_id)
                pumps = list(dict.fromkeys(action.intent.pump for action in left))
                if left and not is_stopped(folder):
                    raise WrongUse(
                        f"pumps of {run_id} may still run and would go on under the next run: {', '.join(pumps)}. "
                        f"Stop them first: chiploop stop {run_id}. Nothing was changed"
                    )
                for action in left:
                    journal.abandon(action.intent.key, time_h, by, f"given up: {why}")
        mark_stopped(folder, f"given up by {by}: {why}", given_up=True)
    return pumps
