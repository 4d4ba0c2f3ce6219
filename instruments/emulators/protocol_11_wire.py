"""Lines, numbers, units and texts of the "Protocol 11 / Ultra" command set, as the pump sees them.

Belongs here: bytes to command words, words to numbers, and back. Not here: what a command does
(protocol_11).
Source: KDS Legato and PHD Ultra manuals, "Pump Chain Commands", and recorded Legato answers, whose
numbers have at most six significant digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Literal

CARRIAGE_RETURN, LINE_FEED = 0x0D, 0x0A
XON = b"\x11"
LONGEST_LINE = 120
"""Bytes of an unfinished command kept; more can not be a command."""
SHORTEST_NAME = 4
"""Commands may be abbreviated to this many letters."""
DIGITS = Context(prec=6, rounding=ROUND_HALF_EVEN)
"""Numbers are kept and shown with six significant digits."""

Separator = Literal["none", "colon"]

UL_PER: dict[str, Decimal] = {
    "pl": Decimal("1e-6"),
    "nl": Decimal("1e-3"),
    "ul": Decimal(1),
    "ml": Decimal(1000),
    "l": Decimal(1_000_000),
}
"""Volume unit -> uL."""
PER_HOUR: dict[str, int] = {"s": 3600, "min": 60, "hr": 1}
"""Time unit -> how many of them are an hour."""
MODES = {
    "i": "Quick Start - Infuse Only (qs i)",
    "w": "Quick Start - Withdraw Only (qs w)",
    "iw": "Quick Start - Infuse/Withdraw (qs iw)",
}
"""Argument of ``load qs`` -> what ``load`` answers."""
SYRINGES: dict[str, tuple[str, dict[str, str]]] = {
    "hoshi": (
        "Hoshi",
        dict.fromkeys(("1", "2", "3", "5", "10"), "")
        | {"20": "20.45"}
        | dict.fromkeys(("30", "50", "100"), ""),
    )
}
"""Code -> name, and mL -> diameter in mm; the one of a size that was never recorded is empty."""
_VOLUME_UNITS = {"p": "pl", "n": "nl", "u": "ul", "m": "ml"} | {unit: unit for unit in UL_PER}
_TIME_UNITS = {"s": "s", "sec": "s", "m": "min", "min": "min", "h": "hr", "hr": "hr"}
_ADDRESS: dict[Separator, str] = {"none": r"@?([0-9]{1,2})(?![0-9:])", "colon": r"@?([0-9]{1,2}):"}
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{0,15})?|\.[0-9]{1,15}", re.ASCII)


class Refused(Exception):
    """The lines with which a pump refuses a command."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


def command_error(reason: str) -> Refused:
    """Return the refusal of a command that is unknown or out of place."""
    return Refused("Command error:", f"   {reason}")


def argument_error(argument: str, reason: str) -> Refused:
    """Return the refusal of an argument; a missing one is not shown."""
    return Refused(f"Argument error: {argument}", f"   {reason}")


class Ear:
    """Receiver: collects bytes until a line is complete; CR ends it, LF is passed over."""

    def __init__(self) -> None:
        self._line = bytearray()

    def hear(self, byte: int) -> str | None:
        """Take one byte; return the line that it completes."""
        if byte == LINE_FEED:
            return None
        if byte != CARRIAGE_RETURN:
            self._line.append(byte)
            del self._line[:-LONGEST_LINE]
            return None
        line, self._line = self._line.decode("latin-1"), bytearray()
        return line


def split_address(line: str, separator: Separator) -> tuple[int | None, str]:
    """Return the address before a command, None where there is none, and the command without it."""
    match = re.match(_ADDRESS[separator], line.strip(), re.ASCII)
    if match is None:
        return None, line.strip()
    return int(match[1]), line.strip()[match.end() :]


def full_name(word: str, names: Iterable[str]) -> str | None:
    """Return the command that a word names, in full or by four letters and more."""
    word = word.lower()
    if word in (names := tuple(names)):
        return word
    meant = [name for name in names if len(word) >= SHORTEST_NAME and name.startswith(word)]
    return meant[0] if len(meant) == 1 else None


