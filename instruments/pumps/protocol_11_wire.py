"""Wire format of the pumps that speak "Protocol 11": Harvard Pump 11 Elite and PHD Ultra, KDS Legato.

Belongs here: commands, answers and numbers as pure functions; the dialects; the table of what may
be sent again. Not here: moving bytes (`protocol_11`).

Sources of the format: answers recorded from a KDS Legato 101 (Ddedalus/syringe-pump), the command
chapters of the manuals of PHD Ultra (publ. 5419-002), Pump 33 DDS (5419-013) and Legato (5617-006,
5617-002). An answer is ``LF [line CR LF]* prompt``, after ``poll on`` with an XON behind it. A pump
with a nonzero address writes it as two digits before the prompt and, with a colon, before each line.
The recordings show numbers with up to six significant digits and units that scale by themselves.

There is no checksum. Rates go to the nearest number, since they set a concentration; volumes go
down, since they bound a dose. UNCONFIRMED parts are listed in `protocol_11.MAKE`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Final, Literal

from instruments.errors import FrameError

Retry = Literal["safe", "verify", "never"]
RETRY: Final[dict[str, Retry]] = {
    "poll": "safe",
    "nvram": "safe",
    "version": "safe",
    "ver": "safe",
    "load": "safe",
    "diameter": "safe",
    "irate": "safe",
    "tvolume": "safe",
    "ttime": "safe",
    "cttime": "safe",
    "ivolume": "safe",
    "stp": "safe",
    "civolume": "verify",  # destroys evidence: the counter is read before anybody sends it again
    "irun": "never",
}
"""Verb -> what a lost answer allows: ask again once, look first, or nothing. A verb not listed is
never sent."""

State = Literal["idle", "infusing", "withdrawing", "alarm"]
PROMPTS: Final[dict[str, State]] = {
    ":": "idle",
    ">": "infusing",
    "<": "withdrawing",
    "T*": "idle",  # target volume or target time reached
    "*": "alarm",  # stalled
    ">*": "alarm",  # limit switch while infusing
    "<*": "alarm",  # limit switch while withdrawing
}
"""Prompt -> what the pump does. The starred ones stay until the next run."""
STANDING: Final = frozenset(PROMPTS) - {">", "<"}
"""Prompts of a motor that stands still."""
XON: Final = 0x11

DIGITS: Final = 6
"""Significant digits that the pump shows and that are written to it."""
SAME: Final = Decimal("1e-5")
"""Relative difference within which a read-back is the written number: what six digits can hide."""
LONGEST_TIME_S: Final = 100 * 3600
"""Target times stay below this: two digits of hours."""
UL_PER: Final = {"nl": Decimal("0.001"), "ul": Decimal(1), "ml": Decimal(1000)}
_UL_PER_READ: Final = {"pl": Decimal("1e-6"), **UL_PER, "l": Decimal("1e6")}
_PER_HOUR: Final = {
    **dict.fromkeys(("s", "sec"), Decimal(3600)),
    **dict.fromkeys(("m", "min"), Decimal(60)),
    **dict.fromkeys(("h", "hr"), Decimal(1)),
}
_LONGEST: Final = 4096
_PROMPT: Final = r"(?P<prompt>:|>\*?|<\*?|T?\*)"
_NUMBER: Final = r"([0-9]{1,12}(?:\.[0-9]{1,12})?(?:e[+-]?[0-9]{1,2})?)"
_REFUSED: Final = re.compile(r"(?:[a-z]+ )?error\b|unknown|(?:.*\b)?out of range", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How one family of these pumps wants to be spoken to."""

    addressing: Literal["none", "plain", "colon"]
    """What stands before a command: nothing, ``12``, or ``12:``."""
    writes_zero: bool
    """Address 0 is written like any other, instead of left out."""
    quiet_display: bool
    """``@`` before a command without address: the pump does not redraw its screen for it."""
    line_end: bytes
    identity: Literal["version", "ver"]
    """The query that tells firmware (and, for ``version``, address and serial number)."""
    nvram: Literal["none", "off", "leave"]
    """Word that stops the pump from writing each new rate to its memory, which wears out."""
    quick_start: bool
    """The pump must be in its quick-start mode before ``irun``."""


DIALECTS: Final = {
    "legato": Dialect("plain", False, True, b"\r\n", "version", "none", True),
    "elite": Dialect("plain", True, False, b"\r\n", "ver", "none", False),
    "phd_ultra": Dialect("colon", False, False, b"\r\n", "ver", "off", True),
}


class OtherPumpAnswered(FrameError):
    """The pump at another address has carried out what was meant for this one, by its answer."""

    def __init__(self, message: str, address: int) -> None:
        super().__init__(message)
        self.address = address


