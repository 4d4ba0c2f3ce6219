"""Wire format of the New Era NE-1000 pump family: user manual, publication 1200-01, section
"RS-232".

Belongs here: frames, numbers and answers as pure functions; the table of what may be sent again.
Not here: moving bytes (`new_era_ne1000`).

Numbers on this wire have at most 4 digits and 3 decimals. Rates go to the nearest such number,
since they set a concentration; volumes go down, since they bound a dose. Nothing is clipped.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Final, Literal

from instruments.errors import ChecksumError, FrameError

Retry = Literal["safe", "verify", "never"]
RETRY: Final[dict[str, Retry]] = {
    "": "safe",  # status query
    "VER": "safe",
    "DIA": "safe",
    "RAT": "safe",
    "VOL": "safe",
    "DIR": "safe",  # INF only; REV toggles and is never sent
    "PHN": "safe",  # phase that settings go to
    "FUN": "safe",  # what that phase does
    "DIS": "safe",
    "STP": "safe",
    "SAF": "safe",  # absolute; the answer is taken in either mode and the value read back
    "CLD": "verify",  # destroys evidence: the counter is read before anybody sends it again
    "RUN": "never",
}
"""Verb -> what a lost answer allows: ask again once, look first, or nothing. A verb not listed is
never sent."""

STATES: Final[dict[str, Literal["idle", "infusing", "withdrawing", "paused"]]] = {
    "I": "infusing",
    "W": "withdrawing",
    "S": "idle",
    "P": "paused",
    "T": "paused",  # timed pause phase
    "U": "paused",  # waits for a trigger
    "X": "infusing",  # purging: moves at full speed, in whichever direction is set
}
ALARMS: Final = {"R": "reset", "S": "stall", "T": "timeout", "E": "program", "O": "phase"}
ERRORS: Final = {
    "": "command not recognised",
    "NA": "not applicable now",
    "OOR": "value out of range",
    "COM": "packet not valid",
    "IGN": "ignored because a new phase began",
}
UL_PER: Final = {"UL": Decimal(1), "ML": Decimal(1000)}
UL_H_PER: Final = {"UH": Decimal(1), "MH": Decimal(1000), "UM": Decimal(60), "MM": Decimal(60000)}
LARGEST: Final = Decimal(9999)
STX, ETX = 0x02, 0x03
_BASIC_LONGEST: Final = 48
"""No basic answer is longer; it also separates the modes: after STX comes a digit (48..57) or a
length below 48."""
_NUMBER: Final = r"([0-9]+\.?[0-9]*|\.[0-9]+)"


@dataclass(frozen=True)
class Answer:
    """One answer of one pump, taken out of its frame."""

    address: int
    status: str
    """One of `STATES`, or ``A`` for an alarm."""
    data: str = ""
    alarm: str = ""
    """One of the values of `ALARMS`; the command that met it was not carried out."""
    error: str | None = None
    """One of the keys of `ERRORS`; None where the command was carried out."""
    safe: bool = False
    """True where the answer came in a safe-mode packet."""


@dataclass(frozen=True)
class Dispensed:
    """The pump's counters since they were last cleared."""

    infused_ul: float
    withdrawn_ul: float
    resolution_ul: float
    """Smallest step that the answer's digits can show."""


def encode_command(address: int | None, text: str, safe: bool) -> bytes:
    """Return the frame of a command; without an address the pump at 0 is meant."""
    payload = (f"{address}" if address is not None else "").encode("ascii") + text.encode("ascii")
    if not safe:
        return payload + b"\r"
    crc = binascii.crc_hqx(payload, 0).to_bytes(2, "big")
    return bytes([STX, len(payload) + 4]) + payload + crc + bytes([ETX])


def starts(sent: bytes) -> bool:
    """Return whether a basic command starts a pump."""
    return re.fullmatch(rb"[0-9]*RUN\r", sent) is not None


def answer_length(received: bytes) -> int | None:
    """Return the length of the first answer; a safe packet goes by its length byte (its CRC may
    hold 02, 03, 0D).

    Bytes that can not begin an answer are returned at once, for `decode_answer` to refuse.
    """
    if received[0] != STX:
        return len(received)
    if len(received) < 2:
        return None
    if received[1] < 0x30:
        return received[1] + 1 if len(received) >= received[1] + 1 else None
    end = received.find(ETX)
    if end < 0:
        return len(received) if len(received) > _BASIC_LONGEST else None
    return end + 1


