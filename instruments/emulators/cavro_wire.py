"""Framing and command strings of Cavro / TriContinent syringe modules, as the pump sees them.

Belongs here: bytes to blocks, blocks to commands, answers to bytes. Not here: what a command does.
Source: TriContinent C-Series product manual (8694-12), chapters 5 and 9: DT protocol, OEM protocol,
status byte, command string.

UNCONFIRMED, the documents being silent: a start mark inside a block begins a new one; a sequence
byte whose upper four bits are not 3 makes a block that is not understood; nothing times out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Literal

STX, ETX, SLASH, CARRIAGE_RETURN = 0x02, 0x03, 0x2F, 0x0D
MASTER = 0x30
"""Address of the host, in every answer."""
LONGEST_STRING = 255
"""Characters of the command buffer."""
SEQUENCE_MARK, REPEAT_FLAG, SEQUENCE_NUMBER = 0x30, 0x08, 0x07
"""Bits of an OEM sequence byte: fixed, repeated block, number."""
STATUS_MARK, IDLE_FLAG = 0x40, 0x20
"""Bits of the status byte: fixed, ready for commands; the error code is in the lower four."""

Protocol = Literal["dt", "oem"]

_COMMAND = re.compile(r"([A-Za-z])([0-9]+(?:,[0-9]+)*)?")


@dataclass(frozen=True)
class Block:
    """One complete block as it came over the line."""

    protocol: Protocol
    address: str
    text: str
    """Data block."""
    sequence: int = 0
    """OEM only: 0..7."""
    repeat: bool = False
    """OEM only: the host says that it has sent this block before."""
    intact: bool = True
    """False where checksum or sequence byte do not fit."""


@dataclass(frozen=True)
class Command:
    """One command of a string, e.g. ``A3000``."""

    verb: str
    operands: tuple[int, ...] = ()


def commands(text: str) -> list[Command] | None:
    """Return the commands of a string; None where it is no chain of letters and numbers."""
    if not re.fullmatch(f"(?:{_COMMAND.pattern})*", text, re.ASCII):
        return None
    return [
        Command(found[1], tuple(map(int, found[2].split(","))) if found[2] else ())
        for found in _COMMAND.finditer(text)
    ]


def checksum(data: bytes) -> int:
    """Return the OEM checksum: all bytes from STX to ETX, XORed."""
    return reduce(xor, data, 0)


def answer(protocol: Protocol, error: int, idle: bool, data: str) -> bytes:
    """Return an answer block."""
    status = STATUS_MARK | (IDLE_FLAG if idle else 0) | error
    body = bytes([MASTER, status, *data.encode("latin-1"), ETX])
    if protocol == "dt":
        return bytes([SLASH]) + body + b"\r\n"
    block = bytes([STX]) + body
    return block + bytes([checksum(block)])


class Ear:
    """Receiver of one pump: collects bytes until a block is complete; skips all between blocks."""

    def __init__(self) -> None:
        self._block = bytearray()

    def hear(self, byte: int) -> Block | None:
        """Take one byte; return the block that it completes."""
        block = self._block
        if not block:
            if byte in (STX, SLASH):
                block.append(byte)
            return None
        if block[0] == SLASH:
            return self._in_dt(byte)
        return self._in_oem(byte)

    def _in_dt(self, byte: int) -> Block | None:
        block = self._block
        if byte in (STX, SLASH):
            self._block = bytearray([byte])
        elif byte != CARRIAGE_RETURN:
            block.append(byte)
        else:
            self._block = bytearray()
            text = block[1:].decode("latin-1")
            return Block("dt", text[:1], text[1:])
        return None

    def _in_oem(self, byte: int) -> Block | None:
        """Take one byte of STX, address, sequence, data, ETX, checksum."""
        block = self._block
        in_data, closed = len(block) >= 3, len(block) > 3 and block[-1] == ETX
        if byte == STX and in_data and not closed:
            self._block = bytearray([byte])
            return None
        if not closed:
            block.append(byte)
            return None
        self._block = bytearray()
        mark = block[2]
        return Block(
            "oem",
            chr(block[1]),
            block[3:-1].decode("latin-1"),
            sequence=mark & SEQUENCE_NUMBER,
            repeat=bool(mark & REPEAT_FLAG),
            intact=byte == checksum(bytes(block)) and mark & 0xF0 == SEQUENCE_MARK,
        )
