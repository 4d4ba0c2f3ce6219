"""Wire format of Molecular Devices SpectraMax readers (384Plus, M2, M5), as published drivers speak
it.

Belongs here: commands, answers and the body of a transfer as pure functions. Not here: moving bytes
(`spectramax`). A command is ``!VERB arguments\\r``; its answer is one or two parts, each closed by
``>``. Unconfirmed: the line ends around the prompt (both ``OK>\\r\\n`` and ``OK\\r\\n>`` are taken)
and the second part of READTYPE and SPEED.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from instruments.errors import DeviceRejected, FrameError

TWO_PROMPTS: Final = frozenset(
    {"ERROR", "OPTION", "QUEUE", "READSTAGE", "READTYPE", "SPEED", "STATUS", "TEMP", "TRANSFER"}
)
"""Verbs whose answer has a second part; every other verb has one."""

ERRORS: Final[dict[int, str]] = {
    100: "command not found",
    101: "argument not valid",
    102: "too many arguments",
    103: "not enough arguments",
    104: "line too long",
    105: "busy",
    106: "a measurement is under way",
    107: "no data to transfer",
    108: "data buffer full",
    109: "error buffer overflow",
    110: "stray light: is a door open?",
    111: "read settings not valid",
    200: "firmware assertion failed",
    201: "firmware gave an unknown error number",
    202: "receive queue overflow",
    203: "serial parity error",
    204: "serial overrun",
    205: "serial framing error",
    206: "command made too much output",
    207: "firmware trap",
    208: "operating system of the reader failed",
    209: "stack overflow",
    210: "unknown interrupt",
    300: "thermistor faulty",
    301: "temperature above the safe limit",
    302: "low light",
    303: "dark current can not be calibrated",
    304: "signal saturated",
    305: "reference saturated",
    306: "air calibration of the plate failed, low light",
    307: "air reference of the cuvette failed",
    308: "stray light",
    312: "gain calibration failed",
    313: "reference gain check failed",
    314: "lamp is low",
    315: "zero order not found",
    316: "grating motor driver faulty",
    317: "monitor converter faulty",
    400: "carriage moved wrongly",
    401: "filter wheel moved wrongly",
    402: "grating moved wrongly",
    403: "stage moved wrongly",
    500: "stored settings corrupt",
    501: "stored grating calibration bad",
    502: "stored cuvette air calibration bad",
    503: "stored plate air calibration bad",
    504: "stored carriage offset bad",
    505: "stored stage offset bad",
}

BUSY: Final = frozenset(
    {"BUSY", "MEASURING", "READING", "CALIBRATING", "CAL", "AIR", "INITIALIZING", "SHAKING"}
)
"""Words of a status other than IDLE; which position they stand at differs between sources."""

SATURATED, NO_NUMBER = "saturated", "no number"
ROWS_96: Final = "ABCDEFGH"


@dataclass(frozen=True)
class ReaderStatus:
    """What the reader says of itself."""

    idle: bool
    drawer_open: bool


@dataclass(frozen=True)
class TransferredPlate:
    """The body of one end-point transfer."""

    temperature_c: float
    absorbance: dict[int, np.ndarray]
    """Wavelength in nm -> (n_rows, n_columns) OD; NaN where the reader gave no number."""
    flags: dict[tuple[int, str], str]
    """(wavelength nm, well) -> `SATURATED` or `NO_NUMBER`."""


def encode_command(text: str, line_end: str = "\r") -> bytes:
    """Return a command, e.g. ``CLEAR DATA``; the empty text wakes the reader."""
    return f"!{text}{line_end}".encode("ascii")


def answer_length(received: bytes, prompts: int) -> int | None:
    """Return the length of the first answer with its prompts; counting begins at OK or FAIL.

    A failure ends the answer at once, also where it stands in the second part and no prompt follows
    it.
    """
    begin = re.search(rb"OK|FAIL", received)
    if not begin:
        return None
    at = begin.start()
    for _ in range(prompts):
        if failed := re.match(rb"[\s>]*FAIL\s*[0-9]{3}(\s*>)?", received[at:]):
            return at + failed.end()
        prompt = received.find(b">", at)
        if prompt < 0:
            return None
        at = prompt + 1
    return at


def decode_answer(frame: bytes, prompts: int) -> tuple[str, str]:
    """Return (warning, data), either empty.

    `DeviceRejected` for FAIL in any part; `FrameError` where the frame is not an answer.
    """
    text = frame.decode("latin-1").lstrip("\r\n\t >")  # the end of an earlier answer may come late
    parts = [part.strip() for part in text.split(">")]
    for part in parts:
        if part.startswith("FAIL"):
            code = re.fullmatch(r"FAIL\s*([0-9]{3})", part)
            if not code:
                raise FrameError(f"answer {frame!r} fails without a code")
            number = int(code[1])
            raise DeviceRejected(
                f"error {number} ({ERRORS.get(number, 'not in the list of errors')})"
            )
    if not (ok := re.fullmatch(r"OK(?:\s+(.*))?", parts[0], re.DOTALL)):
        raise FrameError(f"answer {frame!r} begins with neither OK nor FAIL")
    if text.count(">") < prompts:
        raise FrameError(f"answer {frame!r} has fewer than {prompts} prompts")
    return ok[1] or "", parts[1] if prompts > 1 else ""


def decode_status(data: str) -> ReaderStatus:
    """Return the status by its vocabulary, wherever the words stand; `FrameError` for words that
    say nothing."""
    words = set(data.upper().split())
    if "IDLE" not in words and not words & BUSY:
        raise FrameError(f"status {data!r} says neither IDLE nor {', '.join(sorted(BUSY))}")
    return ReaderStatus(
        idle="IDLE" in words and not words & BUSY, drawer_open=bool(words & {"OPEN", "OPENED"})
    )


def decode_transfer(
    data: str, wavelengths_nm: tuple[int, ...], n_rows: int = 8, n_columns: int = 12
) -> TransferredPlate:
    """Return a whole plate: one line per plate column, the values down its rows, a block per
    wavelength.

    `FrameError` where a wavelength, column or value is missing, doubled or too many: nothing is
    padded.
    """
    lines = [line.strip() for line in data.splitlines() if line.strip()]
    if len(lines) < 2 or not lines[1].startswith("L:"):
        raise FrameError(f"transfer {data[:80]!r} has no header and list of wavelengths")
    header = lines[0].split("\t")
    temperature_c = _number(header[1]) if len(header) > 1 else math.nan
    if _wavelengths(lines[1]) != wavelengths_nm:
        raise FrameError(f"transfer is of {lines[1]!r}, not of {wavelengths_nm} nm")
    blocks: dict[int, np.ndarray] = {}
    flags: dict[tuple[int, str], str] = {}
    rest = lines[2:]
    for wavelength_nm in wavelengths_nm:
        block, rest = rest[: n_columns + 1], rest[n_columns + 1 :]
        if len(block) != n_columns + 1 or _wavelengths(block[0]) != (wavelength_nm,):
            raise FrameError(
                f"transfer has no whole block of {n_columns} columns at {wavelength_nm} nm"
            )
        values = np.full((n_rows, n_columns), math.nan)
        for column, line in enumerate(block[1:]):
            label, _, content = line.partition(":")
            words = content.split()
            if label.strip() != str(column + 1) or len(words) != n_rows:
                raise FrameError(
                    f"line {line!r} at {wavelength_nm} nm is not column {column + 1} with "
                    f"{n_rows} values"
                )
            for row, word in enumerate(words):
                values[row, column] = _number(word)
                if math.isnan(values[row, column]):
                    flag = SATURATED if word.upper().startswith("#SAT") else NO_NUMBER
                    flags[wavelength_nm, f"{ROWS_96[row]}{column + 1}"] = flag
        blocks[wavelength_nm] = values
    if rest:
        raise FrameError(f"transfer goes on behind its last block with {rest[0]!r}")
    return TransferredPlate(temperature_c, blocks, flags)


def _number(word: str) -> float:
    """Return a finite decimal number, with a sign or without, or NaN."""
    if len(word) > 20:
        return math.nan
    return (
        float(word) if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", word.strip()) else math.nan
    )


def _wavelengths(line: str) -> tuple[int, ...]:
    words = line.removeprefix("L:").split()
    if not line.startswith("L:") or not all(re.fullmatch(r"[0-9]{1,5}", word) for word in words):
        raise FrameError(f"line {line!r} is not a list of wavelengths")
    return tuple(int(word) for word in words)