def decode_answer(frame: bytes) -> Answer:
    """Return what a frame says; `FrameError` or `ChecksumError` where it is not one whole good
    frame."""
    if len(frame) < 5 or frame[0] != STX or frame[-1] != ETX:
        raise FrameError(f"answer {frame!r} is not framed as STX ... ETX")
    safe = frame[1] < 0x30
    payload = frame[1:-1]
    if safe:
        if frame[1] != len(frame) - 1 or len(frame) < 8:
            raise FrameError(f"answer {frame!r} has length byte {frame[1]}, not {len(frame) - 1}")
        payload, crc = frame[2:-3], frame[-3:-1]
        if binascii.crc_hqx(payload, 0) != int.from_bytes(crc, "big"):
            raise ChecksumError(f"answer {frame!r} does not match its CRC")
    text = payload.decode("latin-1")
    if alarm := re.fullmatch(r"([0-9]{2})A\?([RSTEO])", text):
        return Answer(int(alarm[1]), "A", alarm=ALARMS[alarm[2]], safe=safe)
    prompt = re.fullmatch(r"([0-9]{2})([IWSPTUX])([ -~]*)", text)
    if not prompt:
        raise FrameError(f"answer {frame!r} is not address, status and data")
    address, status, data = int(prompt[1]), prompt[2], prompt[3]
    if data.startswith("?"):
        if data[1:] not in ERRORS:
            raise FrameError(f"answer {frame!r} has the unknown error {data!r}")
        return Answer(address, status, error=data[1:], safe=safe)
    return Answer(address, status, data, safe=safe)


def format_number(value: float | Decimal, rounding: str) -> str:
    """Return at most 4 digits with at most 3 decimals, never an exponent; ValueError beyond 9999 or
    where it gives 0.

    Ten significant digits count as the value: what floating point adds behind them is not rounded
    down by a step.
    """
    exact = Decimal(format(value, ".10g"))
    for decimals in (3, 2, 1, 0):
        rounded = exact.quantize(Decimal(1).scaleb(-decimals), rounding=rounding)
        if rounded < Decimal(10) ** (4 - decimals):
            if rounded <= 0:
                break
            return str(rounded)
    raise ValueError(f"{value} does not fit 4 digits with 3 decimals (0.001 to 9999)")


def format_rate(flow_rate_ul_h: float) -> tuple[str, str]:
    """Return the nearest rate that the pump can hold, as text and unit: UH up to 9999 uL/h, MH
    above."""
    unit = "UH" if flow_rate_ul_h <= LARGEST else "MH"
    return format_number(flow_rate_ul_h / float(UL_H_PER[unit]), ROUND_HALF_EVEN), unit


def format_volume(volume_ul: float) -> tuple[str, str]:
    """Return the largest volume not above the asked that the pump can hold: UL below 1000 uL, ML
    from there.

    ML from 1000 uL loses nothing (4 digits either way) and lets the counter, which counts in the
    same unit, go on past 9999 uL.
    """
    unit = "UL" if volume_ul < 1000 else "ML"
    return format_number(volume_ul / float(UL_PER[unit]), ROUND_DOWN), unit


def decode_number(data: str) -> Decimal:
    """Return a bare number, e.g. ``26.59``; `FrameError` otherwise."""
    if not re.fullmatch(_NUMBER, data):
        raise FrameError(f"answer data {data!r} is not a number")
    return Decimal(data)


def decode_rate(data: str) -> tuple[Decimal, str]:
    """Return number and unit of a RAT answer, e.g. ``500.0UM``; `FrameError` otherwise."""
    if not (match := re.fullmatch(_NUMBER + "(UM|MM|UH|MH)", data)):
        raise FrameError(f"answer data {data!r} is not a rate")
    return Decimal(match[1]), match[2]


def decode_volume(data: str) -> tuple[Decimal, str]:
    """Return number and unit of a VOL answer, e.g. ``1.000ML``; `FrameError` otherwise."""
    if not (match := re.fullmatch(_NUMBER + "(UL|ML)", data)):
        raise FrameError(f"answer data {data!r} is not a volume")
    return Decimal(match[1]), match[2]


def decode_phase(data: str) -> int:
    """Return the number of a phase, e.g. of ``01``; `FrameError` otherwise."""
    if not re.fullmatch(r"[0-9]{1,2}", data):
        raise FrameError(f"answer data {data!r} is not a phase")
    return int(data)


def decode_function(data: str) -> str:
    """Return what a phase does, e.g. ``RAT`` or ``JMP03``; `FrameError` otherwise."""
    if not re.fullmatch(r"[A-Z]{2,3}[0-9]{0,2}", data):
        raise FrameError(f"answer data {data!r} is not the function of a phase")
    return data


def decode_dispensed(data: str) -> Dispensed:
    """Return the counters of a DIS answer, e.g. ``I0.500W0.000ML``; `FrameError` otherwise."""
    if not (match := re.fullmatch(f"I{_NUMBER}W{_NUMBER}(UL|ML)", data)):
        raise FrameError(f"answer data {data!r} is not a pair of counters")
    unit = UL_PER[match[3]]
    step = Decimal(1).scaleb(-len(match[1].partition(".")[2])) * unit
    return Dispensed(float(Decimal(match[1]) * unit), float(Decimal(match[2]) * unit), float(step))


def decode_version(data: str) -> str:
    """Return model and firmware of a VER answer, e.g. ``NE1000V3.61``; `FrameError` for anything
    but a New Era."""
    if not re.fullmatch(r"NE[0-9]+(X[0-9]*)?V[0-9]+\.[0-9]+", data):
        raise FrameError(f"answer data {data!r} is not the version of a New Era pump")
    return data
