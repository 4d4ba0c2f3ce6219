"""Do the numbers of a Gen5 export agree with each other?

Belongs here: what repeats in the file. Not here: reading it (gen5).
Gen5 prints blank-subtracted values and means of groups beside the values that they are made of. A
column whose numbers were moved, or a number that was altered, contradicts them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.export import ExportRow

BLANK: Final = "BLK"
DIGITS: Final = 9
"""More digits than these are no rounding that a check could take into account."""


def check_blanks(rows: Sequence[ExportRow], name: str) -> None:
    """Raise FileNotValid where "Blank X" is not X less the mean of the blanks."""
    values = _values(rows)
    for label, wells in values.items():
        source = values.get(label.removeprefix("Blank "))
        if not label.startswith("Blank ") or source is None:
            continue
        blanks = [value for (sample, _), value in source.items() if sample == BLANK]
        if not blanks or not all(math.isfinite(value) for value in blanks):
            continue
        unit = _last_digit([*source.values(), *wells.values()])
        for key, value in wells.items():
            expected = source.get(key, math.nan) - fmean(blanks)
            if abs(value - expected) > 1.5000001 * unit:
                raise FileNotValid(
                    f"{name}: '{label}' of well {key[1]} is {value:g}, and the blanks of the plate "
                    f"give {expected:.4g}. Numbers were moved or altered; the export contradicts "
                    "itself."
                )


def check_group_means(rows: Sequence[ExportRow], name: str) -> None:
    """Raise FileNotValid where "meanX" is not the mean of X over the wells of one name."""
    values = _values(rows)
    folded = {label.casefold(): label for label in values}
    for label, wells in values.items():
        source = folded.get(label.casefold().removeprefix("mean").strip())
        if not label.casefold().startswith("mean") or source is None:
            continue
        unit = _last_digit([*values[source].values(), *wells.values()])
        groups: dict[str, list[float]] = {}
        for (sample, _), value in values[source].items():
            groups.setdefault(sample, []).append(value)
        for (sample, well), value in wells.items():
            expected = fmean(groups[sample])
            if sample and abs(value - expected) > 1.0000001 * unit:
                raise FileNotValid(
                    f"{name}: '{label}' of well {well} is {value:g}, and the wells of {sample} "
                    f"give {expected:.4g}. Numbers were moved or altered; the export contradicts "
                    "itself."
                )


def _values(rows: Sequence[ExportRow]) -> dict[str, dict[tuple[str, str], float]]:
    """Return label -> (sample, well) -> value of the results."""
    values: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        one = row.readout
        if row.statistic == "Results":
            values.setdefault(one.analyte, {})[one.sample, one.well] = one.value
    return values


def _last_digit(values: Sequence[float]) -> float:
    """Return the unit of the last digit that is printed: the coarsest that all values fit."""
    finite = [value for value in values if math.isfinite(value)]
    for digits in range(DIGITS):
        if all(math.isclose(value, round(value, digits), abs_tol=1e-9) for value in finite):
            return 10.0**-digits
    return 10.0**-DIGITS
