"""Requests, numbers and event lines of the Ismatec Reglo ICC, as the pump sees them.

Belongs here: bytes to requests, request texts to numbers, and back. Not here: what a request does
(reglo_icc).
Source: Reglo ICC manual 14-036-E, sections 14 to 18. The input form of volumes is shown there only by
examples.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal

CARRIAGE_RETURN, LINE_FEED = 0x0D, 0x0A
LONGEST_REQUEST = 80
"""Bytes of an unfinished request kept; more can not be a request."""
DONE, FAILED, NO, YES = "*", "#", "-", "+"
"""Status replies; they have no terminator."""
LONGEST_TIME = 35_964_000
"""999 h in tenths of a second."""
TUBING_MM = (
    "0.13 0.19 0.25 0.38 0.44 0.51 0.57 0.64 0.76 0.89 0.95 1.02 1.09 1.14 1.22 1.30 1.42 1.43 "
    "1.52 1.65 1.75 1.85 2.06 2.29 2.54 2.79 3.17"
).split()
_FOUR_DIGITS = Context(prec=4, rounding=ROUND_HALF_EVEN)


class Failed(Exception):
    """The pump's status reply to a request that it does not carry out."""

    def __init__(self, status: str = FAILED) -> None:
        super().__init__(status)
        self.status = status


class Ear:
    """Receiver: collects bytes until CR ends a request; LF is passed over."""

    def __init__(self) -> None:
        self._request = bytearray()

    def hear(self, byte: int) -> str | None:
        """Take one byte; return the request that it completes."""
        if byte == LINE_FEED:
            return None
        if byte != CARRIAGE_RETURN:
            self._request.append(byte)
            del self._request[:-LONGEST_REQUEST]
            return None
        request, self._request = self._request.decode("latin-1"), bytearray()
        return request


def split(request: str) -> tuple[str, str, str]:
    """Return address, command code and argument of a request; codes after ``x`` have two letters."""
    address, rest = request[:1], request[1:]
    length = 2 if rest.startswith("x") else 1
    return address, rest[:length], rest[length:]


def data(*values: str) -> str:
    """Return a data reply."""
    return " ".join(values) + "\r\n"


def volume1(value: Decimal) -> str:
    """Return a volume or flow as ``mmmmEse``: m.mmm times ten to the power of se."""
    if not value:
        return "0000E+0"
    rounded = _FOUR_DIGITS.create_decimal(value)
    exponent = rounded.adjusted()
    return f"{int(rounded.scaleb(3 - exponent)):04d}E{exponent:+d}"


def volume2(text: str) -> Decimal:
    """Return the number of ``mmmmse``; Failed where it is none."""
    match = re.fullmatch(r"([0-9]{4})([+-][0-9])", text, re.ASCII)
    if match is None:
        raise Failed
    return Decimal(int(match[1])).scaleb(int(match[2]) - 3)


def discrete(text: str, width: int, largest: int | None = None) -> int:
    """Return a whole number of a fixed width; Failed where it is none or too large."""
    if not re.fullmatch(f"[0-9]{{{width}}}", text, re.ASCII):
        raise Failed
    if largest is not None and int(text) > largest:
        raise Failed
    return int(text)


def flag(text: str) -> bool:
    """Return a Boolean argument; Failed where it is none."""
    if text not in ("0", "1"):
        raise Failed
    return text == "1"


def four_digits(value: float) -> str:
    """Return a number with at most four digits and three decimals, cut off."""
    decimals = next((d for d, limit in ((3, 10), (2, 100), (1, 1000)) if value < limit), 0)
    return f"{math.floor(value * 10**decimals + 1e-6) / 10**decimals:.{decimals}f}"


def scaled_volume(volume_ml: float) -> str:
    """Return a volume in ul, ml or l, as ``4.983 ml``."""
    if volume_ml < 1:
        return f"{four_digits(volume_ml * 1000)} ul"
    return f"{four_digits(volume_ml)} ml" if volume_ml < 1000 else f"{volume_ml / 1000:.3f} l"


def counted(value: float) -> str:
    """Return a lifetime counter: ten digits, cut off."""
    return f"{math.floor(value + 1e-6):010d}"


def started(channel: int, elapsed_s: int, left_ul: int, cycle: int) -> str:
    """Return the event of a channel that has started by itself."""
    return f"^U{channel}|A|{elapsed_s:010d}|{left_ul:010d}|{cycle:04d}\r\n"


def stopped(channel: int, cause: str) -> str:
    """Return the event of a channel that has stopped by itself."""
    return f"^X{channel}|{cause}\r\n"
