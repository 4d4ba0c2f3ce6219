"""Measurements as rows of the record, and which row takes the place of which.

Belongs here: measurement to row and back, keys of revisions. Not here: columns (tables), readouts as rows
(rows), adding (record).

A row is never altered. What is calculated again is a row of its own, whose key ends with the number of its
revision (``/r2``) and which names the row that it supersedes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from chiploop import __version__
from chiploop.measurement import Derivation, Measurement, Readout
from chiploop.record.chain import canonical
from chiploop.record.rows import finite, readout_of, readout_row
from chiploop.record.tables import MeasurementRow, ReadoutRow

CALIBRATION = "calibration of signals"
"""Kind of the event that keeps a plate's curve or controls."""
REVISION = "revision"
"""Kind of the event that says who had readouts calculated again, from what and why."""
Superseding = TypeVar("Superseding", MeasurementRow, ReadoutRow)


def row_key(run_id: str, key: str, revision: int = 1) -> str:
    """Return the natural key of something in a run; the first revision has no number."""
    return f"{run_id}/{key}" + (f"/r{revision}" if revision > 1 else "")


def calibration_key(run_id: str, derivation: Derivation, revision: int = 1) -> str:
    """Return the key of the event that keeps the calibration; empty where there is none."""
    if not derivation.calibration_key:
        return ""
    return row_key(run_id, f"{CALIBRATION}/{derivation.calibration_key}", revision)


def measurement_rows(
    run_id: str,
    derivation: Derivation,
    revision: int = 1,
    superseded: Mapping[str, str] | None = None,
) -> list[MeasurementRow]:
    """Return the measurements of a derivation as rows of a run.

    ``superseded`` is first key -> the key that stands now, for those that a revision takes the place of.
    """
    calibration = calibration_key(run_id, derivation, revision)
    rows = []
    for one in derivation.measurements:
        calibrated = one.stage == "calibrated"
        rows.append(
            MeasurementRow(
                natural_key=row_key(run_id, one.key, revision),
                run_id=run_id,
                cycle=int(one.cycle),
                stage=one.stage,
                chip_id=one.chip_id,
                channel=one.channel,
                readout=one.readout,
                analyte=one.analyte,
                quantity=one.quantity,
                role=one.role,
                replicate=int(one.replicate),
                dilution=finite(one.dilution),
                value=finite(one.value),
                unit=one.unit,
                sd=finite(one.sd),
                sd_kind=one.sd_kind,
                scale=one.scale,
                n=int(one.n),
                time_h=float(one.time_h),
                window_start_h=finite(one.window_start_h),
                censoring=one.censoring,
                lower=finite(one.lower),
                upper=finite(one.upper),
                qc=one.qc,
                reasons=canonical(one.reasons),
                method=one.method,
                method_version=__version__,
                plate=one.plate,
                well=one.well,
                raw_sha256=one.raw_sha256,
                locator=one.locator,
                parents=canonical([row_key(run_id, key, revision) for key in one.parents]),
                calibration=calibration if calibrated else "",
                supersedes=(superseded or {}).get(row_key(run_id, one.key)),
            )
        )
    return rows


def measurement_of(row: MeasurementRow) -> Measurement:
    """Return the measurement that a row keeps; its key and its parents are whole keys."""
    return Measurement(
        key=row.natural_key,
        stage=row.stage,  # type: ignore[arg-type]
        readout=row.readout,
        quantity=row.quantity,
        value=_number(row.value),
        unit=row.unit,
        time_h=row.time_h,
        chip_id=row.chip_id,
        channel=row.channel,  # type: ignore[arg-type]
        analyte=row.analyte,
        role=row.role,
        replicate=row.replicate,
        dilution=_number(row.dilution),
        window_start_h=row.window_start_h,
        sd=_number(row.sd),
        sd_kind=row.sd_kind,  # type: ignore[arg-type]
        scale=row.scale,  # type: ignore[arg-type]
        n=row.n,
        censoring=row.censoring,  # type: ignore[arg-type]
        lower=-math.inf if row.lower is None else row.lower,
        upper=math.inf if row.upper is None else row.upper,
        qc=row.qc,  # type: ignore[arg-type]
        reasons=tuple(json.loads(row.reasons)),
        method=row.method,
        plate=row.plate,
        well=row.well,
        raw_sha256=row.raw_sha256,
        locator=row.locator,
        cycle=row.cycle,
        parents=tuple(json.loads(row.parents)),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def revised_readout_rows(
    run_id: str, readouts: Sequence[Readout], revision: int, superseded: Mapping[str, str]
) -> list[ReadoutRow]:
    """Return readouts as rows that take the place of those on record."""
    rows = []
    for readout in readouts:
        row = readout_row(run_id, readout, revision)
        first = readout_row(run_id, readout).natural_key
        row.supersedes = superseded[first]
        rows.append(row)
    return rows


def standing(rows: Iterable[Superseding]) -> list[Superseding]:
    """Return the rows that no other row supersedes, each in the place of the first of its kind."""
    found = list(rows)
    by_key = {row.natural_key: row for row in found}
    follows = {row.supersedes: row for row in found if row.supersedes}
    kept = []
    for row in found:
        if row.supersedes and row.supersedes in by_key:
            continue
        while row.natural_key in follows:
            row = follows[row.natural_key]
        kept.append(row)
    return kept


def newest_keys(rows: Iterable[Superseding]) -> dict[str, str]:
    """Return first key -> the key of the row that stands now."""
    found = list(rows)
    follows = {row.supersedes: row.natural_key for row in found if row.supersedes}
    newest = {}
    for row in found:
        if not row.supersedes:
            key = row.natural_key
            while key in follows:
                key = follows[key]
            newest[row.natural_key] = key
    return newest


def unchanged(old: ReadoutRow, new: Readout) -> bool:
    """Return whether a readout that was calculated again says the same as before, with the same words."""
    before = readout_of(old)
    what = ("value", "sd", "censoring", "lower", "upper", "n", "qc", "reasons", "wells", "curve")
    return all(repr(getattr(before, name)) == repr(getattr(new, name)) for name in what)
