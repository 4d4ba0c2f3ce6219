"""A CSV of receiver and donor readings over time, and one of standards, as runs to be fitted.

Belongs here: columns, replicates, signals to concentrations, what is wrong with its line. Not here:
the fit (permeability_fit). Columns are known by name and carry their unit:

    insert,time_min,receiver,donor,receiver_dilution,donor_dilution,removed_ul,replaced_ul
    A1,0,,9800,,100,,
    A1,30,152,,1,,100,100

``time_h`` or ``time_min``, and ``receiver``, must be there; ``start_h`` or ``start_min`` begins the
collection window of a perfused receiver. An empty cell was not read. Rows of one insert and time are
replicate wells of one sample. The donor at time 0 is its start, at the last time its end.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chiploop.assays.csv_rows import bytes_of, number_in, rows_of
from chiploop.assays.permeability import TracerRun
from chiploop.assays.permeability_fit import Donor, ReceiverSamples, Transport
from chiploop.assays.tracer_curve import TracerCurve, TracerNoise, tracer_curve
from chiploop.assays.tracer_transport import PerfusedTransport, StaticTransport
from chiploop.errors import FileNotValid
from chiploop.exports.decoding import decode

COLUMNS = (
    "insert", "time_h", "time_min", "start_h", "start_min", "receiver", "donor",
    "receiver_dilution", "donor_dilution", "removed_ul", "replaced_ul",
)  # fmt: skip
STANDARD_COLUMNS = ("concentration", "signal")


@dataclass(frozen=True)
class Setup:
    """What a person states of all inserts of a file."""

    area_cm2: float
    donor_ul: float
    """inf where the donor is perfused."""
    receiver_ul: float
    removed_ul: float = 0.0
    """By each sample, where the file has no column for it."""
    replaced_ul: float = 0.0
    flow_rate_ul_h: float | None = None
    """Of a perfused receiver."""
    dead_volume_ul: float = 0.0
    donor_concentration: float | None = None
    """At the start, where it was not read."""
    donor_sd: float = 0.0
    """Relative, of stock and dilution, beyond the wells' scatter."""
    free_dye: float | None = None


@dataclass(frozen=True)
class PermeabilityTable:
    """A file, read to its last row."""

    file: str
    sha256: str
    runs: tuple[TracerRun, ...]
    """In the order of the file."""


@dataclass(frozen=True)
class _Row:
    line: int
    time_h: float
    start_h: float | None
    values: Mapping[str, float]
    """Column -> number, without empty cells."""


def read_standards(
    path: Path, unit: str, noise: TracerNoise | None = None, code_page: str | None = None
) -> TracerCurve:
    """Return the line of a CSV with the columns ``concentration`` and ``signal``.

    Raises
    ------
    FileNotValid : a missing column, a cell that is no number, standards that make no line.
    """
    header, rows = rows_of(decode(bytes_of(path), path.name, code_page).text, path.name)
    for name in STANDARD_COLUMNS:
        if name not in header:
            raise FileNotValid(
                f"{path.name}, line 1: there is no column '{name}' (read: {', '.join(header)}); "
                "standards need 'concentration', 0 for the background, and 'signal'"
            )
    points = [
        [
            number_in(cells[header.index(name)], f"{path.name}, line {number + 1}", name)
            for name in STANDARD_COLUMNS
        ]
        for number, cells in rows
    ]
    for (number, _), (concentration, _) in zip(rows, points, strict=True):
        if concentration < 0.0:
            raise FileNotValid(
                f"{path.name}, line {number + 1}, column 'concentration': {concentration:g} is below 0; "
                "allowed are 0 (the background) and more"
            )
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    try:
        return tracer_curve(x, y, unit, noise)
    except ValueError as trouble:
        raise FileNotValid(f"{path.name}: {trouble}") from None


