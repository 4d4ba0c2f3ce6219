"""Numbers with units: read exactly, refused clearly, never guessed."""

from __future__ import annotations

import math
from fractions import Fraction

import pint
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.units import KINDS, UnitProblem, normalise_unit, parse_quantity

READ = [
    ("100 nM", "concentration_nm", 100.0),
    ("100nM", "concentration_nm", 100.0),
    ("12 uM", "concentration_nm", 12000.0),
    ("12 \u00b5M", "concentration_nm", 12000.0),
    ("12 \u03bcM", "concentration_nm", 12000.0),
    ("0.3 mL", "volume_ul", 300.0),
    (".5 mL", "volume_ul", 500.0),
    ("1e-3 mL", "volume_ul", 1.0),
    ("2.5E3 uL", "volume_ul", 2500.0),
    ("60 uL / h", "flow_rate_ul_h", 60.0),
    ("1 uL/min", "flow_rate_ul_h", 60.0),
    ("0.006 %", "fraction", 6e-5),
    ("50%", "percent", 50.0),
    ("90 min", "time_h", 1.5),
    ("7 d", "time_h", 168.0),
    ("15 pg/mL", "mass_concentration_ng_ml", 0.015),
    ("1 ng/mL", "mass_concentration_pg_ml", 1000.0),
    ("0.33 cm\u00b2", "area_cm2", 0.33),
    ("100 \u03a9", "resistance_ohm", 100.0),
    ("80 \u2126\u00b7cm\u00b2", "area_resistance_ohm_cm2", 80.0),
    ("80 ohm*cm^2", "area_resistance_ohm_cm2", 80.0),
    ("37 \u00b0C", "temperature_c", 37.0),
    ("-20 \u00b0C", "temperature_c", -20.0),
    ("+5 mm", "length_mm", 5.0),
    ("15 kDa", "molar_mass_g_mol", 15000.0),
]


@pytest.mark.parametrize(("text", "kind", "value"), READ)
def test_a_number_with_an_allowed_unit_is_read_exactly(text: str, kind: str, value: float) -> None:
    assert parse_quantity(text, kind) == value


REFUSED = [
    ("1,5 mL", "volume_ul", "decimal comma", 'write "1.5 mL"'),
    ("1,500 mL", "volume_ul", "1.500 or 1500", '"1500 mL"'),
    ("1,000,000 uL", "volume_ul", "separators", "without a break"),
    ("1 000 uL", "volume_ul", "separators", "without a break"),
    ("1\u202f000 uL", "volume_ul", "separators", "without a break"),
    ("1'000 uL", "volume_ul", "separators", "without a break"),
    ("1_000 uL", "volume_ul", "separators", "without a break"),
    ("100", "concentration_nm", "has no unit", ""),
    ("100 nm", "concentration_nm", "is a length", 'did you mean "100 nM"?'),
    ("100 NM", "concentration_nm", "not a unit of concentration", 'did you mean "100 nM"?'),
    ("5 UL", "volume_ul", "not a unit of volume", 'did you mean "5 uL"?'),
    ("5 Nm", "concentration_nm", "not a unit", 'did you mean "5 nM"?'),
    ("5 mL", "flow_rate_ul_h", "is a volume", ""),
    ("37 C", "temperature_c", "not a unit of temperature", 'write "37 \u00b0C"'),
    ("37 degC", "temperature_c", "not a unit of temperature", 'write "37 \u00b0C"'),
    ("-5 uL/h", "flow_rate_ul_h", "below zero", ""),
    ("\u22125 \u00b0C", "temperature_c", "typographic minus", 'write "-"'),
    ("NaN mL", "volume_ul", "not a number", ""),
    ("inf mL", "volume_ul", "not a number", ""),
    ("1e400 mL", "volume_ul", "not a number", ""),
    ("9**9**9 nM", "concentration_nm", "not a unit", ""),
    ("1.5.3 mL", "volume_ul", "not a number", ""),
    ("", "volume_ul", "not a number", ""),
    ("mL", "volume_ul", "not a number", ""),
    ("\u0663 mL", "volume_ul", "not a number", ""),
    ("5 h h", "time_h", "not a unit of time", ""),
]


@pytest.mark.parametrize(("text", "kind", "message", "hint"), REFUSED)
def test_anything_else_is_refused_with_what_to_write(
    text: str, kind: str, message: str, hint: str
) -> None:
    with pytest.raises(UnitProblem) as refusal:
        parse_quantity(text, kind)
    assert message in refusal.value.message
    assert hint in refusal.value.hint


