"""Wire format of the Ismatec Reglo ICC peristaltic pump: manual 14-036-E Rev C, sections 14 to 18.

Belongs here: commands, answers, events and numbers as pure functions; the table of what may be sent
at all, and sent again. Not here: moving bytes (`reglo_icc`).

A request is ``<digit><verb>[parameter]`` and CR. An answer is one status byte WITHOUT a terminator,
or a line that ends with CR LF; the first byte tells which. Events (``^...`` CR LF) come unasked,
before an answer or inside it. Numbers (Volume Type 1) are ``mmmmEse``: m.mmm times ten to the se, in
mL or mL/min; a request spells the same without the E (Volume Type 2, which the manual shows only in
examples). Four digits: rates go to the nearest, volumes down. Nothing is clipped.

The verb ``0`` resets a channel to its defaults, and ``0`` is also the digit for "no channel in
particular": ``10`` and CR is a reset of channel 1. No reset is in `VERBS`, every verb in it begins
with something else than a digit, and its parameter must match the verb's own pattern, so that no
string put together from numbers can become one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Final, Literal

from instruments.errors import FrameError

Retry = Literal["safe", "verify", "never"]
_QUERY: Final = r""
_ON_OFF: Final = r"[01]?"
_VOLUME2: Final = r"([0-9]{4}[+-][0-9])?"
VERBS: Final[dict[str, tuple[Retry, str]]] = {
    "~": ("safe", _ON_OFF),  # channel addressing
    "xE": ("safe", _ON_OFF),  # events
    "x!": ("safe", _QUERY),  # version of this protocol
    "#": ("safe", _QUERY),  # what the pump calls itself
    "(": ("safe", _QUERY),  # firmware
    "xA": ("safe", _QUERY),  # number of channels
    "xM": ("safe", _QUERY),  # mode
    "O": ("safe", _QUERY),  # set mode: volume at rate
    "Q": ("safe", _QUERY),  # set mode: volume and pause, as often as there are cycles
    '"': ("safe", r"(0000)?"),  # cycles; only none are ever set, with which Q does not start
    "xD": ("safe", _QUERY),  # direction
    "J": ("safe", _QUERY),  # set clockwise
    "K": ("safe", _QUERY),  # set counter-clockwise
    "xf": ("safe", _ON_OFF),  # rate comes from: 0 speed, 1 flow rate
    "f": ("safe", _VOLUME2),  # flow rate, mL/min
    "v": ("safe", _VOLUME2),  # target volume, mL
    "+": ("safe", r"([0-9]{4})?"),  # inner diameter of the tubing, 0.01 mm
    "xe": ("safe", _QUERY),  # why H was answered with -
    ":": ("safe", _QUERY),  # dispensed since the counter was reset
    "xC": ("safe", _QUERY),  # revolutions, ever
    "xJ": ("safe", _QUERY),  # seconds run, ever
    "E": ("safe", _QUERY),  # does anything of the whole pump run
    "I": ("safe", _QUERY),  # stop
    "W": ("verify", _QUERY),  # counter to zero: the counter is read before anybody sends it again
    "H": ("never", _QUERY),  # start
}
"""Verb -> what a lost answer allows (ask again once, look first, nothing), and the pattern of its
parameter. A verb not listed is never sent."""

STATUSES: Final = {"*": "done", "#": "not done", "-": "negative", "+": "positive"}
CAUSES: Final = {
    "A": "target reached",
    "B": "calibration done",
    "1": "stopped by hand",
    "2": "over-temperature",
    "3": "over-current",
}
"""Why a channel stopped, as ``^X`` tells it."""
CHANNEL_STATES: Final = {
    "A": "pumping",
    "B": "paused",
    "C": "stopped",
    "D": "pumping",  # to calibrate
    "E": "stopped",  # waits for what the calibration measured
}
REASONS: Final = {
    "C": "cycle count is 0",
    "R": "flow rate is 0 or above the largest, mL/min",
    "V": "volume is above the largest, mL",
}
UL_PER: Final = {
    "nl": Decimal("0.001"),
    "ul": Decimal(1),
    "\xb5l": Decimal(1),
    "ml": Decimal(1000),
    "l": Decimal(1_000_000),
}
UL_H_PER_ML_MIN: Final = Decimal(60_000)
ANY: Final = 0
"""The digit of a command that concerns no channel in particular; with channel addressing only."""
_LONGEST: Final = 80
"""No answer and no event is longer."""


@dataclass(frozen=True)
class Event:
    """What the pump told of one channel unasked."""

    channel: int
    state: Literal["pumping", "paused", "stopped"]
    cause: str = ""
    """One of the values of `CAUSES` where the channel stopped by itself; empty where not told."""


@dataclass(frozen=True)
class Answer:
    """One answer and the events that came with it."""

    status: str = ""
    """One of `STATUSES`, or empty where the answer is data."""
    data: str = ""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Dispensed:
    """The counter of one channel."""

    volume_ul: float
    resolution_ul: float
    """Smallest step that the answer's digits can show."""


