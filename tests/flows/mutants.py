"""Bugs that the crash matrix must find, planted into a process of a test; no switch in the product plants them.

Belongs here: the bugs. Not here: where they must show (crash_matrix).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import chiploop.approvals
import chiploop.record.journal
import flows.asking
import instruments.delivery as delivery
from chiploop.record import reconcile
from chiploop.record.actions import Intent
from chiploop.record.journal import Journal
from instruments.fault_points import fault


@dataclass(frozen=True)
class Mutant:
    """One planted bug."""

    what: str
    """What is wrong with it, in words."""
    plant: Callable[[], None]
    shows: str
    """What the failure of the matrix says, as a pattern."""


def send_before_intent() -> None:
    """Have the first pump of a programme start before the intents are on disk."""
    intend = Journal.intend
    late: dict[str, Sequence[Intent]] = {}

    def not_yet(journal: Journal, intents: Sequence[Intent]) -> None:
        late[intents[0].programme_key] = intents

    def start_waiting(
        journal: Journal,
        pumps: Mapping[str, Any],
        programme_key: str,
        time_h: float,
        look_again: Callable[[], None],
    ) -> Any:
        intents = late.pop(programme_key, ())
        if intents:
            first = intents[0]
            pump = pumps[first.pump]
            fault("before_sent")
            fault("after_sent")
            pump.start()
            fault("after_start")
            intend(journal, intents)
            journal.sent(first.key, time_h)
            journal.started(first.key, time_h, "the pump's answer")
            fault("after_started")
        return real(journal, pumps, programme_key, time_h, look_again)

    real = delivery._start_waiting
    Journal.intend = not_yet  # type: ignore[method-assign]
    delivery._start_waiting = start_waiting


def boot_check_removed() -> None:
    """Believe every counter, though the pump's power may have been cut since the intent."""
    gone = ("the pump's power was interrupted", "nothing proves that the pump kept its power")
    rules = tuple(r for r in reconcile.RULES if not any(said in r[2] for said in gone))
    assert len(rules) == len(reconcile.RULES) - len(gone)
    reconcile.reconcile.__defaults__ = (rules,)


def unique_key_removed() -> None:
    """Have the journal take the intents of one key any number of times."""
    lines = chiploop.record.journal._SCHEMA.splitlines()
    kept = "\n".join(line for line in lines if "one_intent" not in line)
    chiploop.record.journal._SCHEMA = kept

    def intend(self: Journal, intents: Sequence[Intent]) -> None:
        with self._writing() as db:
            for intent in intents:
                self._append(db, intent.run_id, intent.key, "intent", asdict(intent))

    Journal.intend = intend  # type: ignore[method-assign]


def key_protects_nothing() -> None:
    """The same, and a start does not look whether its key is on record either."""
    unique_key_removed()
    programme = Journal.programme

    def unseen(self: Journal, programme_key: str) -> Any:
        asks = sys._getframe(1).f_code.co_name
        return [] if asks == "start_programme" else programme(self, programme_key)

    Journal.programme = unseen  # type: ignore[method-assign]


def approval_limit_dropped() -> None:
    """Have one person's approval do, whatever the risk."""

    def one(*_: Any) -> int:
        return 1

    for room in (chiploop.approvals, flows.asking):
        room.needed = one  # type: ignore[attr-defined]


MUTANTS: dict[str, Mutant] = {
    "send before intent": Mutant(
        "a pump starts before the intent is in the journal",
        send_before_intent,
        "it ended with|another record|starts|held",
    ),
    "boot check removed": Mutant(
        "a counter is believed though the pump may have lost its power",
        boot_check_removed,
        "it ended with 0|starts",
    ),
    "unique key removed": Mutant(
        "the journal takes two intents of one key", unique_key_removed, "one_intent is gone"
    ),
    "key protects nothing": Mutant(
        "the same, and no start looks whether its key is on record",
        key_protects_nothing,
        "it ended with|another record|starts|one_intent",
    ),
    "approval limit dropped": Mutant(
        "one approval does where the study asks for two",
        approval_limit_dropped,
        "was given: it needs 2 persons",
    ),
}
