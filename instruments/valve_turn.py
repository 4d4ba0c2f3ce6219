"""A valve to the port of a line, on record before it turns and after it has said where it stands.

Belongs here: the order of journal and wire, what must stand still meanwhile, what is done where the valve does not
say where it is. Not here: which line is to feed a chip (chiploop.connections), bytes (instruments.valves).

On its way a valve passes the ports in between, so every pump of every line that has a port on it must stand
still, by the journal and by its own word. A move is absolute: sent again it leads to the same port, and
nothing flows. So a turn that was interrupted is looked at, and asked again. Where the valve does not say where
it stands, nobody knows who is fed by whom: its lines are held, and a person looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chiploop.errors import WaitingForPerson
from chiploop.record.journal import Journal
from chiploop.record.turns import TurnAsked
from instruments.contracts import Pump, Valve
from instruments.errors import InstrumentError
from instruments.fault_points import fault
from instruments.transport import NotSent

AT_REST: Final = ("idle", "paused", "alarm")
"""States of a pump that moves nothing."""


def turn_valve(
    journal: Journal, valve: Valve, pumps: Mapping[str, Pump], asked: TurnAsked, time_h: float
) -> bool:
    """Turn a valve to the port of a line; return whether it stands there.

    What became of it is on record then. False: it stands where it was, or nobody knows where.

    Raises
    ------
    NotSent
        The valve could not be spoken to; that it was to be turned is on record.
    WaitingForPerson
        A pump of one of the valve's lines has an open action; nothing was sent to the valve.
    InstrumentError
        Such a pump runs, or does not answer; nothing was sent to the valve.
    """
    refuse_unless_at_rest(journal, pumps, asked.lines)
    fault("before_turn")
    journal.turn(asked)
    fault("after_turn_asked")
    trouble = ""
    try:
        valve.go_to(asked.port)
    except NotSent:
        raise  # nobody could speak to it: it is looked at again when the run goes on
    except (InstrumentError, ValueError) as problem:
        trouble = str(problem)
    fault("after_turn")
    try:
        position = valve.position()
    except InstrumentError as problem:
        reason = f"{trouble or problem}; it does not say where it stands"
        journal.turn_unknown(asked.key, time_h, reason)
        return False
    if position == asked.port:
        proof = f"the valve's own position; before, {trouble}" if trouble else "its own position"
        journal.turned(asked.key, time_h, asked.to_line, position, proof)
        fault("after_turned")
        return True
    reason = f"asked for port {asked.port} of {asked.to_line}, it stands at {position}"
    journal.turn_unknown(asked.key, time_h, f"{reason}; {trouble}" if trouble else reason)
    return False


def refuse_unless_at_rest(
    journal: Journal, pumps: Mapping[str, Pump], lines: tuple[str, ...]
) -> None:
    """Raise what bars a valve from being turned: a pump of one of its lines that moves, or may."""
    for action in journal.open_actions():
        if action.intent.programme.line in lines and action.intent.pump in pumps:
            raise WaitingForPerson(
                f"{action.intent.pump} has an open action, {action.intent.key}: "
                f"{action.held or 'not finished'}. No valve of its line turns before it stands still"
            )
    for name, pump in pumps.items():
        if not name.startswith(tuple(f"{line}-" for line in lines)):
            continue
        status = pump.status()
        if status.state not in AT_REST:
            raise InstrumentError(
                f"{name} is {status.state}; no valve of its line turns under flow"
            )


def found_elsewhere(
    journal: Journal, valve: Valve, asked: TurnAsked, time_h: float, position: int | None, why: str
) -> str:
    """Put on record that a valve does not stand where it was left; return that for people."""
    where = f"stands at port {position}" if position is not None else f"does not say where: {why}"
    said = f"valve {valve.name} was left at port {asked.port} of {asked.to_line} and {where}"
    journal.turn(asked)
    journal.turn_unknown(asked.key, time_h, said)
    return said
