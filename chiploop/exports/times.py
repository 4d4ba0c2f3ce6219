"""Times that a vendor file names, told apart by the laboratory's time zone.

Belongs here: text to UTC. Not here: where a format writes its times (the readers). No file says its
zone: a local time without a named zone stays text, it is never called UTC. The text is kept always.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, Literal
from zoneinfo import ZoneInfo

from chiploop.errors import WrongUse

DateOrder = Literal["day-month", "month-day"]
ISO: Final = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[T ]+(.*))?")
OTHER: Final = re.compile(r"([0-9]{1,2})([/.-])([0-9]{1,2})\2([0-9]{4})(?:[,\s]+(.*))?")
CLOCK: Final = re.compile(
    r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?\s*([AaPp][Mm])?\s*"
    r"(Z|[+-][0-9]{2}:?[0-9]{2}|[A-Z]{2,5})?"
)


@dataclass(frozen=True)
class FileTime:
    """One time as the file writes it."""

    what: str
    """``read``, ``batch start``, ..."""
    text: str


@dataclass(frozen=True)
class ExportTime:
    """One time of a file, in UTC where that can be known."""

    what: str
    text: str
    """As the file has it."""
    utc: datetime | None
    problem: str = ""
    """Why there is no UTC; empty where there is."""


@dataclass(frozen=True)
class _Parts:
    date: tuple[int, int, int]
    """Year, then the two others: month and day where ``ordered``, else as written."""
    ordered: bool
    clock: tuple[int, int, int]
    zone: str


def laboratory_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name, for example Europe/Berlin; WrongUse for another one."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise WrongUse(
            f"there is no time zone '{name}'; name it like Europe/Berlin or America/New_York"
        ) from error


def resolve(
    times: Sequence[FileTime], zone: ZoneInfo | None = None, date_order: DateOrder | None = None
) -> tuple[ExportTime, ...]:
    """Return the times of one file in UTC, each with its text and with what could not be told.

    Parameters
    ----------
    zone : of the laboratory's clock; None where nobody named it.
    date_order : of 03/04/2026; None where nobody named it: then it is decided once per file, from
        all its dates, and where none of them tells, no date is taken.
    """
    found = [(one, _parts(one.text)) for one in times]
    written = {
        order
        for _, parts in found
        if parts is not None and not parts.ordered
        for order in _orders(parts)
    }
    decided = written.pop() if len(written) == 1 else date_order
    contradictory = len(written) > 1
    resolved = []
    for one, parts in found:
        utc, problem = None, "not a time that is understood"
        if parts is not None:
            utc, problem = _utc(parts, None if contradictory else decided, zone)
        resolved.append(ExportTime(one.what, one.text, utc, problem))
    return tuple(resolved)


def _parts(text: str) -> _Parts | None:
    text = text.strip()
    iso, other = ISO.fullmatch(text), OTHER.fullmatch(text)
    if iso:
        date, ordered, rest = (int(iso[1]), int(iso[2]), int(iso[3])), True, iso[4]
    elif other:
        first, second = int(other[1]), int(other[3])
        ordered = other[2] == "." or first == second  # 12.05.2026 is day first wherever it is used
        if other[2] == ".":
            first, second = second, first
        date, rest = (int(other[4]), first, second), other[5]
    else:
        return None
    clock = CLOCK.fullmatch((rest or "").strip())
    if clock is None:
        return None
    hour, half = int(clock[1]), (clock[4] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    return _Parts(date, ordered, (hour, int(clock[2]), int(clock[3] or 0)), clock[5] or "")


def _orders(parts: _Parts) -> set[DateOrder]:
    _, first, second = parts.date
    orders: set[DateOrder] = set()
    if first > 12:
        orders.add("day-month")
    if second > 12:
        orders.add("month-day")
    return orders


def _utc(
    parts: _Parts, order: DateOrder | None, zone: ZoneInfo | None
) -> tuple[datetime | None, str]:
    year, month, day = parts.date
    if not parts.ordered:
        if order is None:
            return None, "day and month can not be told apart; name the order of dates"
        if order == "day-month":
            month, day = day, month
    try:
        local = datetime(year, month, day, *parts.clock)
    except ValueError as error:
        return None, f"no such time ({error})"
    try:
        return _placed(local, parts.zone, zone)
    except (OverflowError, ValueError):
        return None, "no such time in UTC"


def _placed(local: datetime, said: str, zone: ZoneInfo | None) -> tuple[datetime | None, str]:
    if said == "Z" or said in ("UTC", "GMT"):
        return local.replace(tzinfo=UTC), ""
    if said[:1] in ("+", "-"):
        sign = -1 if said[0] == "-" else 1
        offset = sign * timedelta(hours=int(said[1:3]), minutes=int(said[-2:]))
        return local.replace(tzinfo=timezone(offset)).astimezone(UTC), ""
    if zone is None:
        hint = f"'{said}' names no one zone" if said else "the file names no time zone"
        return None, f"{hint}; name that of the laboratory"
    placed = [local.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    if said:
        placed = [one for one in placed if one.tzname() == said]
        if not placed:
            return None, f"the file says {said}, which {zone.key} is not at that time"
    instants = {one.astimezone(UTC) for one in placed}
    if len(instants) > 1:
        return None, "the clock showed this time twice, or never, that night"
    return instants.pop(), ""