def read_permeability_table(
    path: Path, setup: Setup, curve: TracerCurve | None = None, code_page: str | None = None
) -> PermeabilityTable:
    """Return the runs of a file; with a curve its readings are signals, else concentrations.

    Raises
    ------
    FileNotValid : with file, line and column where there is one.
    """
    data = bytes_of(path)
    header, rows = rows_of(decode(data, path.name, code_page).text, path.name)
    strange = [name for name in header if name not in COLUMNS]
    if strange:
        raise FileNotValid(
            f"{path.name}, line 1: column '{strange[0]}' is not known; allowed are {', '.join(COLUMNS)}"
        )
    time, per_hour = _time_column(header, "time", path.name, needed=True)
    start, _ = _time_column(header, "start", path.name, needed=setup.flow_rate_ul_h is not None)
    if "receiver" not in header:
        raise FileNotValid(f"{path.name}, line 1: there is no column 'receiver'; it is needed")
    inserts: dict[str, list[_Row]] = {}
    for number, cells in rows:
        at = f"{path.name}, line {number + 1}"
        read = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        insert = read.pop("insert", "")
        if "insert" in header and not insert:
            raise FileNotValid(f"{at}, column 'insert': the cell is empty; name the insert")
        values = {name: number_in(cell, at, name) for name, cell in read.items() if cell}
        if time not in values:
            raise FileNotValid(f"{at}, column '{time}': the cell is empty; a time is needed")
        _check_cells(values, at)
        began = values.get(start) if start else None
        row = _Row(
            number + 1, values[time] / per_hour,
            began / (60.0 if start.endswith("min") else 1.0) if began is not None else None, values,
        )  # fmt: skip
        inserts.setdefault(insert or "insert", []).append(row)
    if not inserts:
        raise FileNotValid(f"{path.name}: there is no row below the header; samples are needed")
    runs = tuple(_run(name, own, setup, curve, path.name) for name, own in inserts.items())
    return PermeabilityTable(path.name, hashlib.sha256(data).hexdigest(), runs)


def _time_column(header: Sequence[str], name: str, file: str, needed: bool) -> tuple[str, float]:
    """Return the column of a time and how many of its units make an hour; empty where there is none."""
    found = [one for one in (f"{name}_h", f"{name}_min") if one in header]
    if len(found) > 1 or (needed and not found):
        read = " and ".join(found) or "neither"
        raise FileNotValid(
            f"{file}, line 1: one column '{name}_h' or '{name}_min' is needed, read {read}"
        )
    return (found[0], 60.0 if found[0].endswith("min") else 1.0) if found else ("", 1.0)


def _check_cells(values: Mapping[str, float], at: str) -> None:
    for name, least in (
        ("time_h", 0.0), ("time_min", 0.0), ("start_h", 0.0), ("start_min", 0.0),
        ("removed_ul", 0.0), ("replaced_ul", 0.0), ("receiver_dilution", 1.0), ("donor_dilution", 1.0),
    ):  # fmt: skip
        if values.get(name, least) < least:
            raise FileNotValid(
                f"{at}, column '{name}': read {values[name]:g}; allowed are {least:g} and more"
            )


def _run(
    name: str, rows: list[_Row], setup: Setup, curve: TracerCurve | None, file: str
) -> TracerRun:
    said = f"{file}, insert '{name}'"
    sampled = sorted({row.time_h for row in rows if "receiver" in row.values})
    if not sampled:
        raise FileNotValid(f"{said}: no reading of the receiver")
    by_time = [[r for r in rows if r.time_h == t and "receiver" in r.values] for t in sampled]
    means, wells, leans, reasons = [], [], [], []
    for own in by_time:
        concentration, lean, beyond = _mean(own, "receiver", curve)
        if beyond:
            reasons.append(f"{own[0].time_h:.3g} h: {beyond}; left out")
        means.append(concentration)
        wells.append(len(own))
        leans.append(lean)
    try:
        transport = _transport(sampled, by_time, setup, said)
    except ValueError as trouble:
        raise FileNotValid(f"{said}: {trouble}") from None
    donor, told = _donor([r for r in rows if r.time_h == 0.0], setup, curve, said)
    reasons += told
    late = [r for r in rows if r.time_h == sampled[-1] and "donor" in r.values]
    donor_end = None
    if late and sampled[-1] > 0.0:
        left, lean, beyond = _mean(late, "donor", curve)
        if beyond:
            reasons.append(f"donor at the end: {beyond}; no mass balance")
        else:
            donor_end = Donor(left, 0.0, len(late), lean)
    low = [m for m in means if curve is not None and m < curve.detection_limit]
    if curve is not None and len(low) > len(means) // 2:
        reasons.append(
            f"{len(low)} of {len(means)} samples lie below the curve's limit of detection, "
            f"{curve.detection_limit:.3g} {curve.unit}".rstrip()
        )
    if curve is not None:
        reasons += curve.reasons
    return TracerRun(
        name, transport,
        ReceiverSamples(
            np.array(means), np.array(wells), np.array(leans) if curve is not None else np.zeros((0, 0))
        ),
        donor, setup.area_cm2, donor_end, setup.free_dye, tuple(reasons),
    )  # fmt: skip


