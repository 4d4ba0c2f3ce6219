"""The long table of a run: one row per raw, calibrated and derived value, linked by their ids.

Belongs here: its columns, and how they follow from the record. Not here: files (long_table_files), what is
kept (tables). Nothing is missing: rows that were superseded, that failed, that a person or a fit left out are
there and say so.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Literal

from chiploop.measurement import Measurement, Readout
from chiploop.record.chain import RecordConflict
from chiploop.record.exclusions import Exclusion, marked
from chiploop.record.measurement_rows import measurement_of
from chiploop.record.record import Record
from chiploop.record.rows import RecordedRun, readout_of
from chiploop.record.tables import MeasurementRow, ReadoutRow
from chiploop.record.unexplained import LEFT_OUT, as_fitted, left_out_by
from chiploop.record.well_exclusions import WellExclusion

Kind = Literal["text", "number", "whole", "flag"]


@dataclass(frozen=True, slots=True)
class LongRow:
    """One row; the fields are the columns, in their order."""

    experiment: str
    """Run id."""
    study: str
    simulated: bool
    stage: str
    """``raw``, ``calibrated`` or ``derived``."""
    row_id: str
    parent_id: tuple[str, ...]
    """Rows that it was calculated from."""
    supersedes: str
    """Row whose place it takes; empty for none."""
    superseded_by: str
    """Empty for the row that stands."""
    cycle: int
    line: str
    chip: str
    """Empty for wells that several chips share."""
    channel: str
    """``apical``, ``basal`` or ``membrane``; empty where nobody has said."""
    donor: str
    role: str
    """Of a well: ``standard``, ``blank``, ``sample``, ``max_release``."""
    replicate: int
    """From 1; 0 where there are none."""
    time_h: float
    """Hours since the study began."""
    sampled_at_utc: str
    """To some seconds; empty for a virtual lab."""
    window_start_h: float
    """NaN for a value of one moment, as ``window_end_h``."""
    window_end_h: float
    readout: str
    analyte: str
    quantity: str
    """What the number is, where that is not the readout itself."""
    value: float
    """NaN where censored or failed."""
    unit: str
    scale: str
    """``log``: ``sd`` is that of ln(value); ``linear``: in ``unit``."""
    sd: float
    sd_kind: str
    """``tech``, ``fit`` or ``model``; empty where nobody has said."""
    n: int
    censoring: str
    """``none``, ``left``, ``right`` or ``interval``."""
    lower: float
    """-inf where open."""
    upper: float
    """inf where open."""
    qc: str
    """``ok``, ``warn`` or ``fail``."""
    qc_reasons: tuple[str, ...]
    excluded: bool
    """Whether somebody left it out of what is learned from, though it did not fail by itself."""
    excluded_by: str
    """The person who did, or ``fit of cycle 2``; empty for nobody."""
    excluded_why: str
    method: str
    method_version: str
    """Of chiploop; empty in records of before it was kept."""
    plate: str
    well: tuple[str, ...]
    dilution: float
    """NaN where nothing is diluted."""
    raw_sha256: str
    raw_locator: str
    """``section!row,column`` in the raw file."""
    calibration_id: str
    """Event of the record that keeps the curve, with its covariance, or the controls."""
    created_utc: str


_KINDS: dict[str, Kind] = {"float": "number", "int": "whole", "bool": "flag"}
COLUMNS: dict[str, Kind] = {f.name: _KINDS.get(str(f.type), "text") for f in fields(LongRow)}
"""Column -> what its cells hold."""
LISTS = frozenset(f.name for f in fields(LongRow) if str(f.type).startswith("tuple"))
"""Columns whose text is a list."""
OPEN_ENDS = {"lower": -math.inf, "upper": math.inf}
"""Column -> what an empty cell means; elsewhere NaN."""


def long_table(record: Record, run_id: str) -> tuple[LongRow, ...]:
    """Return every row of a run: raw, calibrated, derived, each in the order added.

    RecordConflict where the record has no such run.
    """
    run = record.run(run_id)
    if run is None:
        raise RecordConflict(f"there is no run {run_id} on record")
    measurements, readouts = record.every_row(run_id)
    follows = {row.supersedes: row.natural_key for row in measurements if row.supersedes}
    follows |= {row.supersedes: row.natural_key for row in readouts if row.supersedes}
    table = _Table(
        run,
        record.chips(run_id),
        record.exclusions(run_id),
        record.well_exclusions(run_id),
        follows,
    )
    of_measurements = {row.natural_key: measurement_of(row) for row in measurements}
    rows = [table.of_measurement(row, of_measurements[row.natural_key]) for row in measurements]
    rows.sort(key=lambda row: row.stage != "raw")
    shown = marked([readout_of(row) for row in readouts], table.exclusions)
    fitted = as_fitted(shown, record.events(run_id, LEFT_OUT))
    rows += [
        table.of_readout(row, one, of_measurements)
        for row, one in zip(readouts, fitted, strict=True)
    ]
    return tuple(rows)


@dataclass(frozen=True)
class _Table:
    """What all rows of a run share."""

    run: RecordedRun
    chips: dict[str, tuple[str, str]]
    """Chip -> line and donor."""
    exclusions: tuple[Exclusion, ...]
    wells: tuple[WellExclusion, ...]
    follows: dict[str, str]
    """Row -> the row that superseded it."""

    def of_measurement(self, row: MeasurementRow, one: Measurement) -> LongRow:
        line, donor = self.chips.get(one.chip_id, ("", ""))
        windowed = one.window_start_h is not None
        by, why = self.well_left_out_by(one)
        return LongRow(
            experiment=self.run.run_id,
            study=self.run.study_name,
            simulated=self.run.simulated,
            stage=one.stage,
            row_id=one.key,
            parent_id=one.parents,
            supersedes=row.supersedes or "",
            superseded_by=self.follows.get(one.key, ""),
            cycle=one.cycle,
            line=line,
            chip=one.chip_id,
            channel=one.channel,
            donor=donor,
            role=one.role,
            replicate=one.replicate,
            time_h=one.time_h,
            sampled_at_utc=self.sampled_at(one.time_h),
            window_start_h=_number(one.window_start_h),
            window_end_h=one.time_h if windowed else math.nan,
            readout=one.readout,
            analyte=one.analyte,
            quantity=one.quantity,
            value=one.value,
            unit=one.unit,
            scale=one.scale,
            sd=one.sd,
            sd_kind=one.sd_kind,
            n=one.n,
            censoring=one.censoring,
            lower=one.lower,
            upper=one.upper,
            qc=one.qc,
            qc_reasons=one.reasons,
            excluded=bool(by),
            excluded_by=by,
            excluded_why=why,
            method=one.method,
            method_version=row.method_version,
            plate=one.plate,
            well=(one.well,) if one.well else (),
            dilution=one.dilution,
            raw_sha256=one.raw_sha256,
            raw_locator=one.locator,
            calibration_id=row.calibration,
            created_utc=row.at_utc,
        )

    def of_readout(
        self, row: ReadoutRow, one: Readout, measurements: dict[str, Measurement]
    ) -> LongRow:
        """Return a readout as its row; ``one`` says who left it out."""
        by, why = left_out_by(one)
        parents = tuple(json.loads(row.parents or "[]"))
        of_parents = [measurements[key] for key in parents if key in measurements]
        dilutions = {parent.dilution for parent in of_parents}
        line, donor = self.chips.get(one.chip_id, ("", ""))
        windowed = one.window_start_h is not None
        return LongRow(
            experiment=self.run.run_id,
            study=self.run.study_name,
            simulated=self.run.simulated,
            stage="derived",
            row_id=row.natural_key,
            parent_id=parents,
            supersedes=row.supersedes or "",
            superseded_by=self.follows.get(row.natural_key, ""),
            cycle=one.cycle,
            line=line,
            chip=one.chip_id,
            channel=one.channel,
            donor=donor,
            role="",
            replicate=0,
            time_h=one.time_h,
            sampled_at_utc=self.sampled_at(one.time_h),
            window_start_h=_number(one.window_start_h),
            window_end_h=one.time_h if windowed else math.nan,
            readout=one.readout,
            analyte=next((parent.analyte for parent in of_parents), ""),
            quantity="",
            value=one.value,
            unit=one.unit,
            scale=one.scale,
            sd=one.sd,
            sd_kind=one.sd_kind,
            n=one.n,
            censoring=one.censoring,
            lower=one.lower,
            upper=one.upper,
            qc=one.qc,
            qc_reasons=one.reasons,
            excluded=bool(by),
            excluded_by=by,
            excluded_why=why,
            method=one.method,
            method_version=row.method_version or "",
            plate=one.plate,
            well=one.wells,
            dilution=dilutions.pop() if len(dilutions) == 1 else math.nan,
            raw_sha256=one.raw_sha256,
            raw_locator="",
            calibration_id="",
            created_utc=row.at_utc,
        )

    def well_left_out_by(self, one: Measurement) -> tuple[str, str]:
        """Return who left a row's well or image out of what was calculated with it, and why; empty for nobody."""
        place = f"{one.chip_id}/{one.replicate}" if one.role == "image" else one.well
        by = [
            (said.by, said.why)
            for said in self.wells
            if said.excluded
            and (said.plate, said.well) == (one.plate, place)
            and any(reason.endswith(said.reason) for reason in one.reasons)
        ]
        return by[-1] if by else ("", "")

    def sampled_at(self, time_h: float) -> str:
        """Return a study time of a real run in UTC; its clock began seconds before it came on record."""
        if self.run.simulated:
            return ""
        begun = datetime.fromisoformat(self.run.begun_utc)
        return (begun + timedelta(hours=time_h)).isoformat(timespec="seconds")


def _number(value: float | None) -> float:
    return math.nan if value is None else value
