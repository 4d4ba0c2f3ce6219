"""An assay plate from its wells to results: curves, limits, controls, samples, dilution series.

Belongs here: the order in which a plate is worked on, and the verdict on each analyte. Not here: wells
(plate_wells), one curve (standard_curve), one sample (immunoassay), the rules' numbers (acceptance_rules).

Every analyte has its own curve. One curve has too few wells to learn how noise grows with the signal: a
number of the weights that is not given is pooled over all analytes and plates of the file. Two spots or beads
of a well are two assays, never replicates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiploop.assays.acceptance_rules import AcceptanceRules, acceptance_rules
from chiploop.assays.curve_choice import CurveChoice, choose
from chiploop.assays.curve_fit import CurveFit
from chiploop.assays.curve_groups import MODELS, Asked
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.detection_limits import DetectionLimit, detection_limit, limits_by_cv
from chiploop.assays.hook import hook_from
from chiploop.assays.immunoassay import ELISA_NOISE
from chiploop.assays.logistic_curve import Model
from chiploop.assays.plate_samples import (
    SampleResult,
    SeriesResult,
    sample_results,
    series_results,
)
from chiploop.assays.plate_signal import NoiseModel
from chiploop.assays.plate_wells import AnalyteWells
from chiploop.assays.pooled_curves import PlatePoints, fit_plates
from chiploop.assays.quality_controls import ControlVerdict, judge_controls
from chiploop.assays.standard_curve import StandardCurve, standard_curve
from chiploop.measurement import Quality

NOISES: dict[str, NoiseModel] = {"OD": ELISA_NOISE, "MFI": NoiseModel(floor_od=5.0, cv=0.10)}
"""Unit of the signal -> typical noise. Says which fall of a top standard is more than noise."""
OTHER_NOISE = NoiseModel(floor_od=0.0, cv=0.10)
CONTROLS_FAILED = "the controls of this plate were not accepted"


@dataclass(frozen=True)
class AnalyteResult:
    """All that a plate says of one analyte."""

    wells: AnalyteWells
    curve: StandardCurve
    choice: CurveChoice | None
    """None where the model was named."""
    detection: DetectionLimit | None
    """None without blanks, or where the curve failed."""
    limits_by_cv: tuple[float, float]
    """Lowest and highest concentration in the well that is known to the rules' CV; NaN for none."""
    controls: tuple[SampleResult, ...]
    control_verdict: ControlVerdict | None
    """None where no control has a concentration."""
    samples: tuple[SampleResult, ...]
    series: tuple[SeriesResult, ...]
    """Of samples at several dilutions."""
    qc: Quality
    """``fail``: curve or controls were not accepted."""
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Taken:
    """How one curve is fitted."""

    fit: CurveFit
    choice: CurveChoice | None


def usual_weighting(analytes: Sequence[AnalyteWells]) -> Weighting:
    """Return the weights of a file without a person's word: a kit's usual floor and CV for ODs, else a
    power of the mean.
    """
    if all(one.signal_unit == "OD" for one in analytes):
        return Weighting("floor_and_cv", ELISA_NOISE.floor_od / ELISA_NOISE.cv)
    return Weighting("power")


def plate_results(
    analytes: Sequence[AnalyteWells],
    rules: AcceptanceRules | None = None,
    asked: Asked = "auto",
    weighting: Weighting | None = None,
) -> tuple[AnalyteResult, ...]:
    """Return the result of every analyte that has standards; the others are left out."""
    used = [one for one in analytes if one.has_standards]
    judged_by = rules or acceptance_rules()
    taken = _taken(used, asked, weighting or usual_weighting(used)) if used else []
    return tuple(_result(one, how, judged_by) for one, how in zip(used, taken, strict=True))


def _taken(analytes: Sequence[AnalyteWells], asked: Asked, weighting: Weighting) -> list[_Taken]:
    points = [_unhooked(one) for one in analytes]
    wanted: tuple[Model, ...] = MODELS if asked == "auto" else (asked,)
    fits = {model: fit_plates(points, model, weighting) for model in wanted}
    taken = []
    for i in range(len(analytes)):
        choice = choose([fits[model][i] for model in MODELS]) if asked == "auto" else None
        model = choice.model if choice else wanted[0]
        taken.append(_Taken(fits[model][i], choice))
    return taken