@dataclass(frozen=True)
class Answer:
    """One answer of one pump, taken out of its frame."""

    prompt: str
    """One of `PROMPTS`."""
    lines: tuple[str, ...] = ()
    """Its text without addresses."""
    refused: bool = False
    """The text says that the command was not carried out."""
    polled: bool = True
    """It ended with XON, as every answer does after ``poll on``."""


@dataclass(frozen=True)
class Volume:
    """A volume as the pump shows it."""

    ul: Decimal
    step_ul: Decimal
    """Smallest step that six significant digits can show there; below 1 of the unit, that of 1."""


def encode_command(dialect: Dialect, address: int, text: str) -> bytes:
    """Return the bytes of a command to the pump at an address."""
    separator = {"none": None, "plain": "", "colon": ":"}[dialect.addressing]
    prefix = "@" if dialect.quiet_display else ""
    if separator is not None and (address or dialect.writes_zero):
        prefix = f"{address}{separator}"  # where "@" stands beside an address is told nowhere
    return (prefix + text).encode("ascii") + dialect.line_end


def answer_length(received: bytes) -> int | None:
    """Return the length of the first answer after ``poll on``: up to its XON.

    The prompt alone does not end it: ``02:`` also begins a line, ``>`` also begins ``>*``.
    """
    end = received.find(XON)
    if end < 0:
        return len(received) if len(received) > _LONGEST else None
    return end + 1


def poll_answer_length(received: bytes) -> int | None:
    """Return the length of the answer to the query ``poll``, which has no XON where polling is
    off."""
    text = received.decode("latin-1")
    off = r"\n(?:[0-9]{2}:)?\s*off\s*\r?\n(?:[0-9]{2})?(?::|[<>]|T?\*)"
    if found := re.search(off, text, re.IGNORECASE):
        return found.end()
    return answer_length(received)


def probe_answer_length(received: bytes) -> int | None:
    """Return the length of an answer with text, polled or not, of a pump at address 0."""
    found = re.search(r"\n[^\r\n]+\r?\n(?::|[<>]|T?\*)\x11?", received.decode("latin-1"))
    return found.end() if found else answer_length(received)


def decode_answer(frame: bytes, address: int) -> Answer:
    """Return what a frame says; `FrameError` where it is not one whole answer of this address.

    A ``T*`` in front of the first line, left over from an earlier event, is passed over.
    """
    polled = frame.endswith(bytes([XON]))
    text = (frame[:-1] if polled else frame).decode("latin-1")
    if re.search(r"[^\r\n -~]", text):
        raise FrameError(f"answer {frame!r} holds bytes that are no text")
    own = f"{address:02d}"
    leak = re.match(rf"\n?(?:{own})?T\*(?=[\r\n0-9A-Za-z])", text)
    if leak:
        text = "\n" + text[leak.end() :].lstrip("\r\n")
    lines = [line.rstrip() for line in re.split(r"\r\n|\n\r|\n|\r", text)]
    last = re.fullmatch(rf"(?P<address>[0-9]{{2}})?{_PROMPT}", lines[-1])
    if not last:
        raise FrameError(f"answer {frame!r} does not end with a prompt")
    if (last["address"] or "00") != own:
        other = int(last["address"] or 0)
        told = f"answer {frame!r} is that of the pump at address {other}, not {address}"
        # A start is answered without text; with text it is a refusal, or a late answer to a query.
        raise FrameError(told) if any(lines[:-1]) else OtherPumpAnswered(told, other)
    if len(lines) > 1 and lines[0]:
        raise FrameError(f"answer {frame!r} does not begin with a line feed: its head is missing")
    body = [line for line in lines[:-1] if line]
    if last["address"]:
        body = [re.sub(rf"^{own}{_PROMPT}", "", line, count=1) for line in body]
    said = tuple(line.strip() for line in body)
    refused = bool(said) and _REFUSED.match(said[0]) is not None
    return Answer(last["prompt"], said, refused, polled)


def decode_nothing(lines: tuple[str, ...]) -> None:
    """Accept the answer to a setting, which has no text; `FrameError` otherwise."""
    if lines:
        raise FrameError(f"answer text {lines!r} where none was due")


def decode_line(lines: tuple[str, ...]) -> str:
    """Return the one line of an answer; `FrameError` otherwise."""
    if len(lines) != 1:
        raise FrameError(f"answer text {lines!r} is not one line")
    return lines[0]


def decode_volume(lines: tuple[str, ...]) -> Volume:
    """Return a volume, e.g. ``1.69023 ul``; `FrameError` otherwise."""
    line = decode_line(lines)
    if not (match := re.fullmatch(rf"{_NUMBER} (pl|nl|ul|ml|l)", line, re.IGNORECASE)):
        raise FrameError(f"answer text {line!r} is not a volume")
    unit, number = _UL_PER_READ[match[2].lower()], Decimal(match[1])
    place = max(number.adjusted(), 0) if number else 0
    return Volume(number * unit, unit.scaleb(place + 1 - DIGITS))