@pytest.mark.parametrize("value", [60, 0.5, None, True, ["1 mL"], {"a": 1}])
def test_what_is_no_text_is_refused_and_named(value: object) -> None:
    with pytest.raises(UnitProblem) as refusal:
        parse_quantity(value, "volume_ul")  # type: ignore[arg-type]
    assert "uL" in refusal.value.message


def test_a_hint_never_holds_a_quantity_that_is_itself_refused() -> None:
    with pytest.raises(UnitProblem) as refusal:
        parse_quantity("100 nm", "concentration_nm")
    assert parse_quantity(refusal.value.hint.split('"')[1], "concentration_nm") == 100.0


KIND_AND_UNIT = [(kind, unit) for kind, rule in KINDS.items() for unit in rule.units]
PINT_SPELLING = {"%": "percent", "°C": "kelvin", "L": "liter"}
PINT_CANONICAL = {
    "flow_rate_ul_h": "uL/h",
    "volume_ul": "uL",
    "volume_ml": "mL",
    "concentration_nm": "nM",
    "mass_concentration_ng_ml": "ng/mL",
    "mass_concentration_pg_ml": "pg/mL",
    "mass_ng": "ng",
    "time_h": "hour",
    "time_min": "minute",
    "percent": "percent",
    "fraction": "dimensionless",
    "length_mm": "mm",
    "wavelength_nm": "nm",
    "area_cm2": "cm**2",
    "resistance_ohm": "ohm",
    "area_resistance_ohm_cm2": "ohm*cm**2",
    "resistivity_ohm_cm": "ohm*cm",
    "frequency_hz": "Hz",
    "molar_mass_g_mol": "g/mol",
    "temperature_c": "kelvin",
    "pressure_mbar": "mbar",
}


@pytest.fixture(scope="module")
def registry() -> pint.UnitRegistry:
    return pint.UnitRegistry()


@pytest.mark.parametrize(("kind", "unit"), KIND_AND_UNIT)
def test_every_factor_is_the_one_of_pint(registry: pint.UnitRegistry, kind: str, unit: str) -> None:
    spelled = PINT_SPELLING.get(unit, unit).replace("cm2", "cm**2").replace("mm2", "mm**2")
    per_mole = {"Da": "g/mol", "kDa": "kg/mol"}
    spelled = per_mole.get(spelled, spelled).replace("/h", "/hour")
    spelled = {"h": "hour", "d": "day"}.get(spelled, spelled)
    expected = registry.Quantity(1.0, spelled).to(PINT_CANONICAL[kind]).magnitude
    assert math.isclose(float(KINDS[kind].units[unit]), expected, rel_tol=1e-12)


NUMBERS = st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False, places=6)
PLAIN = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@PLAIN
@given(number=NUMBERS, choice=st.sampled_from(KIND_AND_UNIT), space=st.sampled_from(["", " "]))
def test_every_plain_number_is_rounded_once(
    number: object, choice: tuple[str, str], space: str
) -> None:
    kind, unit = choice
    text = f"{number:f}"
    exact = Fraction(text) * KINDS[kind].units[unit]
    assert parse_quantity(f"{text}{space}{unit}", kind) == float(exact)


@PLAIN
@given(text=st.text(max_size=30), kind=st.sampled_from(sorted(KINDS)))
def test_any_text_is_read_as_a_finite_number_or_refused(text: str, kind: str) -> None:
    try:
        value = parse_quantity(text, kind)
    except UnitProblem as refusal:
        assert refusal.message
    else:
        assert math.isfinite(value)


@PLAIN
@given(
    whole=st.integers(0, 999),
    part=st.integers(0, 99),
    choice=st.sampled_from(KIND_AND_UNIT),
)
def test_a_decimal_comma_is_never_read(whole: int, part: int, choice: tuple[str, str]) -> None:
    kind, unit = choice
    with pytest.raises(UnitProblem) as refusal:
        parse_quantity(f"{whole},{part} {unit}", kind)
    assert f"{whole}.{part} {unit}" in refusal.value.hint


@PLAIN
@given(choice=st.sampled_from(KIND_AND_UNIT))
def test_a_unit_in_the_wrong_case_is_refused(choice: tuple[str, str]) -> None:
    kind, unit = choice
    swapped = unit.swapcase()
    if normalise_unit(swapped) in KINDS[kind].units:
        return
    with pytest.raises(UnitProblem):
        parse_quantity(f"5 {swapped}", kind)
