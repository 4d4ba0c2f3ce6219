"""Multiplex plates: every analyte its own curve, every well-analyte its beads, one noise for the plate.

Belongs here: from the rows of a bead reader's export to concentrations. Not here: reading the export
(exports), one curve (standard_curve), one sample (immunoassay). Two spots or beads of a well are two
assays, never replicates. A well-analyte with fewer beads than the file's own limit is flagged and kept.

One plate has too few wells of an analyte to learn how noise grows with the signal: the exponent is
pooled over its analytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chiploop.assays.acceptance_rules import acceptance_rules
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.immunoassay import EstimatedConcentration, estimate_concentration
from chiploop.assays.logistic_curve import Model
from chiploop.assays.plate_signal import NoiseModel
from chiploop.assays.pooled_curves import PlatePoints, fit_plates
from chiploop.assays.standard_curve import StandardCurve, standard_curve
from chiploop.errors import FileNotValid
from chiploop.exports.export import Export
from chiploop.study_parts import Acceptance

BEAD_NOISE = NoiseModel(floor_od=5.0, cv=0.10)
"""MFI; typical of a bead assay. Only says which fall of a top standard is more than noise."""
DILUTION_TABLE = "Dilution Factor"
NOT_ANALYTES = ("Total Events",)


@dataclass(frozen=True)
class AnalyteWell:
    """Signal of one analyte in one well."""

    well: str
    sample: str
    signal: float
    """MFI; NaN where the reader gave none."""
    reasons: tuple[str, ...]
    """Of the reader; a well with too few beads by the file's own limit has ``few_beads (n of limit)``."""


@dataclass(frozen=True)
class SampleConcentration:
    """One analyte in one sample."""

    analyte: str
    sample: str
    wells: tuple[str, ...]
    dilution: float
    estimate: EstimatedConcentration


@dataclass(frozen=True)
class AnalyteResult:
    """One analyte of the plate."""

    analyte: str
    curve: StandardCurve
    samples: tuple[SampleConcentration, ...]


def multiplex_concentrations(
    export: Export,
    standards: Mapping[str, Mapping[str, float]],
    statistic: str = "Median",
    acceptance: Acceptance | None = None,
    model: Model = "4pl",
) -> tuple[AnalyteResult, ...]:
    """Return the curves and concentrations of a plate.

    Parameters
    ----------
    standards : sample -> analyte -> pg/mL in the well, 0 for background; every other sample is read
        from the curves.
    statistic : the table of the export that is used.

    Raises
    ------
    FileNotValid : no such table, or no standard of an analyte in it.
    """
    wells = _wells_of(export, statistic)
    dilutions = _dilutions(export)
    rules = acceptance or acceptance_rules().acceptance
    points = {}
    for analyte, of in wells.items():
        known = [
            (standards[one.sample][analyte], one.signal)
            for one in of
            if analyte in standards.get(one.sample, {}) and math.isfinite(one.signal)
        ]
        if not any(concentration > 0.0 for concentration, _ in known):
            raise FileNotValid(
                f"{export.file}: no standard of {analyte}; named are {', '.join(standards)}, the "
                f"table '{statistic}' holds {', '.join(dict.fromkeys(one.sample for one in of))}"
            )
        points[analyte] = PlatePoints(*np.array(known, dtype=float).T)
    noise = next(
        fit.weighting for fit in fit_plates(list(points.values()), model, Weighting("power"))
    )
    return tuple(
        _result(analyte, wells[analyte], points[analyte], standards, dilutions, rules, noise, model)
        for analyte in points
    )


def _result(
    analyte: str,
    wells: list[AnalyteWell],
    points: PlatePoints,
    standards: Mapping[str, Mapping[str, float]],
    dilutions: Mapping[str, float],
    rules: Acceptance,
    noise: Weighting,
    model: Model,
) -> AnalyteResult:
    known = [one for one in wells if analyte in standards.get(one.sample, {})]
    curve = standard_curve(
        points.concentration,
        points.signal,
        rules,
        noise,
        BEAD_NOISE,
        model=model,
        wells=tuple(one.well for one in known),
        reasons=[f"{one.sample} {one.well} {why}" for one in known for why in one.reasons],
    )
    groups: dict[str, list[AnalyteWell]] = {}
    for one in wells:
        if one.sample not in standards:
            groups.setdefault(one.sample, []).append(one)
    samples = []
    for sample, members in groups.items():
        dilution = dilutions.get(sample, 1.0)
        estimate = estimate_concentration(
            curve,
            [one.signal for one in members],
            dilution,
            ["; ".join(one.reasons) for one in members],
        )
        samples.append(
            SampleConcentration(
                analyte, sample, tuple(one.well for one in members), dilution, estimate
            )
        )
    return AnalyteResult(analyte, curve, tuple(samples))


def _wells_of(export: Export, statistic: str) -> dict[str, list[AnalyteWell]]:
    found: dict[str, list[AnalyteWell]] = {}
    for row in export.rows:
        one = row.readout
        if row.statistic == statistic and one.well and one.analyte not in NOT_ANALYTES:
            found.setdefault(one.analyte, []).append(
                AnalyteWell(one.well, one.sample, one.value, one.reasons)
            )
    if not found:
        tables = ", ".join(dict.fromkeys(row.statistic for row in export.rows))
        raise FileNotValid(
            f"{export.file}: there is no table '{statistic}' of wells; it has {tables}"
        )
    return found


def _dilutions(export: Export) -> dict[str, float]:
    return {
        row.readout.sample: row.readout.value
        for row in export.rows
        if row.statistic == DILUTION_TABLE and row.readout.value > 0.0
    }