def decode_target_volume(lines: tuple[str, ...]) -> Decimal | None:
    """Return the target volume in uL, or None where none is set; `FrameError` otherwise."""
    if decode_line(lines).lower() == "target volume not set":
        return None
    return decode_volume(lines).ul


def decode_rate(lines: tuple[str, ...]) -> Decimal:
    """Return a flow rate in uL/h, e.g. of ``199.49 ul/min``; `FrameError` otherwise."""
    line = decode_line(lines)
    form = rf"{_NUMBER} (pl|nl|ul|ml|l)/(sec|s|min|m|hr|h)"
    if not (match := re.fullmatch(form, line, re.IGNORECASE)):
        raise FrameError(f"answer text {line!r} is not a flow rate")
    return Decimal(match[1]) * _UL_PER_READ[match[2].lower()] * _PER_HOUR[match[3].lower()]


def decode_diameter(lines: tuple[str, ...]) -> Decimal:
    """Return a syringe diameter in mm, e.g. of ``7.2620 mm``; `FrameError` otherwise."""
    line = decode_line(lines)
    if not (match := re.fullmatch(rf"{_NUMBER} mm", line)):
        raise FrameError(f"answer text {line!r} is not a diameter")
    return Decimal(match[1])


def decode_time_s(lines: tuple[str, ...]) -> Decimal | None:
    """Return the target time in seconds, or None where none is set; `FrameError` otherwise."""
    line = decode_line(lines)
    if line.lower() == "target time not set":
        return None
    if match := re.fullmatch(rf"{_NUMBER} seconds?", line):
        return Decimal(match[1])
    if match := re.fullmatch(r"([0-9]{1,4}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]{1,6})?)", line):
        return 3600 * Decimal(match[1]) + 60 * Decimal(match[2]) + Decimal(match[3])
    raise FrameError(f"answer text {line!r} is not a target time")


def decode_infuses(lines: tuple[str, ...]) -> bool:
    """Return whether the loaded mode is a quick start that can infuse; `FrameError` for an empty
    answer."""
    line = decode_line(lines)
    return re.fullmatch(r"Quick Start - Infuse.*\(qs (?:i|iw|wi)\)", line) is not None


def decode_poll(lines: tuple[str, ...]) -> bool:
    """Return whether polling is on; `FrameError` otherwise."""
    line = decode_line(lines).lower()
    if line not in ("on", "off"):
        raise FrameError(f"answer text {line!r} is not a polling mode")
    return line == "on"


def decode_identity(lines: tuple[str, ...]) -> str:
    """Return firmware (and serial number) of a ``version`` or ``ver`` answer; `FrameError`
    otherwise."""
    if len(lines) == 1 and re.fullmatch(r"[ -~]* v?[0-9]+\.[0-9]+\.[0-9]+", lines[0]):
        return lines[0]
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if not {"Firmware", "Serial number"} <= set(told) or not all(told.values()):
        raise FrameError(f"answer text {lines!r} does not tell the version of such a pump")
    return f"{told['Firmware']} serial {told['Serial number']}"


def format_number(value: float | Decimal, rounding: str) -> str:
    """Return at most six significant digits, never an exponent; ValueError where it gives 0 or more
    than six digits before the point.

    Ten significant digits count as the value: what floating point adds behind them is not rounded
    down by a step.
    """
    exact = Decimal(format(value, ".10g"))
    if exact.is_finite() and exact > 0:
        decimals = min(max(DIGITS - 1 - exact.adjusted(), 0), DIGITS - 1)
        rounded = exact.quantize(Decimal(1).scaleb(-decimals), rounding=rounding)
        if 0 < rounded < Decimal(10) ** DIGITS:
            text = f"{rounded:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
    raise ValueError(f"{value} does not fit {DIGITS} digits")


def format_rate(flow_rate_ul_h: float) -> tuple[str, str]:
    """Return the nearest rate that the pump can hold, as number and unit, e.g. ``60``,
    ``ul/hr``."""
    unit = _unit(flow_rate_ul_h)
    return format_number(flow_rate_ul_h / float(UL_PER[unit]), ROUND_HALF_EVEN), f"{unit}/hr"


def format_volume(volume_ul: float) -> tuple[str, str]:
    """Return the largest volume not above the asked that the pump can hold, as number and unit."""
    unit = _unit(volume_ul)
    return format_number(volume_ul / float(UL_PER[unit]), ROUND_DOWN), unit


def format_time(seconds: int) -> str:
    """Return ``hh:mm:ss`` of a time below `LONGEST_TIME_S`."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _unit(ul: float) -> str:
    return "nl" if ul < 1 else "ul" if ul < 1000 else "ml"
