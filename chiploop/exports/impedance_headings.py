"""Headings of impedance tables to columns.

Belongs here: which words stand for frequency, parts, |Z| and phase, in which unit and with which sign.
Not here: where a format has its headings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.impedance_file import Column, Role

UNITS: Final[dict[str, float]] = {
    "hz": 1.0, "khz": 1e3, "mhz": 1e-3,
    "ohm": 1.0, "ohms": 1.0, "kohm": 1e3,
    "a": 1.0, "b": 1.0,
    "deg": 1.0, "": 1.0,
}  # fmt: skip
"""Unit in lower case -> factor; MHz and Mohm are told from milli by their capital, below. ``a`` and
``b`` are how ZPlot names ohms."""
CAPITALS: Final[dict[str, float]] = {
    "MHz": 1e6,
    "MOhm": 1e6,
    "Mohm": 1e6,
    "mOhm": 1e-3,
    "mohm": 1e-3,
}


def factor_of(unit: str, title: str, name: str, line: int) -> float:
    """Return the factor of a unit; FileNotValid where it is not known."""
    spelled = unit.strip().replace("Ω", "ohm").replace("\u2126", "ohm").replace("°", "deg")
    spelled = "deg" if spelled in ("\ufffd", "degdeg") else spelled
    factor = CAPITALS.get(spelled, UNITS.get(spelled.lower()))
    if factor is None:
        raise FileNotValid(
            f"{name}, line {line}: column {title!r} is in {unit!r}; Hz, ohm and degrees are read"
        )
    return factor


def columns_of(
    headings: Sequence[str],
    known: Mapping[str, tuple[Role, float]],
    units: Sequence[str],
    name: str,
    line: int,
) -> tuple[Column, ...]:
    """Return the columns whose heading is known.

    Parameters
    ----------
    headings : as the file writes them, without unit.
    known : heading in lower case -> role and sign.
    units : of each heading.

    Raises
    ------
    FileNotValid : a heading twice, an unknown unit, or no frequency or no impedance.
    """
    found: dict[Role, Column] = {}
    for i, (heading, unit) in enumerate(zip(headings, units, strict=True)):
        role_and_sign = known.get(re.sub(r"\s+", " ", heading.strip().lower()))
        if role_and_sign is None:
            continue
        role, sign = role_and_sign
        if role in found:
            raise FileNotValid(
                f"{name}, line {line}: {found[role].title!r} and {heading.strip()!r} are both "
                f"{role} of Z"
            )
        found[role] = Column(role, i, heading.strip(), sign * factor_of(unit, heading, name, line))
    parts = {"real", "imaginary"} <= set(found) or {"modulus", "phase"} <= set(found)
    if "frequency" not in found or not parts:
        missing = "a frequency" if "frequency" not in found else "real and imaginary part of Z"
        read = ", ".join(repr(one.strip()) for one in headings if one.strip())[:300]
        raise FileNotValid(f"{name}, line {line}: no column for {missing}; read {read}")
    if not {"real", "imaginary"} <= set(found):
        found.pop("real", None)
        found.pop("imaginary", None)
    return tuple(found.values())
