"""Which run needs which instrument when, by the clock, and where two runs are in each other's way.

Belongs here: stretches, conflicts, the earliest start without one; pure functions. Not here: what a study needs
(timetable), keeping reservations on record (record.reservations), which device a name is (flows.reserving).

Two rules. An instrument that somebody has for itself alone (pumps: for the length of a run) serves nobody else
meanwhile. Readings with one that is shared stand in line in the order in which they are due; that is a conflict
only where one would begin later than it may wait.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

STEP_S = 60.0
"""Start times are tried at least so far apart."""
SAME_S = 1e-6


@dataclass(frozen=True)
class Stretch:
    """A time in which a run needs one instrument."""

    device: str
    """Which one: computer and port, whatever it is called in a lab.toml."""
    name: str
    """What it is called there."""
    from_s: float
    """Seconds since 1970."""
    to_s: float
    """Infinite where nobody can say."""
    alone: bool
    """True where nobody else can use it meanwhile."""
    what: str
    may_wait_s: float = 0.0
    """How much later a reading may begin."""

    def facts(self) -> dict[str, Any]:
        """Return it for JSON, which knows no infinity."""
        to_s = self.to_s if math.isfinite(self.to_s) else None
        return {
            "device": self.device,
            "name": self.name,
            "from_s": self.from_s,
            "to_s": to_s,
            "alone": self.alone,
            "what": self.what,
            "may_wait_s": self.may_wait_s,
        }


def stretch_from(facts: Mapping[str, Any]) -> Stretch:
    """Return what ``Stretch.facts`` gave."""
    to_s = math.inf if facts["to_s"] is None else facts["to_s"]
    return Stretch(**{**facts, "to_s": to_s})


@dataclass(frozen=True)
class Reservation:
    """What one run has reserved."""

    run_id: str
    stretches: tuple[Stretch, ...]
    since: int = 0
    """Order of reserving: of two runs that want the same, the lower one has it."""
    left: bool = False
    """True where the run has not ended and no process works on it: its chips may still stand on its pumps."""

    def now(self, now_s: float) -> Reservation:
        """Return what it is worth now: who works on longer than planned keeps what it has; a run that nobody works
        on keeps what it had alone until a person says otherwise, and reads nothing.
        """
        if self.left:
            kept = (replace(one, to_s=math.inf) for one in self.stretches if one.alone)
        else:
            kept = (
                replace(one, to_s=max(one.to_s, now_s)) if one.alone else one
                for one in self.stretches
            )
        return replace(self, stretches=tuple(kept))


@dataclass(frozen=True)
class Conflict:
    """Two runs want one instrument at the same time."""

    device: str
    name: str
    other: str
    """The other run."""
    what: str
    """What this one wants it for."""
    other_what: str
    from_s: float
    to_s: float
    """Infinite where the other has no end."""
    alone: bool
    """True where one of them has it for itself; False where readings stand in line."""
    own_from_s: float
    """When this run wants it."""
    until_s: float
    """When the other is done with it."""
    late_s: float = 0.0
    """How much later than due a reading begins."""
    may_wait_s: float = 0.0
    whose_late: str = ""
    """Run that is late; empty for this one."""

    @property
    def overlap_s(self) -> float:
        """Return how long both want it."""
        return self.to_s - self.from_s

    @property
    def bars(self) -> bool:
        """True where it can not be so; False where a reading waits and is still in time."""
        return self.alone or self.late_s > self.may_wait_s + SAME_S


def conflicts(
    mine: Sequence[Stretch], others: Iterable[Reservation], me: str = ""
) -> tuple[Conflict, ...]:
    """Return where stretches of this run and reservations of others are in each other's way, by time."""
    others = [one for one in others if one.run_id != me]
    found = [*_alone(mine, others), *_in_line(mine, others)]
    return tuple(sorted(found, key=lambda one: (one.from_s, one.device, one.other)))


