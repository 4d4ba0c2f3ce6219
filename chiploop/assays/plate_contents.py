"""What stands in the wells of an assay plate, for each analyte: by a layout, and where it differs.

Belongs here: the content of a well as assays take it, from a layout, and a layout laid over what a file
says itself. Not here: reading a layout (plate_layout), what a file says (export_contents), signals.

A layout stands above the file. Where both name a role, a concentration or a dilution of a well and do not
agree, the layout is taken and the difference is told.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from chiploop.assays.plate_layout import PlateLayout, Role
from chiploop.errors import FileNotValid
from chiploop.units import UnitProblem, parse_quantity

LAYOUT_UNIT: Final = "pg/mL"
MASS: Final = "mass_concentration_pg_ml"
UNKNOWN_UNITS: Final = frozenset({"", "as exported"})
SHOWN: Final = 4
"""Wells named in one note; the others are counted."""


@dataclass(frozen=True)
class WellContent:
    """What stands in one well, as one analyte sees it."""

    role: Role
    sample: str = ""
    series: str = ""
    """Name of the sample without its dilution: ``SPL1`` of ``SPL1:2``; empty where ``sample`` is it."""
    concentration: float | None = None
    """Of a standard or control, in the sample; 0 in a blank; None where nobody says it."""
    unit: str = ""
    """Of the concentration."""
    dilution: float = 1.0
    """Times that the sample was diluted before it went into the well."""
    is_anchor: bool = False
    """A standard outside of the range, which helps the curve and is not judged."""


Contents = dict[str, dict[str, WellContent]]
"""Analyte -> well -> content. Wells of which nothing is known are left out."""


def contents_of_layout(layout: PlateLayout) -> dict[str, WellContent]:
    """Return well -> content of a plate that a person laid out; the same for every analyte.

    A sample is called by its name, else by its chip and time.
    """
    found = {}
    for one in layout.contents:
        named = one.sample
        if not named and one.chip:
            named = one.chip if one.time_h is None else f"{one.chip} {one.time_h:g} h"
        found[one.well] = WellContent(
            one.role,
            named,
            "",
            one.concentration_pg_ml,
            "" if one.concentration_pg_ml is None else LAYOUT_UNIT,
            one.dilution,
            one.is_anchor,
        )
    return found


def laid_over(
    of_file: Mapping[str, Mapping[str, WellContent]],
    layout: Mapping[str, WellContent],
    analytes: Collection[str],
) -> tuple[Contents, tuple[str, ...]]:
    """Return contents with a layout's in place of the file's, and where they do not agree.

    Raises
    ------
    FileNotValid : concentrations of the file without a unit beside others in the layout's.
    """
    found: Contents = {}
    differ: dict[str, list[str]] = {}
    for analyte in analytes:
        of_analyte = dict(of_file.get(analyte, {}))
        agreed = True
        for well, asked in layout.items():
            told = of_analyte.get(well)
            if told is not None:
                for said in differences(told, asked):
                    differ.setdefault(said, []).append(well)
                    agreed = agreed and "concentration" not in said
                asked = _completed(asked, told)
            of_analyte[well] = asked
        found[analyte] = _one_unit(of_analyte, layout, agreed, analyte)
    notes = tuple(
        f"{said}, in {some_wells(list(dict.fromkeys(wells)))}; the layout is taken"
        for said, wells in differ.items()
    )
    return found, notes


def differences(told: WellContent, asked: WellContent) -> list[str]:
    """Return what a file and a layout say differently of one well."""
    said = []
    if told.role != asked.role:
        return [f"the layout says {asked.role}, the file {told.role}"]
    if None not in (told.concentration, asked.concentration):
        ours, theirs = in_pg_ml(asked), in_pg_ml(told)
        # A unit that the file does not name is taken to be the layout's.
        if not math.isclose(ours, theirs, rel_tol=1e-3, abs_tol=1e-12):
            unit = "" if told.unit in UNKNOWN_UNITS else f" {told.unit}"
            said.append(
                f"concentration {asked.concentration:g} {asked.unit} in the layout, "
                f"{told.concentration:g}{unit} in the file"
            )
    if asked.role in ("sample", "control") and not math.isclose(told.dilution, asked.dilution):
        said.append(f"dilution {asked.dilution:g} in the layout, {told.dilution:g} in the file")
    return said


def in_pg_ml(content: WellContent) -> float:
    """Return a concentration in pg/mL, or its bare number where its unit is no mass per volume."""
    value = content.concentration
    assert value is not None
    factor = factor_to_pg_ml(content.unit)
    return value if factor is None else value * factor


def factor_to_pg_ml(unit: str) -> float | None:
    """Return how many pg/mL a unit is; None for a unit that is none of mass per volume."""
    if unit in UNKNOWN_UNITS:
        return None
    try:
        return parse_quantity(f"1 {unit}", MASS)
    except UnitProblem:
        return None


def _completed(asked: WellContent, told: WellContent) -> WellContent:
    """Return the layout's content with what only the file knows."""
    if asked.role != told.role:
        return asked
    concentration, unit = asked.concentration, asked.unit
    if concentration is None:
        concentration, unit = told.concentration, told.unit
    return replace(
        asked,
        sample=asked.sample or told.sample,
        series=asked.series or ("" if asked.sample else told.series),
        concentration=concentration,
        unit=unit,
    )


def _one_unit(
    contents: dict[str, WellContent], layout: Mapping[str, WellContent], agreed: bool, analyte: str
) -> dict[str, WellContent]:
    """Return contents whose concentrations all have one unit."""
    known = {w: one for w, one in contents.items() if one.concentration}
    if len({one.unit for one in known.values()}) < 2:
        return contents
    said_twice = any(w in layout and layout[w].concentration for w in known)
    for well, one in known.items():
        if one.unit == LAYOUT_UNIT:
            continue
        factor = factor_to_pg_ml(one.unit)
        if factor is None and one.unit in UNKNOWN_UNITS and agreed and said_twice:
            factor = 1.0
        if factor is None:
            raise FileNotValid(
                f"{analyte}: the concentration of well {well} has the unit "
                f"'{one.unit or 'not named'}' in the file, and the layout has {LAYOUT_UNIT}; name "
                "all standards and controls in the layout"
            )
        assert one.concentration is not None
        contents[well] = replace(one, concentration=one.concentration * factor, unit=LAYOUT_UNIT)
    return contents


def some_wells(wells: list[str]) -> str:
    """Return the first wells of a list by name, and how many more there are."""
    more = len(wells) - SHOWN
    return ", ".join(wells[:SHOWN]) + (f" and {more} more wells" if more > 0 else "")
