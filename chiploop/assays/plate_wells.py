"""One analyte on one plate, well by well: what stands there and what the reader gave, ready for a curve.

Belongs here: putting contents and signals together, which wells may stand for a curve, how samples group.
Not here: contents (export_contents, plate_contents), curves (plate_assay).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiploop.assays.export_contents import (
    beads_of,
    contents_of_export,
    signals_of,
    unit_of,
)
from chiploop.assays.plate_contents import Contents, WellContent, laid_over
from chiploop.assays.pooled_curves import PlatePoints
from chiploop.assays.standards_table import Standards, with_standards
from chiploop.exports.export import Export
from chiploop.measurement import WellReadout

OWN_BEAD_LIMIT = "Per Bead Count"
"""Table of an xPONENT file; its reader has flagged the wells below it."""
REDUCED = "reduced"
"""Of SoftMax Pro: numbers in the unit of the read, unless a formula of the plate says otherwise."""
UNREAD = WellContent("empty")


@dataclass(frozen=True)
class AssayWell:
    """One analyte in one well."""

    well: str
    content: WellContent
    signal: float
    """NaN where the reader gave none, or one that it marks as failed."""
    side: str = "none"
    """``right``: the reader could not count so much; ``left``: so little."""
    reasons: tuple[str, ...] = ()
    """Of the reader: ``saturated``, ``masked``, ``few_beads (12 of 50)``, ..."""
    beads: float = math.nan

    @property
    def series(self) -> str:
        """Return the name of the sample, whatever its dilution."""
        return self.content.series or self.content.sample


@dataclass(frozen=True)
class AnalyteWells:
    """One analyte on one plate."""

    plate: str
    analyte: str
    signal_unit: str
    """``OD``, ``MFI``, ...: says which noise is usual."""
    unit: str
    """Of concentrations; empty where neither file nor layout names it."""
    wells: tuple[AssayWell, ...]

    def of_roles(self, *roles: str) -> tuple[AssayWell, ...]:
        """Return the wells of some roles."""
        return tuple(one for one in self.wells if one.content.role in roles)

    @property
    def calibrators(self) -> tuple[AssayWell, ...]:
        """Return standards with a concentration, and blanks."""
        return tuple(
            one
            for one in self.of_roles("standard", "blank")
            if one.content.role == "blank" or (one.content.concentration or 0.0) > 0.0
        )

    @property
    def points(self) -> PlatePoints:
        """Return what a curve is fitted to."""
        used = [
            (one.content.concentration or 0.0, one.signal)
            for one in self.calibrators
            if math.isfinite(one.signal)
        ]
        return PlatePoints(*np.array(used, dtype=float).reshape(-1, 2).T)

    @property
    def has_standards(self) -> bool:
        """Return whether any standard has a concentration."""
        return any(one.content.role == "standard" for one in self.calibrators)


@dataclass(frozen=True)
class FileWells:
    """All analytes on all plates of a file."""

    analytes: tuple[AnalyteWells, ...]
    notes: tuple[str, ...]


def wells_of_export(
    export: Export,
    layouts: Mapping[str, Mapping[str, WellContent]] | None = None,
    standards: Standards | None = None,
    dilutions: Mapping[str, float] | None = None,
    least_beads: int | None = None,
) -> FileWells:
    """Return the wells of every analyte of every plate.

    Parameters
    ----------
    layouts : plate -> well -> content, laid over what the file says.
    standards : sample -> analyte -> concentration, from a kit's own table; 0 for a blank.
    dilutions : sample -> times, in place of the file's; the key "" is for all samples without a name of
        their own here.
    least_beads : that a well-analyte needs where the file has no limit of its own.

    Raises
    ------
    FileNotValid : contents that contradict each other beyond use.
    """
    found: list[AnalyteWells] = []
    notes: list[str] = []
    unused = set(dilutions or {}) - {""}
    for plate in export.plates:
        signals = signals_of(export, plate.name)
        told = contents_of_export(export, plate.name, signals)
        notes += told.notes
        contents = told.contents
        if standards is not None:
            contents, differing = with_standards(contents, signals, standards)
            notes += [f"{plate.name}: {one}" for one in differing]
        if layouts and plate.name in layouts:
            contents, differing = laid_over(contents, layouts[plate.name], signals)
            notes += [f"{plate.name}: {one}" for one in differing]
            lacking = set(layouts[plate.name]) - {w for of in signals.values() for w in of}
            if lacking:
                notes.append(
                    f"{plate.name}: {len(lacking)} wells of the layout are not in the file"
                )
        notes += _lacking(plate.name, contents)
        beads = beads_of(export, plate.name)
        limited = any(key == OWN_BEAD_LIMIT for key, _ in export.metadata)
        for analyte, readouts in signals.items():
            of_analyte = contents.get(analyte, {})
            wells = []
            for well, readout in readouts.items():
                content = of_analyte.get(well, UNREAD)
                unused -= {content.sample, content.series}
                content, said = _diluted(content, dilutions or {})
                notes += [f"{plate.name}: {one}" for one in said]
                count = beads.get((analyte, well), math.nan)
                wells.append(_well(well, content, readout, count, None if limited else least_beads))
            unit = next(iter(readouts.values())).unit
            found.append(
                AnalyteWells(
                    plate.name,
                    analyte,
                    plate.unit if analyte == REDUCED and plate.unit else unit,
                    unit_of([one.content for one in wells]),
                    tuple(wells),
                )
            )
    if unused:
        notes.append(f"no sample is called {', '.join(sorted(unused))}; no dilution was set for it")
    return FileWells(tuple(found), tuple(dict.fromkeys(notes)))


def _lacking(plate: str, contents: Contents) -> list[str]:
    """Return a note of standards that nobody gives a concentration."""
    lacking: dict[str, set[str]] = {}
    for analyte, wells in contents.items():
        for well, one in wells.items():
            if one.role == "standard" and one.concentration is None:
                lacking.setdefault(one.sample or well, set()).add(analyte)
    if not lacking:
        return []
    names = f"{', '.join(list(lacking)[:4])}{', ...' if len(lacking) > 4 else ''}"
    of = len(set().union(*lacking.values()))
    return [f"{plate}: {len(lacking)} standards have no concentration ({names}), {of} analyte(s)"]


def _few(reasons: Collection[str]) -> bool:
    return any(reason.startswith("few_beads") for reason in reasons)


def _diluted(
    content: WellContent, dilutions: Mapping[str, float]
) -> tuple[WellContent, tuple[str, ...]]:
    """Return a content with the dilution that a person names, and what is told of it."""
    if content.role != "sample" or not dilutions:
        return content, ()
    asked = dilutions.get(
        content.sample, dilutions.get(content.series or content.sample, dilutions.get(""))
    )
    if asked is None or math.isclose(asked, content.dilution):
        return content, ()
    told: tuple[str, ...] = ()
    if content.dilution != 1.0:
        told = (
            f"{content.sample}: dilution {asked:g} as asked for, in place of {content.dilution:g}",
        )
    return replace(content, dilution=asked), told


def _well(
    well: str, content: WellContent, readout: WellReadout, beads: float, least: int | None
) -> AssayWell:
    reasons = readout.reasons
    if least is not None and beads < least and not _few(reasons):
        reasons = (*reasons, f"few_beads ({beads:g} of {least})")
    good = math.isfinite(readout.value) and readout.qc != "fail"
    return AssayWell(
        well,
        content,
        readout.value if good else math.nan,
        readout.censoring if readout.censoring in ("left", "right") else "none",
        reasons,
        beads,
    )


def grouped(wells: Sequence[AssayWell]) -> dict[tuple[str, float], tuple[AssayWell, ...]]:
    """Return (sample, dilution) -> its replicate wells, in the order of the plate."""
    groups: dict[tuple[str, float], tuple[AssayWell, ...]] = {}
    for one in wells:
        key = (one.content.sample or one.well, one.content.dilution)
        groups[key] = (*groups.get(key, ()), one)
    return groups
