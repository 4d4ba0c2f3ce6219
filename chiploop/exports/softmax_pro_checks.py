"""Do the group tables of a SoftMax Pro export agree with the plates and with themselves?

Belongs here: checks of a group that was read. Not here: reading it (softmax_pro_groups).
A group declares no number of rows, so a row that is missing or altered shows only here: every value
that repeats a well of the plate must agree with that plate, every mean with the rows that it is the
mean of, and every sample must have its wells.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from chiploop.errors import FileNotValid
from chiploop.exports.cells import CellValue
from chiploop.exports.export import ExportRow, PlateShape
from chiploop.exports.softmax_pro_lines import Line
from chiploop.measurement import Quality

AVERAGE = re.compile(r"Average\((?:(!WellValues)|([^()@]+))\)", re.IGNORECASE)
ROLES = {"!SampleNames": "sample", "!WellIDs": "well", "!WellPlateName": "plate"}


@dataclass(frozen=True)
class GroupColumn:
    """One column of a group table."""

    position: int
    title: str
    """As printed over the table, unit included."""
    name: str
    """As the formulas call it."""
    formula: str
    decimals: int

    @property
    def role(self) -> str:
        """Return ``sample``, ``well``, ``plate``, ``remark`` (text) or ``number``."""
        if self.formula in ROLES:
            return ROLES[self.formula]
        return "remark" if '"' in self.formula else "number"


@dataclass(frozen=True)
class GroupRow:
    """One row of a group table."""

    line: Line
    sample: str
    well: str
    plate: str
    is_first: bool
    """First row of its sample."""


def check_signals(
    columns: Sequence[GroupColumn],
    rows: Sequence[GroupRow],
    values: dict[tuple[int, int], CellValue],
    signals: dict[tuple[str, str], float],
    title: str,
    name: str,
) -> None:
    """Raise FileNotValid where a value that repeats a well of the plate is not the plate\'s."""
    for column in columns:
        if column.formula != "!WellValues":
            continue
        for i, row in enumerate(rows):
            if (i, column.position) not in values:
                raise FileNotValid(
                    f"{name}, line {row.line.number}: group '{title}' has no {column.title} for "
                    f"well {row.well}. Columns were moved or cut."
                )
            printed = values[i, column.position].value
            read = signals.get((row.plate, row.well), math.nan)
            if abs(printed - read) > 0.5000001 * 10.0**-column.decimals:
                raise FileNotValid(
                    f"{name}, line {row.line.number}: group '{title}' says {printed} for well "
                    f"{row.well} of "
                    f"'{row.plate}', and the plate says {read:.6g}. The export contradicts itself."
                )


def check_means(
    columns: Sequence[GroupColumn],
    rows: Sequence[GroupRow],
    values: dict[tuple[int, int], CellValue],
    title: str,
    name: str,
) -> None:
    """Raise FileNotValid where a mean is not that of its rows, within the printed digits."""
    for column in columns:
        match = AVERAGE.fullmatch(column.formula)
        source = match and next(
            (
                c
                for c in columns
                if c.formula == match[1] or (match[2] and c.name == match[2].strip())
            ),
            None,
        )
        if source is None:
            continue
        tolerance = 0.5000001 * (10.0**-column.decimals + 10.0**-source.decimals)
        for i, row in enumerate(rows):
            if not row.is_first:
                continue
            members = [
                values[k, source.position].value
                for k in range(len(rows))
                if rows[k].sample == row.sample and (k, source.position) in values
            ]
            mean = sum(members) / len(members)
            if abs(values[i, column.position].value - mean) > tolerance:
                raise FileNotValid(
                    f"{name}, line {row.line.number}: '{column.title}' of sample {row.sample} in "
                    "group "
                    f"'{title}' is {values[i, column.position].value}, and the mean of its "
                    f"{len(members)} rows "
                    f"is {mean:.6g}. A row is missing, doubled or altered; the export is not used."
                )


def check_replicates(
    rows: list[ExportRow], plates: tuple[PlateShape, ...], name: str
) -> list[ExportRow]:
    """Return all rows of a file; samples with fewer wells than their group's others are flagged.

    Raises
    ------
    FileNotValid : such a sample, where a well beside its own is in no group: a row was taken out.
    """
    wells: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for row in rows:
        if row.statistic.startswith("Group ") and row.readout.well:
            key = (row.statistic, row.readout.sample)
            wells.setdefault(key, set()).add((row.plate, row.readout.well))
    lacking: dict[tuple[str, str], tuple[int, int]] = {}
    for statistic in {group for group, _ in wells}:
        counts = {key: len(found) for key, found in wells.items() if key[0] == statistic}
        usual = Counter(counts.values()).most_common(1)[0][0]
        if list(counts.values()).count(usual) > 1:
            lacking.update({key: (n, usual) for key, n in counts.items() if n < usual})
    if not lacking:
        return rows
    covered = set().union(*wells.values())
    shapes = {plate.name: plate for plate in plates}
    for (group, sample), (found, usual) in lacking.items():
        own = wells[group, sample]
        beside = {well for one in own for well in _beside(one, shapes)}
        for plate, well in sorted(beside - covered):
            raise FileNotValid(
                f"{name}: sample {sample} of '{group}' has {found} wells and the group's other "
                f"samples {usual}, and {well} of '{plate}' beside them is in no group. A row is "
                "missing; the export is not used. A well that is left out on purpose is masked in "
                "SoftMax Pro, not taken out of its group."
            )
    return [_with_fewer_wells(row, lacking) for row in rows]


def _beside(place: tuple[str, str], shapes: dict[str, PlateShape]) -> Iterator[tuple[str, str]]:
    plate, well = place
    row, column = ord(well[0]) - ord("A"), int(well[1:])
    shape = shapes.get(plate)
    for near_row, near_column in (
        (row, column - 1),
        (row, column + 1),
        (row - 1, column),
        (row + 1, column),
    ):
        inside = shape and 0 <= near_row < shape.rows and 1 <= near_column <= shape.columns
        if inside:
            yield plate, f"{chr(ord('A') + near_row)}{near_column}"


def _with_fewer_wells(row: ExportRow, lacking: dict[tuple[str, str], tuple[int, int]]) -> ExportRow:
    one = row.readout
    counts = lacking.get((row.statistic, one.sample))
    if counts is None:
        return row
    qc: Quality = "warn" if one.qc == "ok" else one.qc
    reason = f"{counts[0]} wells where the group's other samples have {counts[1]}"
    return replace(row, readout=replace(one, qc=qc, reasons=(*one.reasons, reason)))
