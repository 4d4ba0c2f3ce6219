"""Wire format of Chemyx Fusion syringe pumps. ALL OF IT IS UNCONFIRMED: no byte-accurate record of a
pump is public.

Belongs here: commands, answers and numbers as pure functions; the table of what may be sent again.
Not here: moving bytes (`chemyx_fusion`).

Sources: the maker's pages on serial commands and RS-232 (commands, "most commands return the set
value", "Pump start running...", "Pump stop!"), cukelarter/Chemyx-Syringe-Pump ``connect.py`` (units,
order of answers), terminal transcripts of users (``diameter = 20.000``, ``Invalid Command!``).
An answer is taken to be ``[echo CR] [line CR LF]* [>]``; whether echo and prompt come is an option.
What does not fit is a `FrameError` that quotes it: nothing is guessed from half an answer.

Rates go to the nearest number, since they set a concentration; volumes go down, since they bound a
dose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from instruments.errors import FrameError
from instruments.transport import AnswerLength

Retry = Literal["safe", "never"]
RETRY: Final[dict[str, Retry]] = {
    "view parameter": "safe",
    "pump status": "safe",
    "dispensed volume": "safe",
    "set units": "safe",
    "set diameter": "safe",
    "set rate": "safe",
    "set volume": "safe",
    "set delay": "safe",
    "stop": "safe",
    "start": "never",
}
"""Command -> what a lost answer allows: ask again once, or nothing. A command not listed is never
sent."""

State = Literal["idle", "infusing", "paused", "alarm"]
STATES: Final[dict[int, State]] = {
    0: "idle",
    1: "infusing",
    2: "paused",
    3: "paused",  # waits for its delay
    4: "alarm",  # stalled
}
UNIT_UL_H: Final = 3
"""Number of the unit that the driver sets: uL and uL/h."""
UL_PER_UNIT: Final = {0: Decimal(1000), 1: Decimal(1000), 2: Decimal(1), 3: Decimal(1)}
"""Unit number -> uL in one of its volume; the numbers are mL/min, mL/h, uL/min, uL/h."""
DECIMALS: Final = 4
"""Decimals that are written; the maker's page allows five, users write four."""
SAME: Final = Decimal("1e-5")
"""Relative difference within which a read-back is the written number: single precision and more."""
_LARGEST: Final = Decimal(10_000_000)
_LONGEST: Final = 4096
_NUMBER: Final = r"(-?[0-9]{1,12}(?:\.[0-9]{1,12})?)"


@dataclass(frozen=True)
class Manner:
    """How this pump answers."""

    echo: bool
    """The answer begins with the command itself."""
    prompt: bool
    """The answer ends with ``>`` on a line of its own."""


@dataclass(frozen=True)
class Parameters:
    """What ``view parameter`` tells, in the pump's own unit."""

    unit: int
    diameter_mm: Decimal
    rate: Decimal
    volume: Decimal
    """Positive infuses, negative withdraws."""
    delay: Decimal


@dataclass(frozen=True)
class Dispensed:
    """The counter, in the volume of the pump's unit."""

    volume: Decimal
    step: Decimal
    """Smallest step that the answer's digits can show."""


def command_of(text: str) -> str:
    """Return the key of `RETRY` that a command belongs to."""
    return " ".join(text.split()[:2])


def encode_command(address: int, text: str) -> bytes:
    """Return the bytes of a command; address 1 and 2 are the channels of a dual pump, 0 a pump with
    one."""
    return (f"{address} " if address else "").encode("ascii") + text.encode("ascii") + b"\r"


def answer_length_of(sent: bytes, manner: Manner) -> AnswerLength:
    """Return the framing of the answer to what was sent.

    With a prompt the answer ends with it. Without one it ends with its first line after the echo,
    and that to ``view parameter`` with the line of the delay.
    """
    asked = sent.decode("ascii").strip()
    ends_with = "delay" if asked.endswith("view parameter") else ""

    def prompted(received: bytes) -> int | None:
        if found := re.search(rb"[\r\n]>", received):
            return found.end()
        return len(received) if len(received) > _LONGEST else None

    def bare(received: bytes) -> int | None:
        begun = False
        for found in re.finditer(r"([^\r\n]+)[\r\n]+", received.decode("latin-1")):
            line = found[1].strip()
            if manner.echo and not begun and line:
                begun = True
            elif line.startswith((ends_with, "Invalid")) and line:
                return found.end()
        return len(received) if len(received) > _LONGEST else None

    return prompted if manner.prompt else bare


