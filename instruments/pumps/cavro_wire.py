"""Wire format of Tecan Cavro and TriContinent C-series syringe modules, in both of its spellings.

Belongs here: frames, status bytes and commands as pure functions; the table of what may be sent at
all, and sent again. Not here: moving bytes (`cavro`).

Sources: TriContinent C-series software manual, tables 3, 4, 7, 8 (framing, status); Cavro XP 3000
manual, pages 3-5, 3-6 and 3-46 (sequence numbers, errors). DT: ``/`` address text CR, answered by
``/0`` status data ETX CR LF; no checksum. OEM: line synchronisation, STX, address, sequence byte,
text, ETX, checksum, answered by STX ``0`` status data ETX checksum; the checksum is the exclusive or
of everything from STX to ETX. No answer says which module or which command it belongs to.

The sequence byte is ``0x30 | repeat << 3 | number``, number 1..7. A module looks at the number only
where the repeat bit is set: then a number equal to that of the last block that it received means
"acknowledge, do not carry out again". So a move is repeated with its own number and is carried out
once, provided that the module's last block was ours and had another number; a query needs no such
care and is asked anew, since a repeated one may be acknowledged without its data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Final, Literal

from instruments.errors import ChecksumError, FrameError

Retry = Literal["safe", "verify", "never"]
Protocol = Literal["oem", "dt"]
VERBS: Final[dict[str, tuple[Retry, str]]] = {
    "Q": ("safe", r"Q"),  # status
    "?": ("safe", r"\?(2|6|19)?"),  # position; top speed; valve; initialised
    "&": ("safe", r"&"),  # firmware
    "T": ("safe", r"T"),  # terminate
    "V": ("safe", r"V[0-9]{1,5}R"),  # top speed, absolute
    "N": ("safe", r"N[012]R"),  # microstep mode, absolute
    "I": ("safe", r"I([1-9][0-9]?)?R"),  # valve, absolute
    "O": ("safe", r"O([1-9][0-9]?)?R"),
    "B": ("safe", r"BR"),
    "E": ("safe", r"ER"),
    "A": ("never", r"A[0-9]{1,6}R"),  # move the plunger to a position
    "Z": ("never", r"Z(0,[0-9]{1,2},[0-9]{1,2})?R"),  # initialise: expels what the syringe holds
    "Y": ("never", r"Y(0,[0-9]{1,2},[0-9]{1,2})?R"),
}
"""Verb -> what a lost answer allows, and the pattern of the whole text. ``P`` and ``D`` (relative
moves), whatever else the module knows, and several commands in one text are never sent."""

ERRORS: Final = {
    0: "no error",
    1: "initialisation failed",
    2: "command not valid",
    3: "operand not valid",
    4: "checksum or command sequence not valid",
    5: "fluid detection",
    6: "EEPROM failure",
    7: "not initialised",
    9: "plunger overload",
    10: "valve overload",
    11: "plunger move not allowed",
    15: "command overflow",
}
ALARMS: Final = {1: "stall", 6: "program", 7: "reset", 9: "stall", 10: "overload"}
"""Errors that stay until somebody acts, by the kind that `DeviceAlarm` knows. All others concern one
command, which was not carried out."""

SYNC, STX, ETX = b"\xff", 0x02, 0x03
NUMBERS: Final = 7
"""Sequence numbers are 1..7."""
_LONGEST: Final = 80
"""No answer to a command of this table is longer."""


@dataclass(frozen=True)
class Answer:
    """One answer of a module, taken out of its frame."""

    busy: bool
    """Meaningful in the answer to ``Q`` only."""
    error: int
    """One of `ERRORS`."""
    data: str = ""


def retry_of(text: str) -> Retry:
    """Return what a lost answer to a command allows; ValueError for one that is never sent."""
    retry, pattern = VERBS.get(text[:1], ("never", r"(?!)"))
    if not re.fullmatch(pattern, text):
        raise ValueError(f"{text!r} is no command that is ever sent")
    return retry


def encode_dt(address: int, text: str) -> bytes:
    """Return a command as the data terminal protocol spells it."""
    retry_of(text)
    return b"/" + _address(address) + text.encode("ascii") + b"\r"


def encode_oem(address: int, number: int, text: str, *, repeat: bool = False) -> bytes:
    """Return a command as the OEM protocol spells it, with its sequence number."""
    retry_of(text)
    if not 1 <= number <= NUMBERS:
        raise ValueError(f"sequence number {number} is outside 1..{NUMBERS}")
    sequence = bytes([0x30 | repeat << 3 | number])
    block = bytes([STX]) + _address(address) + sequence + text.encode("ascii") + bytes([ETX])
    return SYNC + block + bytes([checksum(block)])


def checksum(block: bytes) -> int:
    """Return the exclusive or of all bytes from STX to ETX."""
    return reduce(xor, block, 0)


def answer_length_oem(received: bytes) -> int | None:
    """Return the length of the first answer; one byte follows ETX, whatever its value.

    Bytes that can not begin an answer are returned at once, for `decode_oem` to refuse.
    """
    start = len(received) - len(received.lstrip(SYNC))
    if start == len(received):
        return None if start <= _LONGEST else start
    if received[start] != STX:
        return len(received)
    end = received.find(ETX, start)
    if end < 0:
        return len(received) if len(received) > start + _LONGEST else None
    return end + 2 if len(received) >= end + 2 else None


def answer_length_dt(received: bytes) -> int | None:
    """Return the length of the first answer, through CR LF."""
    start = len(received) - len(received.lstrip(SYNC))
    if start == len(received):
        return None if start <= _LONGEST else start
    if received[start : start + 1] != b"/":
        return len(received)
    end = received.find(ETX, start)
    if end < 0:
        return len(received) if len(received) > start + _LONGEST else None
    return end + 3 if len(received) >= end + 3 else None


def decode_oem(frame: bytes) -> Answer:
    """Return what a frame says; `FrameError` or `ChecksumError` where it is not one whole frame."""
    block = frame.lstrip(SYNC)
    if len(block) < 5 or block[0] != STX or block[-2] != ETX:
        raise FrameError(f"answer {frame!r} is not framed as STX ... ETX and checksum")
    if checksum(block[:-1]) != block[-1]:
        raise ChecksumError(f"answer {frame!r} does not match its checksum")
    return _decode(block[1:-2], frame)


def decode_dt(frame: bytes) -> Answer:
    """Return what a frame says; `FrameError` where it is not one whole frame."""
    block = frame.lstrip(SYNC)
    if len(block) < 6 or block[:1] != b"/" or block[-3:] != b"\x03\r\n":
        raise FrameError(f"answer {frame!r} is not framed as / ... ETX CR LF")
    return _decode(block[1:-3], frame)


def decode_position(data: str) -> int:
    """Return a whole number, e.g. of ``3000``; `FrameError` otherwise."""
    if not re.fullmatch(r"[0-9]{1,6}", data):
        raise FrameError(f"answer data {data!r} is not a whole number")
    return int(data)


def decode_initialised(data: str) -> int | None:
    """Return 0 where a module says that it is not initialised; None where it says nothing."""
    return int(data.strip() != "0") if data.strip() else None


def decode_valve(data: str) -> str:
    """Return where a valve stands: a small letter, or a number; `FrameError` otherwise."""
    match = re.fullmatch(r"([iobe])|[iobe]?([1-9][0-9]?)", data.strip().lower())
    if not match:
        raise FrameError(f"answer data {data!r} is not the place of a valve")
    return match[1] or match[2]


def valve_place(port: str) -> str:
    """Return what a valve says of itself once it has been told to go to ``I``, ``O``, ``I3``, ..."""
    return port[1:] or port.lower()


def _address(address: int) -> bytes:
    if not 0 <= address <= 14:
        raise ValueError(f"address switch {address} is outside 0..14")
    return bytes([0x31 + address])


def _decode(content: bytes, frame: bytes) -> Answer:
    """Return what stands between the frame's ends: the master's address, status, data."""
    status, data = content[1], content[2:].decode("latin-1")
    if content[:1] != b"0" or status & 0xD0 != 0x40 or status & 0x0F not in ERRORS:
        raise FrameError(f"answer {frame!r} has no address 0 or no status")
    if not re.fullmatch(r"[ -~]*", data):
        raise FrameError(f"answer {frame!r} has data that is no text")
    return Answer(busy=not status & 0x20, error=status & 0x0F, data=data)