def _alone(mine: Sequence[Stretch], others: Sequence[Reservation]) -> Iterator[Conflict]:
    for one in mine:
        for other in others:
            for theirs in other.stretches:
                from_s, to_s = max(one.from_s, theirs.from_s), min(one.to_s, theirs.to_s)
                if one.device == theirs.device and to_s - from_s > SAME_S:
                    if one.alone or theirs.alone:
                        yield Conflict(
                            one.device,
                            one.name,
                            other.run_id,
                            one.what,
                            theirs.what,
                            from_s,
                            to_s,
                            True,
                            one.from_s,
                            theirs.to_s,
                        )


@dataclass(frozen=True)
class _Turn:
    """A reading in the line of its instrument."""

    run_id: str
    stretch: Stretch
    begins_s: float
    behind: _Turn | None
    """Whom it waited for."""

    @property
    def ends_s(self) -> float:
        return self.begins_s + self.stretch.to_s - self.stretch.from_s

    @property
    def late_s(self) -> float:
        return self.begins_s - self.stretch.from_s


def _line(readings: Iterable[tuple[str, Stretch]]) -> dict[tuple[str, Stretch], _Turn]:
    """Return when each reading begins where they stand in line as they are due."""
    found: dict[tuple[str, Stretch], _Turn] = {}
    before: dict[str, _Turn] = {}
    free_s: dict[str, float] = {}
    for run_id, one in sorted(readings, key=lambda r: (r[1].from_s, r[0])):
        begins_s = max(one.from_s, free_s.get(one.device, one.from_s))
        waits = begins_s > one.from_s + SAME_S
        turn = _Turn(run_id, one, begins_s, before.get(one.device) if waits else None)
        found[run_id, one] = before[one.device] = turn
        free_s[one.device] = turn.ends_s
    return found


def _in_line(mine: Sequence[Stretch], others: Sequence[Reservation]) -> Iterator[Conflict]:
    """Yield the readings of this run that must wait, and those of others that wait longer because of it."""
    theirs = [(o.run_id, one) for o in others for one in o.stretches if not one.alone]
    ours = [("", one) for one in mine if not one.alone]
    alone, together = _line(theirs), _line([*theirs, *ours])
    for key, turn in together.items():
        without_s = alone[key].late_s if key in alone else 0.0
        ahead = turn.behind
        if ahead is None or turn.late_s <= without_s + SAME_S:
            continue
        if turn.run_id:  # somebody else is late because of this run
            own = [t for t in together.values() if not t.run_id and t.begins_s < turn.begins_s]
            cause = max(
                (t for t in own if t.stretch.device == turn.stretch.device),
                key=lambda t: t.begins_s,
            )
            other, mine_is = turn, cause.stretch
        elif ahead.run_id:
            other, mine_is = ahead, turn.stretch
        else:
            continue  # behind another reading of this run, which is told
        yield Conflict(
            turn.stretch.device,
            turn.stretch.name,
            other.run_id,
            mine_is.what,
            other.stretch.what,
            turn.stretch.from_s,
            ahead.ends_s,
            False,
            mine_is.from_s,
            ahead.ends_s,
            turn.late_s,
            turn.stretch.may_wait_s,
            turn.run_id,
        )


def later(mine: Iterable[Stretch], by_s: float) -> tuple[Stretch, ...]:
    """Return the stretches of a run that begins later."""
    return tuple(replace(one, from_s=one.from_s + by_s, to_s=one.to_s + by_s) for one in mine)


def earliest_start_s(
    mine: Sequence[Stretch], others: Sequence[Reservation], start_s: float, me: str = ""
) -> float:
    """Return the first start from ``start_s`` on without a conflict that bars; infinite where there is none.

    ``mine`` is as for a start at ``start_s``.
    """
    by_s = 0.0
    while True:
        moved = later(mine, by_s)
        barring = [one for one in conflicts(moved, others, me) if one.bars]
        if not barring:
            return start_s + by_s
        # each of them stays for at least so long as this run is moved by less
        step_s = max(
            one.until_s - one.own_from_s if one.alone else one.late_s - one.may_wait_s
            for one in barring
        )
        if math.isinf(step_s):
            return math.inf
        by_s += max(STEP_S, step_s)