def decode_answer(frame: bytes, sent: bytes, manner: Manner) -> tuple[str, ...]:
    """Return the lines of an answer; `FrameError` where echo, text or prompt is not as it should
    be."""
    text = frame.decode("latin-1")
    if re.search(r"[^\r\n -~]", text):
        raise FrameError(f"answer {frame!r} holds bytes that are no text")
    lines = [stripped for line in re.split(r"[\r\n]+", text) if (stripped := line.strip())]
    if manner.prompt:
        if not lines or lines.pop() != ">":
            raise FrameError(f"answer {frame!r} does not end with the prompt '>'")
    asked = sent.decode("ascii").strip()
    if manner.echo:
        if not lines or lines.pop(0).removeprefix(">").strip() != asked:
            raise FrameError(f"answer {frame!r} does not begin with the echo of {asked!r}")
    elif asked in lines:
        raise FrameError(f"answer {frame!r} echoes {asked!r}, though lab.toml says echo = false")
    return tuple(lines)


def is_refusal(lines: tuple[str, ...]) -> bool:
    """Return whether the pump says that it knows no such command."""
    return bool(lines) and lines[0].startswith("Invalid")


def decode_set(lines: tuple[str, ...], name: str) -> Decimal:
    """Return the value that a setting now has, e.g. of ``rate = 0.650000``; `FrameError`
    otherwise."""
    match = re.fullmatch(rf"{name} ?= ?{_NUMBER}", _one(lines))
    if not match:
        raise FrameError(f"answer text {lines!r} does not tell {name!r}")
    return Decimal(match[1])


def decode_status(lines: tuple[str, ...]) -> int:
    """Return a key of `STATES`; `FrameError` otherwise."""
    line = _one(lines)
    if not re.fullmatch(r"[0-9]", line) or int(line) not in STATES:
        raise FrameError(f"answer text {line!r} is not a pump status")
    return int(line)


def decode_dispensed(lines: tuple[str, ...]) -> Dispensed:
    """Return the counter, e.g. of ``dispensed volume = 1.2345``; `FrameError` otherwise."""
    value = decode_set(lines, "dispensed volume")
    exponent = value.as_tuple().exponent
    return Dispensed(value, Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0))


def decode_started(lines: tuple[str, ...]) -> None:
    """Accept the answer of a pump that runs now; `FrameError` otherwise."""
    if not re.fullmatch(r"Pump start running *\.*", _one(lines)):
        raise FrameError(f"answer text {lines!r} does not say that the pump runs")


def decode_parameters(lines: tuple[str, ...], address: int) -> Parameters:
    """Return the parameters of the pump, or of one channel where they come under headings ``Pump
    1:``; `FrameError` otherwise."""
    told: dict[str, Decimal] = {}
    section = 0
    for line in lines:
        if heading := re.fullmatch(r"Pump ([12]) ?:", line):
            section = int(heading[1])
            continue
        if not (match := re.fullmatch(rf"([a-z]+) ?= ?{_NUMBER}", line)):
            raise FrameError(f"line {line!r} of {lines!r} is not a parameter")
        if section in (0, address or 1):
            if match[1] in told:
                raise FrameError(f"parameter {match[1]!r} comes twice in {lines!r}")
            told[match[1]] = Decimal(match[2])
    try:
        unit = told["unit"]
        found = Parameters(
            int(unit), told["dia"], told["rate"], told["volume"], told.get("delay", Decimal(0))
        )
    except KeyError as missing:
        raise FrameError(f"parameter {missing} is missing in {lines!r}") from missing
    if unit not in UL_PER_UNIT:
        raise FrameError(f"unit {unit} in {lines!r} is not one of {sorted(UL_PER_UNIT)}")
    return found


def format_number(value: float | Decimal, rounding: str) -> str:
    """Return a number with at most 4 decimals, never an exponent; ValueError where it gives 0 or
    more than 7 digits before the point.

    Ten significant digits count as the value: what floating point adds behind them is not rounded
    down by a step.
    """
    exact = Decimal(format(value, ".10g"))
    if exact.is_finite():
        rounded = exact.quantize(Decimal(1).scaleb(-DECIMALS), rounding=rounding)
        if 0 < rounded < _LARGEST:
            return f"{rounded:f}".rstrip("0").rstrip(".")
    raise ValueError(f"{value} does not fit {DECIMALS} decimals below {_LARGEST}")


def _one(lines: tuple[str, ...]) -> str:
    if len(lines) != 1:
        raise FrameError(f"answer text {lines!r} is not one line")
    return lines[0]
