"""Layouts of plates as the assays' maps, and maps as layouts.

Belongs here: the two ways to say what stands in a well, turned into each other. Not here: files of layouts
(plate_layout), laying a plate out (plate_map).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from chiploop.assays.plate_layout import LayoutWell, PlateLayout
from chiploop.assays.plate_map import PlateMap, PlateWell
from chiploop.errors import FileNotValid

SAME_TIME_H = 0.01
PLATE_WELLS = 96


def layout_of(plate_map: PlateMap, name: str = "", barcode: str = "") -> PlateLayout:
    """Return a map as the layout of a 96-well plate."""
    counts: Counter[object] = Counter()
    contents = []
    for one in plate_map:
        key = (one.kind, one.concentration, one.chip, one.window_h, one.dilution)
        counts[key] += 1
        contents.append(
            LayoutWell(
                one.well,
                one.kind if one.kind != "image" else "empty",  # a place of a chip is no well
                one.chip or "",
                one.concentration,
                one.dilution,
                counts[key],
                one.chip or "",
                one.window_h[1] if one.window_h else None,
            )
        )
    return PlateLayout(name, barcode, PLATE_WELLS, tuple(contents))


def map_of(
    layout: PlateLayout, chips: Sequence[str], windows_h: Sequence[tuple[float, float]]
) -> PlateMap:
    """Return a layout as the map that the assays take.

    Parameters
    ----------
    chips : of the study; a sample names one of them.
    windows_h : windows in which effluent was collected; a sample's time is the end of one of them, and may be
        left out where there is one alone.

    Raises
    ------
    FileNotValid : naming every well that has no place in a map.
    """
    problems: list[str] = []
    if layout.wells != PLATE_WELLS:
        problems.append(f"the layout is of {layout.wells} wells; maps are of {PLATE_WELLS}")
    wells = []
    for one in layout.contents:
        if one.role == "empty":
            continue
        if one.role == "control":
            problems.append(f"{one.well}: controls have no place in the map of an assay yet")
            continue
        window_h = None
        if one.role == "sample":
            window_h = _window(one, windows_h)
            if one.chip not in chips:
                problems.append(f"{one.well}: chip {one.chip or 'missing'!r}; {', '.join(chips)}")
            if window_h is None:
                ends = ", ".join(f"{end:g} h" for _, end in windows_h)
                told = "no time" if one.time_h is None else f"time {one.time_h:g} h"
                problems.append(f"{one.well}: {told}; effluent was collected until {ends}")
        if not problems:
            wells.append(
                PlateWell(
                    one.well,
                    one.role,
                    one.concentration_pg_ml,
                    one.chip or None,
                    window_h,
                    one.dilution,
                )
            )
    if problems:
        told = "".join(f"\n  {problem}" for problem in problems)
        raise FileNotValid(f"the layout {layout.name or layout.barcode} can not be used:{told}")
    return tuple(wells)


def _window(
    one: LayoutWell, windows_h: Sequence[tuple[float, float]]
) -> tuple[float, float] | None:
    if one.time_h is None:
        return windows_h[0] if len(windows_h) == 1 else None
    near = [w for w in windows_h if math.isclose(w[1], one.time_h, abs_tol=SAME_TIME_H)]
    return near[0] if len(near) == 1 else None