def encode_command(digit: int, verb: str, parameter: str = "") -> bytes:
    """Return the bytes of a command; ValueError for anything that `VERBS` does not have."""
    if not 0 <= digit <= 8:
        raise ValueError(f"{digit} is neither a channel (1..4), a pump (1..8) nor 0")
    if verb not in VERBS or not re.fullmatch(VERBS[verb][1], parameter):
        raise ValueError(f"{verb!r} with {parameter!r} is no command that is ever sent")
    return f"{digit}{verb}{parameter}\r".encode("ascii")


def answer_length(received: bytes) -> int | None:
    """Return the length of the first answer together with the events before and inside it."""
    answer, _, length = _demultiplex(received)
    whole = answer.decode("latin-1") in STATUSES or answer.endswith(b"\n")
    too_long = len(answer) > _LONGEST or len(received) > 4 * _LONGEST
    return length if whole or too_long else None


def decode_answer(frame: bytes) -> Answer:
    """Return answer and events; `FrameError` where there is no one whole answer."""
    answer, told, length = _demultiplex(frame)
    if length != len(frame):
        raise FrameError(f"answer {frame!r} is more than one answer")
    events = tuple(decode_events(told))
    text = answer.decode("latin-1")
    if text in STATUSES:
        return Answer(status=text, events=events)
    if not re.fullmatch(r"[ -~\xb5]+\r\n", text):
        raise FrameError(f"answer {frame!r} is neither a status nor a line of data")
    return Answer(data=text[:-2], events=events)


def events_in(received: bytes) -> list[Event]:
    """Return the events in whatever came unasked; everything else in it is passed over."""
    return list(decode_events(re.findall(rb"\^[^\^\r\n]*\r?\n", received)))


def decode_events(told: Iterable[bytes]) -> Iterable[Event]:
    """Yield what each event says; one that can not be read says nothing, and is passed over."""
    for line in told:
        text = line.decode("latin-1").strip()
        if stopped := re.fullmatch(r"\^X([1-4])\|([AB123])", text):
            yield Event(int(stopped[1]), "stopped", CAUSES[stopped[2]])
        elif update := re.fullmatch(r"\^U([1-4])\|([A-E])\|[0-9]+\|[0-9]+\|[0-9]+", text):
            yield Event(int(update[1]), CHANNEL_STATES[update[2]])  # type: ignore[arg-type]


def _demultiplex(received: bytes) -> tuple[bytes, list[bytes], int]:
    """Return the first answer as far as it has come, the whole events before and inside it, and how
    many bytes both take."""
    answer, place = bytearray(), 0
    told: list[bytes] = []
    while place < len(received):
        if received[place : place + 1] == b"^":
            end = received.find(b"\n", place) + 1
            if not end:
                return bytes(answer), told, len(received)
            told.append(received[place:end])
            place = end
            continue
        answer += received[place : place + 1]
        place += 1
        if answer.decode("latin-1") in STATUSES or answer.endswith(b"\n"):
            break
    return bytes(answer), told, place


