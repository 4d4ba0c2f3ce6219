"""Results of a plate as plain values: the JSON object and the rows of the CSV.

Belongs here: names and values for programs. Not here: text for people (plate_text).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chiploop.assays.plate_assay import AnalyteResult
from chiploop.assays.plate_samples import SampleResult
from flows.cli.curve import parameters_as_json, plain

VECTOR = ("lower", "upper", "ln_location", "ln_hill", "ln_asymmetry")
COLUMNS = (
    "plate", "analyte", "role", "sample", "wells", "dilution", "value", "unit", "lower", "upper",
    "censoring", "sd_ln", "n", "cv", "cv_signal", "beads", "nominal", "qc", "reasons", "raw_sha256",
)  # fmt: skip
"""``lower`` and ``upper`` are the 95 % interval, or the bound of a censored sample; empty where open."""


def result_as_json(one: AnalyteResult) -> dict[str, Any]:
    """Return the plain values of one analyte of one plate."""
    curve, fit = one.curve, one.curve.fit
    return {
        "plate": one.wells.plate,
        "analyte": one.wells.analyte,
        "signal_unit": one.wells.signal_unit,
        "unit": one.wells.unit or None,
        "qc": one.qc,
        "reasons": list(one.reasons),
        "curve": {
            "model": fit.model,
            "choice": one.choice.reason if one.choice else None,
            "weights": fit.weighting.name,
            "weights_number": fit.weighting.number,
            "parameters": parameters_as_json(fit),
            "covariance": {
                "of": [VECTOR[place] for place in fit.free],
                "values": None if fit.failure else _rows(curve.covariance),
            },
            "sigma": plain(fit.residual_scale),
            "df": fit.degrees_of_freedom,
            "n": int(fit.y.size),
            "aicc": plain(fit.aicc),
            "wells": list(curve.wells),
        },
        "lloq": plain(curve.lloq),
        "uloq": plain(curve.uloq),
        "lod": None
        if one.detection is None
        else {
            "concentration": plain(one.detection.concentration),
            "signal": plain(one.detection.signal),
            "sd_from": one.detection.sd_from,
        },
        "limits_by_cv": [plain(limit) for limit in one.limits_by_cv],
        "calibrators": [
            {
                "concentration": level.concentration,
                "n": level.n,
                "mean_signal": plain(level.mean_signal_od),
                "back_calculated": plain(level.back_calculated),
                "recovery": plain(level.recovery),
                "anchor": level.is_anchor,
                "passed": None if level.is_anchor else level.passed,
            }
            for level in curve.levels
        ],
        "controls": {
            "accepted": one.control_verdict.accepted if one.control_verdict else None,
            "reasons": list(one.control_verdict.reasons) if one.control_verdict else [],
            "levels": [
                {
                    "nominal": level.nominal,
                    "values": [plain(value) for value in level.values],
                    "bias": plain(level.bias),
                    "cv": plain(level.cv),
                    "n_passed": level.n_passed,
                    "reasons": list(level.reasons),
                }
                for level in (one.control_verdict.levels if one.control_verdict else ())
            ],
            "wells": [_sample_as_json(sample) for sample in one.controls],
        },
        "samples": [_sample_as_json(sample) for sample in one.samples],
        "series": [
            {
                "sample": series.series,
                "dilutions": list(series.dilutions),
                "n": series.verdict.n,
                "cv": plain(series.verdict.cv),
                "parallel": series.verdict.is_parallel,
                "recoveries": [plain(value) for value in series.verdict.recoveries],
                "linear": series.verdict.is_linear,
                "slope": plain(series.verdict.slope),
                "slope_sd": plain(series.verdict.slope_sd),
                "hooked": series.verdict.is_hooked,
                "qc": series.verdict.qc,
                "reasons": list(series.verdict.reasons),
            }
            for series in one.series
        ],
    }


def _rows(matrix: np.ndarray) -> list[list[float | None]]:
    return [[plain(float(value)) for value in row] for row in matrix]


def _sample_as_json(one: SampleResult) -> dict[str, Any]:
    estimate = one.estimate
    lower, upper = bounds_of(one)
    return {
        "sample": one.sample,
        "series": one.series,
        "wells": list(one.wells),
        "signals": [plain(signal) for signal in one.signals],
        "dilution": one.dilution,
        "value": plain(estimate.value),
        "lower": plain(lower),
        "upper": plain(upper),
        "censoring": estimate.censoring,
        "sd_ln": plain(estimate.sd_ln),
        "curve": [plain(lean) for lean in estimate.curve],
        "n": estimate.n,
        "cv": plain(estimate.cv),
        "cv_signal": plain(estimate.cv_signal),
        "replicates": [plain(value) for value in estimate.replicates],
        "beads": plain(one.beads),
        "nominal": one.nominal,
        "qc": estimate.qc,
        "reasons": list(estimate.reasons),
    }


def bounds_of(one: SampleResult) -> tuple[float, float]:
    """Return the 95 % interval of a sample, or the bounds of a censored one."""
    estimate = one.estimate
    if estimate.censoring != "none":
        return estimate.lower, estimate.upper
    return estimate.interval


def write_table(results: Sequence[AnalyteResult], sha256: str, path: Path) -> None:
    """Write one row per analyte and sample; OSError where it can not be."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for one in results:
            for role, samples in (("control", one.controls), ("sample", one.samples)):
                for sample in samples:
                    table.writerow(_row(one, role, sample, sha256))


def _row(one: AnalyteResult, role: str, sample: SampleResult, sha256: str) -> list[str | int]:
    estimate = sample.estimate
    lower, upper = bounds_of(sample)
    return [
        one.wells.plate,
        one.wells.analyte,
        role,
        sample.sample,
        " ".join(sample.wells),
        _number(sample.dilution),
        _number(estimate.value),
        one.wells.unit,
        _number(lower),
        _number(upper),
        estimate.censoring,
        _number(estimate.sd_ln),
        estimate.n,
        _number(estimate.cv),
        _number(estimate.cv_signal),
        _number(sample.beads),
        "" if sample.nominal is None or role == "sample" else _number(sample.nominal),
        estimate.qc,
        "; ".join(estimate.reasons),
        sha256,
    ]


def _number(value: float) -> str:
    return f"{value:.9g}" if math.isfinite(value) else ""
