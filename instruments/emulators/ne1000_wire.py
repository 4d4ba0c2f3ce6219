"""Framing and numbers of the New Era NE-1000 family, as the pump sees them.

Belongs here: bytes to command texts, command texts to numbers, and back.
Not here: what a command does.
Source: New Era NE-1000 user manual, section RS-232 (basic mode, safe mode, number format).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

STX = 0x02
ETX = 0x03
CARRIAGE_RETURN = 0x0D
INTER_BYTE_TIMEOUT_S = 0.5
"""A pause longer than this inside a packet drops what came of it (manual, safe mode)."""
LONGEST_TEXT = 80
"""Characters of an unfinished basic-mode command kept; more can not be a command."""
FRAME_OVERHEAD = 4
"""LEN counts itself, two CRC bytes and ETX besides the payload."""
COUNTER_ROLL_OVER = 10_000
"""The displayed counter has four digits; it starts again at zero here (UNCONFIRMED)."""

_NUMBER = re.compile(r"(\d*)(?:\.(\d*))?", re.ASCII)


@dataclass(frozen=True)
class Heard:
    """One complete command as it came over the line."""

    text: str
    """Payload without spaces and control characters, in upper case."""
    framed: bool
    """True for a safe-mode packet."""
    intact: bool
    """False where length, checksum or end mark of a packet do not fit."""


def crc16_xmodem(payload: bytes) -> int:
    """Return the CRC-16 of a safe-mode payload: polynomial 0x1021, start value 0, no reflection."""
    register = 0
    for byte in payload:
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1) ^ 0x1021 if register & 0x8000 else register << 1
        register &= 0xFFFF
    return register


def safe_packet(payload: bytes) -> bytes:
    """Return a safe-mode packet: STX, LEN, payload, CRC high, CRC low, ETX."""
    crc = crc16_xmodem(payload)
    return bytes([STX, len(payload) + FRAME_OVERHEAD, *payload, crc >> 8, crc & 0xFF, ETX])


def basic_reply(payload: bytes) -> bytes:
    """Return a basic-mode reply: STX, payload, ETX."""
    return bytes([STX, *payload, ETX])


def clean(raw: bytes) -> str:
    """Return the text a pump reads from raw bytes: no spaces, no control characters, upper case."""
    return bytes(byte for byte in raw if byte > 0x20 and byte != 0x7F).decode("latin-1").upper()


def number(text: str) -> Decimal | None:
    """Return the number that a pump reads, or None where it has more digits than the pump takes.

    Raises ValueError where the text is no number: at most four digits, one point, three decimals.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        raise ValueError(f"{text!r} is no number")
    decimals = match[2] or ""
    if len(match[1]) + len(decimals) > 4 or len(decimals) > 3:
        return None
    return Decimal(f"{match[1] or '0'}.{decimals or '0'}")


def four_digits(value: float | Decimal) -> str:
    """Return a value as the pump shows it: four digits, rounded down, rolling over at 10000."""
    shown = float(value) % COUNTER_ROLL_OVER
    decimals = next((d for d, limit in ((3, 10), (2, 100), (1, 1000)) if shown < limit), 0)
    steps = math.floor(shown * 10**decimals + 1e-6)
    return f"{steps / 10**decimals:.{decimals}f}"


class Ear:
    """Receiver of one pump: collects bytes until a command is complete."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._packet: bytearray | None = None
        self._last_byte_s = -math.inf

    def hear(self, byte: int, safe_mode: bool, wall_s: float) -> Heard | None:
        """Take one byte; return the command that it completes."""
        if wall_s - self._last_byte_s > INTER_BYTE_TIMEOUT_S:
            self._packet = None
        self._last_byte_s = wall_s
        if self._packet is not None:
            return self._in_packet(byte)
        if byte == STX:
            self._packet = bytearray()
        elif not safe_mode:
            return self._in_text(byte)
        return None

    def _in_text(self, byte: int) -> Heard | None:
        if byte != CARRIAGE_RETURN:
            self._text.append(byte)
            del self._text[:-LONGEST_TEXT]
            return None
        heard = Heard(clean(bytes(self._text)), framed=False, intact=True)
        self._text.clear()
        return heard

    def _in_packet(self, byte: int) -> Heard | None:
        packet = self._packet
        assert packet is not None
        packet.append(byte)
        length = packet[0]
        if length < FRAME_OVERHEAD:
            self._packet = None
            return None
        if len(packet) < length:
            return None
        self._packet = None
        payload, crc, end = bytes(packet[1:-3]), packet[-3] << 8 | packet[-2], packet[-1]
        intact = end == ETX and crc == crc16_xmodem(payload)
        return Heard(clean(payload), framed=True, intact=intact)
