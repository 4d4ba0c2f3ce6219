"""Dose-response tables as GraphPad Prism takes them: dose in X, the chips side by side, one data set per donor.

Belongs here: which readings stand in which cell, and how a cell is marked. Not here: the files (prism_files), what
was read (record), what a dose was (report.dose_tables gives it).

A table is of one readout and one drug. A row is one exposure of one dose, a column one chip; a chip's cell is its
last reading of that exposure that was taken under stimulus. A value that is not to be fitted has an asterisk
behind it, the mark by which Prism keeps a value and leaves it out: one that failed, one that a person excluded,
one that a fit left out, and the bound of a censored one, which is no value at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chiploop.measurement import Readout
from chiploop.record.exclusions import is_excluded
from chiploop.record.unexplained import left_out_by
from chiploop.study import Study

LEFT_OUT = "*"
"""Behind a number that is not to be fitted."""
SLACK_H = 1e-6


@dataclass(frozen=True)
class PrismMark:
    """Why one cell has an asterisk, or is empty although the chip was read."""

    readout: str
    drug: str
    dose_nm: float
    cycle: int
    donor: str
    chip: str
    what: str
    """``censored``, ``excluded``, ``left out`` or ``failed``."""
    lower: float
    upper: float
    """Bounds of a censored value; infinite where open, NaN for another."""
    why: str


@dataclass(frozen=True)
class PrismTable:
    """One XY table."""

    readout: str
    drug: str
    unit: str
    columns: tuple[tuple[str, str], ...]
    """(donor, chip) of each column, the chips of a donor side by side."""
    rows: tuple[tuple[float, tuple[str, ...]], ...]
    """(dose in nM, a cell per column), ascending by dose and then by cycle."""
    marks: tuple[PrismMark, ...]


def prism_tables(
    study: Study,
    readouts: Sequence[Readout],
    given_nm: Mapping[tuple[int, str], float],
    fed_by: Mapping[tuple[int, str], str],
) -> tuple[PrismTable, ...]:
    """Return a table per readout and drug, in the order of the study.

    ``given_nm``: (cycle, line) -> concentration by the pumps' counters; ``fed_by``: (cycle, chip) -> the line
    that fed it then. What a chip got in a cycle whose dose or line nobody knows stands in no table.
    """
    chip_nm = {
        (cycle, chip): given_nm[cycle, line]
        for (cycle, chip), line in fed_by.items()
        if (cycle, line) in given_nm
    }
    last = last_of_exposures(study, readouts)
    names = list(dict.fromkeys(readout.readout for readout in readouts))
    tables = []
    for name in names:
        for drug in study.drugs:
            own = {
                (chip, cycle): reading
                for (chip, cycle, readout), reading in last.items()
                if readout == name
                and study.drug_of(study.line_of(chip).id).name == drug
                and (cycle, chip) in chip_nm
            }
            if own:
                tables.append(one_table(study, name, drug, own, chip_nm))
    return tuple(tables)


def last_of_exposures(
    study: Study, readouts: Sequence[Readout]
) -> dict[tuple[str, int, str], Readout]:
    """Return (chip, cycle, readout) -> the last reading of the exposure; of two at one time one that counts.

    A failed one is not replaced by an earlier one: that would be the effect of a shorter exposure.
    """
    found: dict[tuple[str, int, str], Readout] = {}
    for reading in readouts:
        if reading.time_h <= study.timeline.stimulus_from_h + SLACK_H:
            continue
        key = (reading.chip_id, reading.cycle, reading.readout)
        before = found.get(key)
        rank = (reading.time_h, reading.qc != "fail")
        if before is None or rank >= (before.time_h, before.qc != "fail"):
            found[key] = reading
    return found


def one_table(
    study: Study,
    name: str,
    drug: str,
    own: Mapping[tuple[str, int], Readout],
    chip_nm: Mapping[tuple[int, str], float],
) -> PrismTable:
    """Return the table of a readout under one drug from (chip, cycle) -> reading and (cycle, chip) -> dose."""
    met = {chip for chip, _ in own}
    columns = tuple(
        (donor, chip)
        for donor in study.donors
        for chip in study.chip_ids
        if chip in met and study.donor_of(chip).id == donor
    )
    doses = sorted({(chip_nm[cycle, chip], cycle) for chip, cycle in own})
    rows, marks = [], []
    for dose_nm, cycle in doses:
        cells = []
        for donor, chip in columns:
            reading = own.get((chip, cycle))
            if reading is None or chip_nm[cycle, chip] != dose_nm:
                cells.append("")
                continue
            text, what = cell_of(reading)
            cells.append(text)
            if what:
                bounds = (reading.lower, reading.upper) if what == "censored" else (math.nan,) * 2
                why = "; ".join(reading.reasons)
                marks.append(PrismMark(name, drug, dose_nm, cycle, donor, chip, what, *bounds, why))
        rows.append((dose_nm, tuple(cells)))
    unit = next(iter(own.values())).unit
    return PrismTable(name, drug, unit, columns, tuple(rows), tuple(marks))


def cell_of(reading: Readout) -> tuple[str, str]:
    """Return the text of a cell, and why it is marked; empty for a value that counts."""
    failed = "failed" if reading.qc == "fail" else ""
    if is_excluded(reading):
        failed = "excluded"
    elif left_out_by(reading)[0]:
        failed = "left out"
    if reading.censoring != "none":
        ends = [end for end in (reading.lower, reading.upper) if math.isfinite(end)]
        bound = reading.upper if reading.censoring == "left" else (ends or [math.nan])[0]
        text = f"{bound!r}{LEFT_OUT}" if math.isfinite(bound) else ""
        return text, failed or "censored"
    if not math.isfinite(reading.value):
        return "", failed or "failed"
    return f"{float(reading.value)!r}{LEFT_OUT if failed else ''}", failed
