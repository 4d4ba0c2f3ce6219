"""Whose turn it is on a port, and how a stop gets its turn before everybody.

Belongs here: turns of threads. Not here: bytes (transport).

A thread holds the turn for one transaction or, by `PortTurn.taken`, for several. An urgent thread
waits for nothing but bytes that are on their way: a pending read gives up as soon as it sees
`PortTurn.interruption`, and a holder that is between two transactions loses its turn without being
asked. What such a holder still wants to send within its block is refused (`NotSent`), also after the
stop is done: the block was written to be undisturbed, and a start command at its end must not come
behind a stop.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from instruments.errors import InstrumentError


class NotSent(InstrumentError):
    """The transport refused before the first byte went out: the device has seen nothing."""

    code = "CL-403"


@dataclass
class _Hold:
    """One thread in its blocks; it has the turn, or has lost it to a stop."""

    depth: int = 0
    urgent: bool = False


class PortTurn:
    """A lock that a thread may take again while it has it, and that an urgent thread takes away
    from others."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._changed = threading.Condition()
        self._holds: dict[int, _Hold] = {}
        self._owner: int | None = None
        self._busy = 0
        self._urgent_waiting = 0
        self._refused = ""

    def refuse(self, reason: str | None) -> None:
        """Refuse every transaction that is not urgent, and interrupt a pending one; None takes it
        back."""
        with self._changed:
            self._refused = reason or ""

    @property
    def urgent(self) -> bool:
        """True where the calling thread has the turn urgently: a stop goes out even where the
        record is broken."""
        hold = self._holds.get(threading.get_ident())
        return hold is not None and hold.urgent

    def interruption(self) -> str:
        """Return why the calling thread should give up waiting; empty while it need not."""
        if self.urgent:
            return ""
        if self._urgent_waiting:
            return "a stop takes the port"
        return self._refused

    @contextmanager
    def taken(self, urgent: bool = False) -> Iterator[bool]:
        """Hold the turn, and yield whether this thread did not have it before.

        `NotSent` within a block that a stop has broken.
        """
        me = threading.get_ident()
        with self._changed:
            hold = self._holds.setdefault(me, _Hold())
            new = self._owner != me
            if new:
                try:
                    if hold.depth and not urgent:
                        raise NotSent(
                            f"port {self._name}: a stop came between; nothing more is sent "
                            "of what it broke"
                        )
                    self._wait(urgent)
                except BaseException:
                    if not hold.depth:
                        del self._holds[me]
                    raise
                self._owner = me
            before, hold.urgent = hold.urgent, hold.urgent or urgent
            hold.depth += 1
        try:
            yield new
        finally:
            with self._changed:
                hold.depth -= 1
                hold.urgent = before
                if not hold.depth:
                    del self._holds[me]
                if new and self._owner == me:
                    self._owner = None
                self._changed.notify_all()

    @contextmanager
    def transaction(self) -> Iterator[bool]:
        """Hold the turn while bytes are on their way, and yield whether that is all that it is held
        for.

        `NotSent` where a stop waits or has broken the block, or where transactions are refused.
        """
        with self.taken() as alone:
            with self._changed:
                why = self.interruption()
                if self._owner != threading.get_ident():
                    why = why or "a stop came between"
                if why:
                    raise NotSent(f"port {self._name}: {why}; nothing was sent")
                self._busy += 1
            try:
                yield alone
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _wait(self, urgent: bool) -> None:
        """Wait as long as it takes: whatever keeps the port busy has a deadline of its own."""
        self._urgent_waiting += urgent
        try:
            while not self._free_for(urgent):
                self._changed.wait()
        finally:
            self._urgent_waiting -= urgent
            self._changed.notify_all()

    def _free_for(self, urgent: bool) -> bool:
        if self._owner is None:
            return urgent or not self._urgent_waiting
        return urgent and not self._busy and not self._holds[self._owner].urgent