def number(text: str) -> Decimal:
    """Return the number of an argument at the pump's precision; Refused where it is none."""
    if not _NUMBER.fullmatch(text):
        raise argument_error(text, "Invalid number")
    return DIGITS.create_decimal(text)


def volume_unit(text: str) -> str:
    """Return a volume unit in full; Refused where it is none."""
    if (unit := _VOLUME_UNITS.get(text.lower())) is None:
        raise argument_error(text, "Unknown units")
    return unit


def rate_unit(text: str) -> tuple[str, str]:
    """Return volume and time unit of a rate in full; Refused where it is none."""
    volume, _, time = text.lower().partition("/")
    if volume not in _VOLUME_UNITS or time not in _TIME_UNITS:
        raise argument_error(text, "Unknown units")
    return _VOLUME_UNITS[volume], _TIME_UNITS[time]


def ul_h(rate: Decimal, unit: tuple[str, str]) -> float:
    """Return a rate in uL/h."""
    return float(rate * UL_PER[unit[0]] * PER_HOUR[unit[1]])


def shown(value: Decimal | float) -> str:
    """Return a number as the pump shows it: six digits, no trailing zeros, no exponent."""
    text = format(DIGITS.create_decimal(repr(value) if isinstance(value, float) else value), "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def scaled_volume(volume_ul: float) -> str:
    """Return a volume in the unit that gives a number of at least 1; nothing is ``0 ul``."""
    if volume_ul <= 0:
        return "0 ul"
    units = [unit for unit in ("ml", "ul", "nl") if volume_ul >= float(UL_PER[unit])]
    unit = units[0] if units else "pl"
    return f"{shown(volume_ul / float(UL_PER[unit]))} {unit}"


def scaled_rate(rate_ul_h: float) -> str:
    """Return a rate per minute in the unit that gives a number of at least 1."""
    return f"{scaled_volume(rate_ul_h / 60)}/min"


def seconds(text: str) -> int:
    """Return a time given as seconds or hh:mm:ss; Refused where it is neither."""
    match = re.fullmatch(r"(?:([0-9]{1,2}):([0-5]?[0-9]):)?([0-9]{1,6})", text, re.ASCII)
    if match is None or (match[1] and int(match[3]) > 59):
        raise argument_error(text, "Invalid time")
    return int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + int(match[3])


def date_text(now: datetime) -> str:
    """Return a date as ``05/08/23 2:48:23 PM``."""
    return f"{now:%m/%d/%y} {now.hour % 12 or 12}:{now:%M:%S} {'PM' if now.hour > 11 else 'AM'}"


def status(
    numbers: Sequence[float], way: str, running: bool, prompt: str, flags: Literal[5, 6]
) -> str:
    """Return the raw status: rate, time, volume, and flags.

    The flags: direction (upper case while moving), limit switch, stall, trigger input, direction
    port, and target reached as the sixth.
    """
    letters = [
        way if running else way.lower(),
        way if prompt in (">*", "<*") else ".",
        "S" if prompt == "*" else ".",
        ".",
        way,
        "T" if prompt == "T*" else ".",
    ]
    return " ".join([*(str(round(value)) for value in numbers), "".join(letters[:flags])])


def answer(
    lines: Sequence[str], prompt: str, address: int, xon: bool, lines_address: int | None = None
) -> bytes:
    """Return an answer: a line feed, the lines, the prompt, and XON where polling is on.

    Lines of a nonzero address begin with it and a colon; its prompt has no colon of its own.
    """
    of_lines = address if lines_address is None else lines_address
    head = f"{of_lines:02d}:" if of_lines else ""
    text = "".join(f"\n{head}{line}\r" for line in lines)
    tail = f"\n{address:02d}{prompt}" if address else f"\n{prompt}"
    return (text + tail).encode("latin-1", "replace") + (XON if xon else b"")