def _mean(
    rows: list[_Row], column: str, curve: TracerCurve | None
) -> tuple[float, tuple[float, ...], str]:
    """Return the mean concentration, what it leans on the curve, and why there is none."""
    signal = np.array([row.values[column] for row in rows])
    dilution = np.array([row.values.get(f"{column}_dilution", 1.0) for row in rows])
    if curve is None:
        return float(np.mean(signal * dilution)), (), ""
    if np.any(curve.is_beyond(signal)):
        return (
            math.nan, (0.0, 0.0),
            f"signal {signal.max():g} is above the straight part of the curve (up to {curve.linear_to:g} "
            f"{curve.unit}".rstrip() + "): dilute and read again",
        )  # fmt: skip
    leans = np.mean(curve.leans(curve.concentration(signal), dilution), axis=0)
    value = float(np.mean(curve.concentration(signal, dilution)))
    return value, tuple(float(one) for one in leans), ""


def _donor(
    rows: list[_Row], setup: Setup, curve: TracerCurve | None, said: str
) -> tuple[Donor, list[str]]:
    read = [row for row in rows if "donor" in row.values]
    if not read:
        if setup.donor_concentration is None:
            raise FileNotValid(
                f"{said}: the donor was not read at time 0 and its concentration is not stated; one of "
                "both is needed"
            )
        told = [] if setup.donor_sd else ["the donor's concentration is taken as exact"]
        sd = setup.donor_sd * setup.donor_concentration
        return Donor(setup.donor_concentration, sd), told
    value, leans, beyond = _mean(read, "donor", curve)
    if beyond:
        raise FileNotValid(f"{said}, line {read[0].line}, column 'donor': {beyond}")
    if not value > 0.0:
        raise FileNotValid(
            f"{said}, line {read[0].line}, column 'donor': {value:.3g} at time 0; allowed is a donor "
            "above the background"
        )
    return Donor(value, setup.donor_sd * value, len(read), leans), []


def _transport(
    sampled: list[float], by_time: list[list[_Row]], setup: Setup, said: str
) -> Transport:
    ends = np.array(sampled)
    if setup.flow_rate_ul_h is not None:
        starts = []
        for own in by_time:
            begun = {row.start_h for row in own}
            if len(begun) > 1 or None in begun:
                raise FileNotValid(
                    f"{said}, line {own[0].line}: a collection window has one start; read "
                    f"{'none' if None in begun else len(begun)}"
                )
            starts.append(own[0].start_h)
        return PerfusedTransport(
            np.array(starts, dtype=float), ends, setup.flow_rate_ul_h, setup.donor_ul,
            setup.receiver_ul, setup.dead_volume_ul,
        )  # fmt: skip
    volumes = {}
    for column, usual in (("removed_ul", setup.removed_ul), ("replaced_ul", setup.replaced_ul)):
        # Of one sample its wells say the same volume, or one of them does.
        stated = [[r.values[column] for r in own if column in r.values] for own in by_time]
        volumes[column] = np.array([max(own) if own else usual for own in stated])
    return StaticTransport(
        ends, setup.donor_ul, setup.receiver_ul, volumes["removed_ul"], volumes["replaced_ul"]
    )