def format_volume(value: Decimal, rounding: str) -> str:
    """Return Volume Type 2, e.g. ``1300-3`` for 0.0013; ValueError for what it can not hold."""
    if value.is_finite() and value > 0:
        exponent = value.adjusted()
        mantissa = value.scaleb(3 - exponent).quantize(Decimal(1), rounding=rounding)
        if mantissa == 10_000:
            mantissa, exponent = Decimal(1000), exponent + 1
        if -9 <= exponent <= 9:
            return f"{mantissa}{exponent:+d}"
    raise ValueError(f"{value} does not fit four digits times ten to the -9..+9")


def decode_volume(data: str) -> Decimal:
    """Return the value of Volume Type 1, e.g. ``3250E+1`` is 32.50; also without the E."""
    if not (match := re.fullmatch(r"([0-9]{4})E?([+-][0-9])", data)):
        raise FrameError(f"answer data {data!r} is not a volume or flow rate")
    return Decimal(match[1]).scaleb(int(match[2]) - 3)


def exact(value: float) -> Decimal:
    """Return a number by its ten significant digits; what floating point adds is not a value."""
    return Decimal(format(value, ".10g"))


def format_rate(flow_rate_ul_h: float) -> str:
    """Return the nearest flow rate that the pump can hold, in mL/min."""
    return format_volume(exact(flow_rate_ul_h) / UL_H_PER_ML_MIN, ROUND_HALF_EVEN)


def format_target(volume_ul: float) -> str:
    """Return the largest volume not above the asked one that the pump can hold, in mL."""
    return format_volume(exact(volume_ul) / 1000, ROUND_DOWN)


def format_tubing(tubing_id_mm: float) -> str:
    """Return a tubing's inner diameter as four digits of 0.01 mm; ValueError outside 0.13..3.17."""
    hundredths = exact(tubing_id_mm) * 100
    whole = hundredths.is_finite() and hundredths == hundredths.to_integral_value()
    if not whole or not 13 <= hundredths <= 317:
        raise ValueError(f"tubing of {tubing_id_mm} mm is not 0.13..3.17 mm in steps of 0.01")
    return f"{int(hundredths):04d}"


def decode_tubing(data: str) -> Decimal:
    """Return the inner diameter in mm, e.g. ``3.17 mm``."""
    if not (match := re.fullmatch(r"([0-9]+\.[0-9]+) mm", data)):
        raise FrameError(f"answer data {data!r} is not the diameter of a tubing")
    return Decimal(match[1])


def decode_dispensed(data: str) -> Dispensed:
    """Return the counter, e.g. ``4.983 ml``."""
    if not (match := re.fullmatch(r"([0-9]+)(?:\.([0-9]*))? ?(nl|ul|\xb5l|ml|l)", data.lower())):
        raise FrameError(f"answer data {data!r} is not a dispensed volume")
    decimals, unit = match[2] or "", UL_PER[match[3]]
    value = Decimal(f"{match[1]}.{decimals or 0}") * unit
    return Dispensed(float(value), float(Decimal(1).scaleb(-len(decimals)) * unit))


def decode_count(data: str) -> int:
    """Return a whole number, e.g. ``0000001511``."""
    if not re.fullmatch(r"[0-9]{1,10}", data):
        raise FrameError(f"answer data {data!r} is not a whole number")
    return int(data)


def decode_letter(data: str) -> str:
    """Return a mode or a direction: one capital letter."""
    if not re.fullmatch(r"[A-Z]", data):
        raise FrameError(f"answer data {data!r} is not one letter")
    return data


def decode_name(data: str) -> str:
    """Return what a Reglo ICC calls itself; `FrameError` for anything else."""
    if not data.startswith("REGLO ICC"):
        raise FrameError(f"answer data {data!r} is not the name of a Reglo ICC")
    return data


def decode_reason(data: str) -> str:
    """Return in words why the pump can not start, e.g. of ``C 0000E+1``."""
    match = re.fullmatch(r"([CRV]) ([0-9]{4}E?[+-][0-9])", data)
    if not match:
        raise FrameError(f"answer data {data!r} is not a reason")
    limit = "" if match[1] == "C" else f" {decode_volume(match[2]).normalize():f}"
    return f"{REASONS[match[1]]}{limit}"
