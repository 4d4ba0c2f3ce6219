"""Is this export of this plate, the right way round? By barcode, and by where blanks and standards are.

Belongs here: comparing an export with a layout. Not here: reading either (exports, plate_layout). What
is found is told and never set right: a plate that was read turned round is read again.

Positions can tell only what the layout makes unlike: two plates whose standards stand in the same wells
are told apart by their barcodes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.stats import rankdata

from chiploop.assays.plate_layout import PlateLayout
from chiploop.exports.export import Export
from chiploop.exports.wells import PLATE_SHAPES, well_index, well_name

Direction = Literal["rising", "falling"]
FITS: Final = 0.8
"""Rank correlation of signal and concentration from which on standards and blanks are where the layout
has them. Two neighbouring levels of eight exchanged still reach 0.97; wells in random order reach 0.8
in 1.1 % of draws with eight of them and 0.015 % with sixteen."""
FEWEST: Final = 4
"""Blanks and standards with a signal; fewer say nothing."""
TURNS: Final[dict[str, Callable[[int, int, int, int], tuple[int, int]]]] = {
    "turned by 180 degrees (A1 is the last well)": lambda i, j, n, m: (n - 1 - i, m - 1 - j),
    "mirrored left to right": lambda i, j, n, m: (i, m - 1 - j),
    "mirrored top to bottom": lambda i, j, n, m: (n - 1 - i, j),
}
"""What happened -> (row, column, rows, columns) to where that well was read."""


@dataclass(frozen=True)
class PlateVerdict:
    """Whether an export may be used for a layout."""

    problems: tuple[str, ...]
    """Why it goes into quarantine; empty for a good one."""
    correlation: float
    """Of signal and concentration over blanks and standards; NaN where too few were read."""
    notes: tuple[str, ...] = ()
    """What could not be checked."""


def plate_signal(export: Export, plate: str, statistic: str, analyte: str) -> dict[str, float]:
    """Return well -> number of one table of an export; wells without a number are left out."""
    return {
        row.readout.well: row.readout.value
        for row in export.rows
        if (row.plate, row.statistic, row.readout.analyte) == (plate, statistic, analyte)
        and row.readout.well
        and math.isfinite(row.readout.value)
    }


SIGNALS: Final = {
    "softmax_pro": "Raw",
    "luminex_xponent": "Median",
    "luminex_intelliflex": "MEDIAN",
    "msd_workbench": "Signal",
    "msd_methodical_mind": "Data",
    "gen5": "Results",
    "bioplex_manager": "Reading",
    "bmg_mars": "Raw",
    "magellan": "Results",
}
"""Format -> its table of raw signals; SkanIt names its sheets itself, all of them are signals."""
RAW_UNITS: Final = frozenset({"OD", "RFU", "RLU", "MFI", "counts", "as exported"})


def check_export(
    export: Export, layout: PlateLayout, direction: Direction = "rising"
) -> dict[str, PlateVerdict]:
    """Return analyte -> verdict for the plate of an export that a layout is of.

    The plate is the only one of the file, or the one with the layout's barcode or name. A key of ""
    holds the problem of a file that has no such plate.
    """
    plates = [
        plate
        for plate in export.plates
        if len(export.plates) == 1
        or plate.name == layout.name
        or (layout.barcode and plate.barcode == layout.barcode)
    ]
    if len(plates) != 1:
        named = ", ".join(f"'{plate.name}'" for plate in export.plates)
        problem = f"the file holds {named}, the layout is of '{layout.barcode or layout.name}'"
        return {"": PlateVerdict((problem,), math.nan)}
    plate = plates[0]
    table = SIGNALS.get(export.format)
    analytes = {
        (row.statistic, row.readout.analyte): None
        for row in export.rows
        if row.plate == plate.name
        and row.statistic == (table or row.statistic)
        and row.readout.unit in RAW_UNITS
        and row.readout.analyte != "[Concentration]"
    }
    return {
        analyte: check_plate(
            plate_signal(export, plate.name, statistic, analyte),
            layout,
            plate.wells,
            plate.barcode,
            direction,
        )
        for statistic, analyte in analytes
    }


def check_plate(
    signal: Mapping[str, float],
    layout: PlateLayout,
    plate_wells: int,
    barcode: str = "",
    direction: Direction = "rising",
) -> PlateVerdict:
    """Return whether a plate's signal fits its layout.

    Parameters
    ----------
    signal : well -> signal, as `plate_signal` gives it.
    plate_wells, barcode : as the export declares them.
    direction : ``falling`` for a competitive assay, where more analyte gives less signal.
    """
    problems: list[str] = []
    notes: list[str] = []
    if plate_wells != layout.wells:
        problems.append(f"the export is of {plate_wells} wells, the layout of {layout.wells}")
        return PlateVerdict(tuple(problems), math.nan)
    if layout.barcode and barcode and layout.barcode != barcode:
        problems.append(f"barcode {barcode} in the export, {layout.barcode} in the layout")
    elif not (layout.barcode and barcode):
        notes.append("no barcode on both sides: another plate with this layout would not be seen")
    unread = [one.well for one in layout.contents if one.role != "empty" and one.well not in signal]
    if unread:
        problems.append(f"{len(unread)} wells of the layout have no number: {_some(unread)}")
    found = correlation(signal, layout, direction)
    if math.isnan(found):
        notes.append("too few blanks and standards to tell a plate that was turned or exchanged")
    elif found < FITS:
        turns = [
            name
            for name, turn in TURNS.items()
            if correlation(_turned(signal, layout.wells, turn), layout, direction) >= FITS
        ]
        told = f"the plate looks {turns[0]}" if turns else "is it another plate or layout?"
        problems.append(
            f"signal and concentration of blanks and standards correlate by {found:.2f} (at least "
            f"{FITS} is needed): {told}"
        )
    return PlateVerdict(tuple(problems), found, tuple(notes))


def exchanged_plates(
    signals: Mapping[str, Mapping[str, float]],
    layouts: Mapping[str, PlateLayout],
    direction: Direction = "rising",
) -> dict[str, tuple[str, ...]]:
    """Return plate -> the other layouts that its signal fits, for plates that do not fit their own.

    Parameters
    ----------
    signals, layouts : by plate, under the same names.
    """
    found = {}
    for name, signal in signals.items():
        if correlation(signal, layouts[name], direction) < FITS:
            found[name] = tuple(
                other
                for other, layout in layouts.items()
                if other != name and correlation(signal, layout, direction) >= FITS
            )
    return found


def correlation(
    signal: Mapping[str, float], layout: PlateLayout, direction: Direction = "rising"
) -> float:
    """Return the rank correlation of signal and concentration; NaN where too few wells have both."""
    known = [
        (one.concentration_pg_ml, signal[one.well])
        for one in layout.contents
        if one.role in ("blank", "standard")
        and one.concentration_pg_ml is not None
        and one.well in signal
    ]
    if len(known) < FEWEST or len({level for level, _ in known}) < 2:
        return math.nan
    ranks = [rankdata([pair[k] for pair in known]) for k in (0, 1)]
    if np.ptp(ranks[1]) == 0.0:
        return 0.0
    rho = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    return rho if direction == "rising" else -rho


def _turned(
    signal: Mapping[str, float],
    wells: int,
    turn: Callable[[int, int, int, int], tuple[int, int]],
) -> dict[str, float]:
    rows, columns = PLATE_SHAPES[wells]
    turned = {}
    for well, value in signal.items():
        place = well_index(well)
        if place is not None:
            turned[well_name(*turn(*place, rows, columns))] = value
    return turned


def _some(wells: list[str]) -> str:
    return ", ".join(wells[:6]) + (f" and {len(wells) - 6} more" if len(wells) > 6 else "")
