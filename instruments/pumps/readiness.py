"""From `prepare` to `start`: whether what was read back still counts.

Belongs here: one preparation, and the stops that end it, for every make. Not here: what is prepared,
bytes, alarms.

A stop comes from another thread, perhaps while `prepare` does its last line. So a preparation is
marked with the number of stops that had come when it began, and counts for as long as no other came.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from instruments.transport import NotSent

T = TypeVar("T")


class StoppedSince(NotSent):
    """A stop came between `prepare` and `start`; whoever stopped decides whether anything goes on."""


class Readiness(Generic[T]):
    """At most one preparation, used up by one start."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stops = 0
        self._prepared: tuple[int, T] | None = None

    def begin(self) -> int:
        """Forget an earlier preparation; return what `end` wants."""
        self._prepared = None
        return self._stops

    def end(self, begun: int, settings: T) -> None:
        """Count as prepared, unless a stop came since `begin`."""
        self._prepared = begun, settings

    def stopped(self) -> None:
        """Take note of a stop."""
        self._stops += 1

    def take(self) -> T:
        """Return what was prepared, once.

        ValueError where nothing was; `StoppedSince` where a stop came since it began.
        """
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            raise ValueError(f"{self._name}: start was asked without prepare; nothing was sent")
        if prepared[0] != self._stops:
            raise StoppedSince(
                f"{self._name}: a stop came since its settings were read back; it was not started"
            )
        return prepared[1]