def _unhooked(one: AnalyteWells) -> PlatePoints:
    points = one.points
    hook = hook_from(points.concentration, points.signal, _noise(one))
    if hook is None:
        return points
    keep = points.concentration < hook
    return PlatePoints(points.concentration[keep], points.signal[keep])


def _noise(one: AnalyteWells) -> NoiseModel:
    return NOISES.get(one.signal_unit, OTHER_NOISE)


def _anchors(one: AnalyteWells, named: Sequence[str]) -> set[float]:
    """Return the concentrations that a layout or the rules mark as outside of the range.

    A name that no standard of this plate has is of another plate.
    """
    standards = {
        well.content.sample: float(well.content.concentration or 0.0)
        for well in one.calibrators
        if well.content.role == "standard"
    }
    anchors = {
        float(well.content.concentration or 0.0)
        for well in one.calibrators
        if well.content.is_anchor
    }
    ends = {"lowest": min(standards.values()), "highest": max(standards.values())}
    return anchors | {ends.get(name, standards.get(name, math.nan)) for name in named}


def _result(one: AnalyteWells, how: _Taken, rules: AcceptanceRules) -> AnalyteResult:
    points = one.points
    curve = standard_curve(
        points.concentration,
        points.signal,
        rules.acceptance,
        how.fit.weighting,
        _noise(one),
        model=how.fit.model,
        start=how.fit,
        nominal=[float(well.content.concentration or 0.0) for well in one.calibrators],
        plate=one.plate,
        wells=tuple(well.well for well in one.calibrators),
        reasons=[
            f"{well.content.sample or well.content.role} {well.well}: {why}"
            for well in one.calibrators
            for why in well.reasons
        ],
        unit=one.unit,
        anchors=_anchors(one, rules.calibrators.anchors),
    )
    accepted = curve.qc != "fail"
    reasons = list(curve.reasons)
    qc: Quality = curve.qc
    controls = sample_results(curve, one.of_roles("control"))
    verdict = _control_verdict(curve, controls, rules) if accepted else None
    samples = sample_results(curve, one.of_roles("sample"))
    if verdict is not None and not verdict.accepted:
        reasons += verdict.reasons
        qc = "fail"
        samples = tuple(_of_failed_run(sample) for sample in samples)
    blanks = np.array([well.signal for well in one.of_roles("blank") if math.isfinite(well.signal)])
    return AnalyteResult(
        one,
        curve,
        how.choice,
        detection_limit(curve.fit, blanks) if accepted and blanks.size else None,
        limits_by_cv(curve.fit, rules.quantification.concentration_cv)
        if accepted
        else (math.nan, math.nan),
        controls,
        verdict,
        samples,
        series_results(samples, rules.dilutions) if accepted else (),
        qc,
        tuple(reasons),
    )


def _control_verdict(
    curve: StandardCurve, controls: Sequence[SampleResult], rules: AcceptanceRules
) -> ControlVerdict | None:
    """Return the verdict on the controls, each well one of them; those beyond the limits never pass."""
    found: dict[float, list[float]] = {}
    for one in controls:
        nominal = one.nominal
        if nominal is not None and nominal > 0.0:
            got = list(one.estimate.replicates) or [math.nan] * len(one.wells)
            # A well without a number is a control that did not pass.
            got += [math.nan] * (len(one.wells) - len(got))
            found.setdefault(nominal, []).extend(
                value if math.isfinite(value) and value > 0.0 else math.nan for value in got
            )
    if not found:
        return None
    times = {one.dilution for one in controls}
    limits = (
        (curve.lloq * next(iter(times)), curve.uloq * next(iter(times)))
        if len(times) == 1
        else None
    )
    return judge_controls(found, rules.quality_controls, limits)


def _of_failed_run(one: SampleResult) -> SampleResult:
    estimate = replace(one.estimate, qc="fail", reasons=(CONTROLS_FAILED, *one.estimate.reasons))
    return replace(one, estimate=estimate)
