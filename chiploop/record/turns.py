"""What the rows of the journal say of valves: turned, confirmed, in doubt, and who feeds which chip since.

Belongs here: values and pure functions over rows. Not here: the file (journal), turning (instruments.valve_turn),
what a connection is (chiploop.connections).

A row ``turn`` is on disk before the first byte of it, ``turned`` after the valve has said where it stands. Between
the two nobody knows which line feeds the chip, and so it stays where ``turn_unknown`` follows, until a person
has said where the valve stands (``turn_settled``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chiploop.record.actions import Event

TURN_KINDS = ("turn", "turned", "turn_unknown", "turn_settled")
ENDS_OF_TURN = ("turned", "turn_settled")
"""Rows after which it is known where the valve stands."""


@dataclass(frozen=True)
class TurnAsked:
    """A valve that is about to be turned, or that was found elsewhere than it was left."""

    key: str
    """``<run>/c<cycle>/<chip>/turn``; asked anew in a cycle after it had ended: ``turn-2`` ..."""
    run_id: str
    chip: str
    valve: str
    """Its name in lab.toml."""
    from_line: str | None
    """Line that feeds the chip until then; None where nobody knows."""
    to_line: str
    port: int
    """Of ``to_line`` on the valve."""
    lines: tuple[str, ...]
    """All lines that have a port on the valve; it passes them on its way."""
    time_h: float
    """Study time."""
    known_until: int = 0
    """Row of the journal after which nobody can vouch for ``from_line``; 0: this one."""

    def body(self) -> dict[str, Any]:
        """Return it for the journal."""
        return {k: v for k, v in asdict(self).items() if k not in ("key", "run_id")}


@dataclass(frozen=True)
class Turn:
    """A turn and what became of it."""

    seq: int
    """Number of its first row."""
    asked: TurnAsked
    stands: str | None
    """The line at whose port the valve is known to stand; None while nobody knows."""
    doubt: str = ""
    """Why a person must look; empty where nothing is in doubt, or a person has said."""

    @property
    def open(self) -> bool:
        """True while nobody knows where the valve stands."""
        return self.stands is None


def turns_of(events: Iterable[Event]) -> list[Turn]:
    """Return the turns that rows of valves tell of, in order.

    A turn asked again under its key before it has ended goes on; once it has ended, that is another turn.
    """
    asks: list[list[Event]] = []
    newest: dict[str, list[Event]] = {}
    for event in events:
        own = newest.get(event.key)
        if own is None or (event.kind == "turn" and own[-1].kind in ENDS_OF_TURN):
            own = newest[event.key] = []
            asks.append(own)
        own.append(event)
    turns = []
    for rows in asks:
        first = next(row for row in rows if row.kind == "turn")
        key = first.key
        body = {**first.body, "lines": tuple(first.body["lines"])}
        asked = TurnAsked(key, first.run_id, **body)
        last = rows[-1]
        stands = str(last.body["stands"]) if last.kind in ENDS_OF_TURN else None
        doubt = str(last.body["reason"]) if last.kind == "turn_unknown" else ""
        turns.append(Turn(first.seq, asked, stands, doubt))
    return turns


def turn_to_settle(turns: Sequence[Turn]) -> Turn | None:
    """Return the turn of one valve that a person's word ends: the one in doubt, or else the newest that is open.

    Of those since the valve's position was last known; None where it is known.
    """
    known = max((n for n, turn in enumerate(turns) if not turn.open), default=-1)
    unknown = turns[known + 1 :]
    return next((t for t in reversed(unknown) if t.doubt), unknown[-1] if unknown else None)


def next_turn_key(turns: Sequence[Turn], run_id: str, cycle: int, chip: str) -> str:
    """Return the key of a chip's next turn for a cycle: that of the turn that has not ended, or a new one."""
    stem = f"{run_id}/c{cycle:02d}/{chip}/turn"
    own = [t for t in turns if t.asked.chip == chip]
    of_cycle = [t for t in own if t.asked.key == stem or t.asked.key.startswith(f"{stem}-")]
    if of_cycle and of_cycle[-1] is own[-1] and own[-1].open:
        return own[-1].asked.key
    return f"{stem}-{len(of_cycle) + 1}" if of_cycle else stem


def connection_at(turns: Sequence[Turn], seq: float) -> dict[str, str | None]:
    """Return chip -> line that fed it when a row was written, for chips whose valve was ever turned before.

    A person's word on where a valve stood holds from the moment on since when nobody could tell.
    """
    found: dict[str, str | None] = {}
    for turn in turns:
        if seq > (turn.asked.known_until or turn.seq):
            found[turn.asked.chip] = turn.stands
    return found


def held_by_turns(turns: Sequence[Turn]) -> dict[str, str]:
    """Return line -> why it is held: it has a port on a valve of which nobody knows where it stands."""
    last = {turn.asked.chip: turn for turn in turns}
    held: dict[str, str] = {}
    for turn in last.values():
        if turn.doubt:
            for line in turn.asked.lines:
                held.setdefault(line, f"valve {turn.asked.valve}: {turn.doubt}")
    return held
