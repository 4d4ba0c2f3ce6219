"""Samples and controls of a plate on its curve, and samples at several dilutions.

Belongs here: from wells that stand for one sample to its concentration, bounds included. Not here: the curve
(standard_curve), the estimate (immunoassay), how a series is judged (dilution_series).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chiploop.assays.acceptance_rules import DilutionRules
from chiploop.assays.dilution_series import Diluted, SeriesVerdict, judge_dilutions
from chiploop.assays.immunoassay import (
    EstimatedConcentration,
    beyond_limit,
    estimate_concentration,
)
from chiploop.assays.plate_wells import AssayWell, grouped
from chiploop.assays.standard_curve import StandardCurve


@dataclass(frozen=True)
class SampleResult:
    """One analyte in one sample at one dilution."""

    sample: str
    series: str
    """Name of the sample whatever its dilution."""
    dilution: float
    wells: tuple[str, ...]
    signals: tuple[float, ...]
    """Of the wells; NaN where the reader gave none."""
    nominal: float | None
    """Of a control, in the sample; None where nobody says it."""
    beads: float
    """Fewest of the wells; NaN where none are counted."""
    estimate: EstimatedConcentration


@dataclass(frozen=True)
class SeriesResult:
    """One sample at several dilutions."""

    series: str
    dilutions: tuple[float, ...]
    verdict: SeriesVerdict


def sample_results(curve: StandardCurve, wells: Sequence[AssayWell]) -> tuple[SampleResult, ...]:
    """Return the concentration of each sample at each dilution, in the order of the plate."""
    found = []
    for (sample, dilution), members in grouped(wells).items():
        counts = [one.beads for one in members if math.isfinite(one.beads)]
        levels = [one.content.concentration for one in members]
        found.append(
            SampleResult(
                sample,
                members[0].series or sample,
                dilution,
                tuple(one.well for one in members),
                tuple(one.signal for one in members),
                levels[0],
                min(counts) if counts else math.nan,
                _estimate(curve, members, dilution),
            )
        )
    return tuple(found)


def _estimate(
    curve: StandardCurve, members: Sequence[AssayWell], dilution: float
) -> EstimatedConcentration:
    """Return the estimate, or the bound where the reader could not count so much or so little."""
    reasons = tuple(dict.fromkeys(why for one in members for why in one.reasons))
    sides = {one.side for one in members if math.isnan(one.signal)} - {"none"}
    good = [one.signal for one in members if math.isfinite(one.signal)]
    # A saturated replicate makes its sample one; too little signal only where no replicate has any.
    if curve.qc != "fail" and ("right" in sides or (sides and not good)):
        more = ("right" in sides) == (curve.fit.curve.direction > 0)
        side: Literal["left", "right"] = "right" if more else "left"
        told = "above ULOQ" if more else "below LLOQ"
        return beyond_limit(curve, side, dilution, len(members), (*reasons, told))
    return estimate_concentration(curve, [one.signal for one in members], dilution, reasons)


def series_results(
    samples: Sequence[SampleResult], rules: DilutionRules
) -> tuple[SeriesResult, ...]:
    """Return the verdict on every sample that stands at two dilutions and more."""
    groups: dict[str, list[SampleResult]] = {}
    for one in samples:
        groups.setdefault(one.series, []).append(one)
    found = []
    for series, members in groups.items():
        dilutions = tuple(sorted({one.dilution for one in members}))
        if len(dilutions) < 2:
            continue
        points = [Diluted(one.dilution, one.estimate.value, one.estimate.sd_ln) for one in members]
        found.append(SeriesResult(series, dilutions, judge_dilutions(points, rules)))
    return tuple(found)
