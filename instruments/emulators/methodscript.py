"""MethodSCRIPT as an EmStat reads it, and the packages that it sends.

Belongs here: script text to steps, numbers to packages. Not here: what a step does (emstat_pico).
Source: PalmSens MethodSCRIPT examples and their description of the output. UNCONFIRMED: the
numbers of the error codes; only their form ``!XXXX: Line n, Col m`` is documented.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

OFFSET = 2**27
"""Added to the integer of a package value so that 7 hex digits hold a sign."""
PREFIXES = {"a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, " ": 0, "k": 3, "M": 6, "G": 9}
"""SI prefix -> power of ten, finest first."""

_NUMBER = re.compile(r"(-?)(?:0x([0-9a-fA-F]{1,8})|0b([01]{1,32})|([0-9]{1,12}))([afpnumkMGi]?)")

ARGUMENTS: dict[str, str] = {
    "var": "v",
    "store_var": "vnt",
    "set_pgstat_chan": "n",
    "set_pgstat_mode": "n",
    "set_max_bandwidth": "n",
    "set_range": "tn",
    "set_range_minmax": "tnn",
    "set_autoranging": "tnn",
    "set_e": "n",
    "cell_on": "",
    "cell_off": "",
    "wait": "n",
    "set_gpio_cfg": "nn",
    "set_gpio": "n",
    "meas_loop_eis": "vvvnnnnn",
    "pck_start": "",
    "pck_add": "v",
    "pck_end": "",
    "endloop": "",
    "on_finished:": "",
}
"""Command -> kinds of its arguments: v variable, n number, t two-letter variable type."""


@dataclass(frozen=True)
class ErrorCodes:
    """Numbers of the errors that a meter tells; the defaults are an EmStat Pico's."""

    unknown_request: str = "0001"
    """Of a command that is no script."""
    busy: str = "0003"
    unknown_command: str = "4001"
    bad_argument: str = "4002"
    wrong_count: str = "4006"
    unknown_variable: str = "4008"
    out_of_place: str = "4005"
    bad_mode: str = "4002"
    wrong_mode: str = "4005"
    """The command is none of the mode that is set."""
    cell_off: str = "4005"
    bad_frequency: str = "4002"
    bad_amplitude: str = "4002"


class ScriptError(Exception):
    """An error of the script, where the meter found it."""

    def __init__(self, code: str, line: int, column: int = 1) -> None:
        super().__init__(f"!{code}: Line {line}, Col {column}")
        self.without_column = f"!{code}: Line {line}"


@dataclass(frozen=True)
class Step:
    """One line of a script."""

    line: int
    """From 1."""
    command: str
    arguments: tuple[str | float, ...]


def parse(lines: list[str], codes: ErrorCodes) -> tuple[Step, ...]:
    """Return the steps of a script; raises ScriptError for what the meter does not know."""
    steps, declared = [], set()
    for place, line in enumerate(lines, start=1):
        words = [(m[0], m.start() + 1) for m in re.finditer(r"\S+", line.split("#")[0])]
        if not words:
            continue
        (command, column), arguments = words[0], words[1:]
        if command not in ARGUMENTS:
            raise ScriptError(codes.unknown_command, place, column)
        kinds = ARGUMENTS[command]
        if len(arguments) != len(kinds):
            raise ScriptError(codes.wrong_count, place, column)
        if command == "var":
            declared.add(arguments[0][0])
        values: list[str | float] = []
        for kind, (word, at) in zip(kinds, arguments, strict=True):
            if kind == "v" and word not in declared:
                raise ScriptError(codes.unknown_variable, place, at)
            values.append(_number(word, place, at, codes) if kind == "n" else word)
        steps.append(Step(place, command, tuple(values)))
    return tuple(steps)


def _number(word: str, line: int, column: int, codes: ErrorCodes) -> float:
    match = _NUMBER.fullmatch(word)
    if match is None:
        raise ScriptError(codes.bad_argument, line, column)
    sign, hexadecimal, binary, decimal, suffix = match.groups()
    digits, base = next(
        (d, b) for d, b in ((hexadecimal, 16), (binary, 2), (decimal, 10)) if d is not None
    )
    exponent = 0 if suffix in ("", "i") else PREFIXES[suffix]
    value = int(digits, base) * (10**exponent if exponent >= 0 else 1)
    return (-1 if sign else 1) * (value / 10**-exponent if exponent < 0 else float(value))


def package_value(kind: str, value: float, metadata: tuple[str, ...] = ()) -> str:
    """Return one variable of a package: type, 7 hex digits, finest prefix that fits, metadata."""
    if not math.isfinite(value):
        return ",".join([f"{kind}     nan", *metadata])
    for prefix, exponent in PREFIXES.items():
        count = round(value / 10.0**exponent) if exponent >= 0 else round(value * 10.0**-exponent)
        if abs(count) < OFFSET:
            prefix = prefix if count else " "
            return ",".join([f"{kind}{count + OFFSET:07X}{prefix}", *metadata])
    return ",".join([f"{kind}     nan", *metadata])


def package(*variables: str) -> str:
    """Return one package line of encoded variables, with its line end."""
    return f"P{';'.join(variables)}\n"
