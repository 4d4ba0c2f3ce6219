"""Numbers with units as people write them: "60 uL/h" -> 60.0 uL/h, and nothing by guessing.

Belongs here: reading one quantity, the units each kind of field takes, what to say when it does not
fit. Not here: which field has which kind (study_parts), limits of a device.

The number is read by our own pattern and never by a unit library (one of them reads "1,5 mL" as
15 mL). Factors are exact fractions, so that "0.3 mL" is 300.0 uL to the last bit; a test holds the
table to pint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction


class UnitProblem(ValueError):
    """A text that is not a quantity of the asked kind, with what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Kind:
    """One kind of quantity: what it is called and which units a person may write."""

    quantity: str
    """What it is, as said in a message: ``concentration``."""
    units: dict[str, Fraction]
    """Unit as written -> factor to the canonical unit; the first one is shown in hints."""
    signed: bool = False
    """True where a value below zero means something."""


def _units(**factors: str) -> dict[str, Fraction]:
    return {name: Fraction(factor) for name, factor in factors.items()}


_TIME_H = _units(h="1", min="1/60", s="1/3600", d="24")
_VOLUME_UL = _units(uL="1", mL="1e3", nL="1e-3", L="1e6")
_LENGTH_MM = _units(mm="1", um="1e-3", nm="1e-6", cm="10", m="1e3")
_FLOW_UL_H = {
    f"{volume}/{time}": _VOLUME_UL[volume] / _TIME_H[time]
    for volume, time in (("uL", "h"), ("mL", "h"), ("uL", "min"), ("mL", "min"), ("nL", "min"))
}
_MASS_CONCENTRATION_NG_ML = {
    "ng/mL": Fraction(1),
    "pg/mL": Fraction("1e-3"),
    "ug/mL": Fraction("1e3"),
    "mg/mL": Fraction("1e6"),
    "ng/L": Fraction("1e-3"),
    "ug/L": Fraction(1),
    "mg/L": Fraction("1e3"),
}


def _scaled(units: dict[str, Fraction], factor: str, first: str) -> dict[str, Fraction]:
    """Return the same units for another canonical unit, the one called ``first`` in front."""
    scaled = {unit: value * Fraction(factor) for unit, value in units.items()}
    return {first: scaled.pop(first), **scaled}


KINDS: dict[str, Kind] = {
    "flow_rate_ul_h": Kind("flow rate", _FLOW_UL_H),
    "volume_ul": Kind("volume", _VOLUME_UL),
    "volume_ml": Kind("volume", _scaled(_VOLUME_UL, "1e-3", "mL")),
    "concentration_nm": Kind(
        "concentration", _units(nM="1", uM="1e3", mM="1e6", pM="1e-3", M="1e9")
    ),
    "mass_concentration_ng_ml": Kind("mass concentration", _MASS_CONCENTRATION_NG_ML),
    "mass_concentration_pg_ml": Kind(
        "mass concentration", _scaled(_MASS_CONCENTRATION_NG_ML, "1e3", "pg/mL")
    ),
    "mass_ng": Kind("mass", _units(ng="1", ug="1e3", mg="1e6")),
    "time_h": Kind("time", _TIME_H),
    "time_min": Kind("time", _scaled(_TIME_H, "60", "min")),
    "percent": Kind("percentage", {"%": Fraction(1)}),
    "fraction": Kind("percentage", {"%": Fraction(1, 100)}),
    "length_mm": Kind("length", _LENGTH_MM),
    "wavelength_nm": Kind("wavelength", {"nm": Fraction(1)}),
    "area_cm2": Kind("area", _units(cm2="1", mm2="1e-2")),
    "resistance_ohm": Kind("resistance", _units(ohm="1", kohm="1e3", Mohm="1e6")),
    "area_resistance_ohm_cm2": Kind(
        "area resistance", {"ohm*cm2": Fraction(1), "kohm*cm2": Fraction(1000)}
    ),
    "resistivity_ohm_cm": Kind(
        "resistivity", {"ohm*cm": Fraction(1), "ohm*m": Fraction(100), "kohm*cm": Fraction(1000)}
    ),
    "frequency_hz": Kind("frequency", _units(Hz="1", kHz="1e3", MHz="1e6")),
    "molar_mass_g_mol": Kind(
        "molar mass", {"g/mol": Fraction(1), "kg/mol": Fraction(1000), **_units(Da="1", kDa="1e3")}
    ),
    "temperature_c": Kind("temperature", {"°C": Fraction(1)}, signed=True),
    "permeability_cm_s": Kind(
        "permeability", _units(**{"cm/s": "1", "um/s": "1e-4", "nm/s": "1e-7"})
    ),
    "pressure_mbar": Kind("pressure", _units(mbar="1", kPa="10", Pa="1e-2", bar="1e3")),
}
"""Kind of field -> its units. The name ends in the canonical unit; ``fraction`` gives 0..1."""

_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,25}(?:\.[0-9]{0,25})?|\.[0-9]{1,25})(?:[eE][+-]?[0-9]{1,2})?"
)
_LEADING = re.compile(r"[+-−]?[0-9.,'’_ \u00a0\u2009\u202f]*[0-9](?:[eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[+-]?([0-9]+),([0-9]+)")
_SPELLINGS = str.maketrans(
    {
        "\u00b5": "u",  # micro sign
        "\u03bc": "u",  # Greek small letter mu
        "\u2126": "ohm",  # ohm sign
        "\u03a9": "ohm",  # Greek capital letter omega
        "²": "2",
        "^": "",
        "·": "*",
        "\u22c5": "*",  # dot operator
        "\u00a0": " ",
    }
)


