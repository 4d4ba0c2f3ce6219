"""One plate as a person looks at it before leaving wells out: what was read, what came of it, who left what out.

Belongs here: reading the record into plain values. Not here: markup, the exclusion itself (a command), the curve
(drawn by report.signal_parts in a process of its own).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chiploop.measurement import Measurement, Readout
from chiploop.record.record import Record
from chiploop.record.unexplained import LEFT_OUT, as_fitted
from chiploop.record.well_exclusions import WellExclusion, wells_left_out
from chiploop.review.run_view import digits, value_of

ROWS, COLUMNS = "ABCDEFGH", range(1, 13)
SHADES = 6
"""Steps of the picture, by the signal."""
MARKS = {
    "standard": "S",
    "blank": "B",
    "max_release": "M",
    "spontaneous": "R",
    "untreated": "U",
    "dead": "X",
}
"""Role of a well that no chip has -> its letter in the picture."""
ROLE_WORDS = {
    "S": "standard",
    "B": "blank",
    "M": "complete release",
    "R": "spontaneous release",
    "U": "untreated",
    "X": "dead",
}


@dataclass(frozen=True)
class WellView:
    """One well."""

    well: str
    holds: str
    """Letter of a control, or the chip; empty for an empty well."""
    signal: str
    shade: int
    """0 for the lowest to ``SHADES`` - 1; -1 where there is no number."""
    told: str
    """Everything that is on record of it, in one line."""
    is_out: bool


@dataclass(frozen=True)
class PlateReading:
    """What came of the plate for one chip."""

    chip: str
    readout: str
    time_h: float
    value: str
    spread: str
    n: int
    wells: str
    qc: str
    reasons: str


@dataclass(frozen=True)
class PlateView:
    """A plate with everything that was read from it."""

    plate: str
    readout: str
    cycle: int
    unit: str
    """Of the signal that is shown, with its wavelength."""
    rows: tuple[tuple[str, tuple[WellView, ...]], ...]
    wells: frozenset[str]
    """Those in which something stood."""
    letters: tuple[tuple[str, str], ...]
    """Letter -> what it means, of those on this plate."""
    readings: tuple[PlateReading, ...]
    said: tuple[WellExclusion, ...]
    """What persons left out or took in again, in order."""
    any_out: bool


def one_plate(record: Record, run_id: str, plate: str) -> PlateView | None:
    """Return a plate of a run; None where nothing was read from one of that name."""
    known = as_fitted(record.readouts(run_id), record.events(run_id, LEFT_OUT))
    readouts = [one for one in known if one.plate == plate]
    rows = [one for one in record.measurements(run_id, plate) if one.well]
    if not readouts or not rows:
        return None
    said = tuple(one for one in record.well_exclusions(run_id) if one.plate == plate)
    raw = [one for one in rows if one.stage == "raw"]
    kit = record.study_content(run_id).get("assays", {}).get(readouts[0].readout, {}).get("kit", {})
    wavelength = f" {round(kit['wavelength_nm'])} nm" if kit.get("wavelength_nm") else ""
    names = list(dict.fromkeys(one.quantity for one in raw))
    shown = next((name for name in names if name.endswith(wavelength)), names[0])
    wells = wells_of(rows, shown, wells_left_out(said, plate))
    used = {one.holds for one in wells.values()}
    return PlateView(
        plate,
        readouts[0].readout,
        readouts[0].cycle,
        f"{shown}, {raw[0].unit}",
        tuple(
            (
                row,
                tuple(
                    wells.get(f"{row}{column}", WellView(f"{row}{column}", "", "", -1, "", False))
                    for column in COLUMNS
                ),
            )
            for row in ROWS
        ),
        frozenset(wells),
        tuple((letter, word) for letter, word in ROLE_WORDS.items() if letter in used),
        tuple(reading(one) for one in readouts),
        said,
        any(one.is_out for one in wells.values()),
    )


def wells_of(
    rows: Iterable[Measurement], shown: str, out: Mapping[str, str]
) -> dict[str, WellView]:
    """Return well -> how it is shown, by its row of one wavelength and what it is worth."""
    of_wells: dict[str, list[Measurement]] = {}
    for row in rows:
        of_wells.setdefault(row.well, []).append(row)
    signals = {
        well: next((r.value for r in own if r.quantity == shown), math.nan)
        for well, own in of_wells.items()
    }
    known = [one for one in signals.values() if math.isfinite(one)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    found = {}
    for well, own in of_wells.items():
        first, signal = own[0], signals[well]
        part = (signal - low) / (high - low) if high > low else 0.0
        shade = min(SHADES - 1, int(SHADES * part)) if math.isfinite(signal) else -1
        told = [f"{well}: {first.chip_id or first.role}"]
        told += [f"{r.quantity} {number(r)}" for r in own]
        told += dict.fromkeys(reason for r in own for reason in r.reasons)
        holds = first.chip_id or MARKS.get(first.role, first.role)
        found[well] = WellView(
            well,
            holds,
            digits(signal) if math.isfinite(signal) else "–",
            shade,
            "; ".join(told),
            well in out,
        )
    return found


def number(row: Measurement) -> str:
    """Return a row's number with its unit."""
    unit = "" if row.unit in ("", "1") else f" {row.unit}"
    if row.censoring == "left":
        return f"below {digits(row.upper)}{unit}"
    if row.censoring == "right":
        return f"above {digits(row.lower)}{unit}"
    return f"{digits(row.value)}{unit}" if math.isfinite(row.value) else "none"


def reading(one: Readout) -> PlateReading:
    """Return a readout of the plate as its row."""
    spread = "–"
    if math.isfinite(one.sd) and math.isfinite(one.value):
        spread = f"{100.0 * one.sd:.2g} %" if one.scale == "log" else digits(one.sd)
    return PlateReading(
        one.chip_id,
        one.readout,
        one.time_h,
        "none" if one.censoring == "none" and not math.isfinite(one.value) else value_of(one),
        spread,
        one.n,
        ", ".join(one.wells),
        one.qc,
        "; ".join(one.reasons),
    )