def normalise_unit(unit: str) -> str:
    """Return the unit in the spelling of the table: both micro signs, ohm signs, powers, dots."""
    spelled = unit.strip().translate(_SPELLINGS)
    return re.sub(r"\s*([*/])\s*", r"\1", spelled)


def allowed_units(kind: str) -> str:
    """Return the units of a kind as a person reads them: ``uL/h, mL/h or uL/min``."""
    names = list(KINDS[kind].units)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def parse_quantity(text: str, kind: str) -> float:
    """Return the quantity in the canonical unit of its kind, correctly rounded.

    Parameters
    ----------
    text
        Number and unit, e.g. ``"60 uL/h"``, ``"100nM"``, ``"1e-3 mL"``.
    kind
        A key of ``KINDS``; its ending names the unit of the returned number.

    Raises
    ------
    UnitProblem
        Where the text is no plain number with one of the kind's units: no unit, decimal comma,
        thousands separator, another dimension, wrong upper or lower case, NaN, below zero.
    """
    rule = KINDS[kind]
    example = f"{next(iter(rule.units))}"
    if not isinstance(text, str):
        raise _no_text(text, kind, example)
    stripped = text.strip()
    number = _NUMBER.match(stripped)
    rest = stripped[number.end() :] if number else stripped
    if number is None or rest[:1] in set(",'’_.0123456789") or _digits_after_space(rest):
        raise _bad_number(stripped, rule, example)
    unit = rest.strip()
    if not unit:
        raise UnitProblem(
            f'"{stripped}" has no unit; a {rule.quantity} is written in {allowed_units(kind)}',
            f'write "{stripped} {example}"' if len(rule.units) == 1 else "",
        )
    factor = rule.units.get(normalise_unit(unit))
    if factor is None:
        raise _bad_unit(number.group(), unit, kind)
    exact = Fraction(number.group()) * factor
    if exact < 0 and not rule.signed:
        raise UnitProblem(f'"{stripped}" is below zero; a {rule.quantity} is zero or more')
    return float(exact)


def _digits_after_space(rest: str) -> bool:
    return bool(re.match(r"[\s\u00a0\u2009\u202f]+[0-9]", rest))


def _no_text(value: object, kind: str, example: str) -> UnitProblem:
    rule = KINDS[kind]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return UnitProblem(
            f"{value} has no unit; a {rule.quantity} is written in {allowed_units(kind)}",
            f'write for example "{value} {example}", if that is what is meant',
        )
    return UnitProblem(
        f"a {rule.quantity} is a number with a unit ({allowed_units(kind)}), "
        f"not {_kind_of_value(value)}",
    )


def _kind_of_value(value: object) -> str:
    names: dict[type, str] = {dict: "a block of keys", list: "a list", bool: "true or false"}
    return "nothing" if value is None else names.get(type(value), "what is written here")


def _bad_number(text: str, rule: Kind, example: str) -> UnitProblem:
    comma = _COMMA.match(text)
    if comma:
        whole, part = comma.groups()
        rest = text[comma.end() :]
        point = f'"{whole}.{part}{rest}"'
        if len(part) == 3 and not rest.startswith((".", ",")):
            return UnitProblem(
                f'"{text}": the comma may mean {whole}.{part} or {whole}{part}',
                f'write {point} or "{whole}{part}{rest}"',
            )
        if rest[:1] not in (".", ","):
            return UnitProblem(f'"{text}": a decimal comma is not read', f"write {point}")
    lowered = text.lower().lstrip("+-")
    if lowered.startswith(("nan", "inf", ".nan", ".inf")):
        return UnitProblem(f'"{text}" is not a number that can be used')
    leading = _LEADING.match(text)
    if leading and re.search(r"[\d][,'’_ \u00a0\u2009\u202f]+[\d]", leading.group()):
        return UnitProblem(
            f'"{text}": separators between digits are not read', "write the digits without a break"
        )
    if text.startswith("−"):
        return UnitProblem(f'"{text}" begins with a typographic minus', 'write "-"')
    return UnitProblem(
        f'"{text}" is not a number with a unit',
        f'a {rule.quantity} is written like "1.5 {example}"',
    )


def _bad_unit(number: str, unit: str, kind: str) -> UnitProblem:
    rule = KINDS[kind]
    spelled = normalise_unit(unit)
    same_letters = [name for name in rule.units if name.lower() == spelled.lower()]
    others = {
        other.quantity
        for name, other in KINDS.items()
        if spelled in other.units and other.quantity != rule.quantity
    }
    others.discard("wavelength")
    hint = f'did you mean "{number} {same_letters[0]}"?' if same_letters else ""
    if others:
        named = " or a ".join(sorted(others))
        message = f'"{unit}" is a {named}, not a unit of {rule.quantity}'
    else:
        message = f'"{unit}" is not a unit of {rule.quantity}'
    if kind == "temperature_c" and spelled in {"C", "degC", "K", "F", "°F", "° C"}:
        hint = f'write "{number} °C"'
    return UnitProblem(f"{message}; allowed: {allowed_units(kind)}", hint)


def counted(n: int, one: str) -> str:
    """Return how many of something there are, as people say it."""
    return f"{n} {one}{'' if n == 1 else 's'}"
