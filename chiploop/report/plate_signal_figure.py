"""Figures of one plate of a run: its wells as read, and how readings follow from its standards or controls.

Belongs here: what these pictures show. Not here: style (svg), how a curve is drawn (curve_figure), which plate
(signal_parts).

Samples stand on the curve at their mean signal, with the 95 % interval by inversion; beyond LLOQ or ULOQ they are
an arrow at the limit. Wells that a person left out are crosses: seen, and not calculated with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from chiploop.assays.immunoassay import (
    ELISA_NOISE,
    EstimatedConcentration,
    estimate_concentration,
    fit_standard_curve,
)
from chiploop.assays.plate_map import PlateMap
from chiploop.assays.plate_signal import WellSignal, corrected_signals, sample_groups
from chiploop.assays.pooled_curves import PlatePoints
from chiploop.assays.standard_curve import StandardCurve
from chiploop.measurement import AbsorbancePlate
from chiploop.report.curve_figure import draw_curve
from chiploop.report.figure_looks import ON_FULL, ON_PALE
from chiploop.report.svg import (
    DOSE,
    FAILED,
    INK,
    MEAN,
    PREDICTIVE,
    QUIET,
    WIDTH_IN,
    legend_on_top,
    set_margins,
)
from chiploop.study_parts import Kit

LEVEL = 0.95
LABELLED = 12
"""Samples up to which each bears its chip's name."""


def plate_map_figure(
    values: np.ndarray, words: Mapping[str, str], unit: str, left_out: Mapping[str, str]
) -> Figure:
    """Return a plate's wells, each with what it holds and what was read; those left out are crossed."""
    rows, columns = values.shape
    figure = Figure(figsize=(WIDTH_IN, 0.75 + 0.36 * rows))
    ax = figure.subplots()
    set_margins(figure, 0.35, 0.1, 0.15, 0.45)
    high = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    shown = np.array(
        [
            [
                values[i, j] if f"{chr(ord('A') + i)}{j + 1}" in words else np.nan
                for j in range(columns)
            ]
            for i in range(rows)
        ]
    )
    ax.imshow(shown, cmap="Blues", vmin=0.0, vmax=high * 1.15, aspect="auto")
    for i in range(rows):
        for j in range(columns):
            well = f"{chr(ord('A') + i)}{j + 1}"
            if well not in words:
                continue
            read = f"{values[i, j]:.0f}" if values[i, j] >= 1000.0 else f"{values[i, j]:.3g}"
            read = read if np.isfinite(values[i, j]) else "–"
            colour = ON_FULL if values[i, j] > 0.65 * high else ON_PALE
            ax.text(
                j, i, f"{words[well]}\n{read}", ha="center", va="center", fontsize=6, color=colour
            )
            if well in left_out:
                for ends in ((-0.45, 0.45), (0.45, -0.45)):
                    ax.plot([j - 0.45, j + 0.45], [i + ends[0], i + ends[1]], color=FAILED, lw=1.2)
    ax.set_xticks(range(columns), [str(j + 1) for j in range(columns)])
    ax.set_yticks(range(rows), [chr(ord("A") + i) for i in range(rows)])
    ax.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    ax.set_xlabel(unit, color=MEAN)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return figure


def standards_figure(plate: AbsorbancePlate, plate_map: PlateMap, kit: Kit) -> Figure:
    """Return the standard curve of an immunoassay with its limits and every sample read back from it."""
    signals = corrected_signals(plate, plate_map, kit)
    curve = fit_standard_curve(signals, kit.acceptance, ELISA_NOISE, plate.plate_id)
    figure = Figure(figsize=(WIDTH_IN, 3.9))
    ax = figure.subplots()
    set_margins(figure, 0.62, 0.15, 0.5, 0.62)
    used = [one for one in signals if one.content.kind in ("standard", "blank")]
    good = [one for one in used if not one.reason]
    points = PlatePoints(
        np.array([one.content.concentration or 0.0 for one in good]),
        np.array([one.signal_od for one in good]),
    )
    span = draw_curve(ax, kit.title, points, curve.fit, LEVEL, curve.qc == "fail")
    _out_of_curve(ax, used, raw_signals(plate, kit), plate.left_out, points)
    for limit, name in ((curve.lloq, "LLOQ"), (curve.uloq, "ULOQ")):
        if math.isfinite(limit) and span is not None:
            ax.axvline(limit, color=QUIET, lw=0.8, ls=":", zorder=0)
            ax.text(
                limit, 0.02, f" {name} {limit:.4g} ", transform=ax.get_xaxis_transform(), fontsize=6, color=QUIET,
                ha="left" if name == "LLOQ" else "right",
            )  # fmt: skip
    groups = sample_groups(signals)
    if span is not None and curve.qc != "fail":
        for (chip, _, dilution), wells in groups.items():
            found = estimate_concentration(
                curve, [one.signal_od for one in wells], dilution, [one.told for one in wells]
            )
            _sample(ax, curve, found, wells, span, chip if len(groups) <= LABELLED else "")
    ax.set_xlabel("in the well (pg/mL)")
    ax.set_ylabel("OD, corrected")
    handles: list[Any] = [
        Line2D([], [], color=INK, ls="", marker="o", ms=3, mfc="none", label="standards, blanks"),
        Line2D([], [], color=MEAN, label=f"{curve.fit.model.upper()} fit"),
        Patch(color=PREDICTIVE, lw=0, label=f"{LEVEL:.0%} of a single well"),
        Line2D([], [], color=DOSE, marker="D", ms=3, lw=1, label=f"samples, {LEVEL:.0%} interval"),
    ]
    if any(one.well in plate.left_out for one in plate_map):
        handles.append(
            Line2D([], [], color=FAILED, ls="", marker="x", ms=4, label="left out by a person")
        )
    legend_on_top(figure, handles, 5)
    return figure


def raw_signals(plate: AbsorbancePlate, kit: Kit) -> np.ndarray:
    """Return the corrected signal of every well, of those left out too."""
    main = plate.absorbance[round(kit.wavelength_nm)]
    if kit.reference_wavelength_nm is None:
        return main
    return np.asarray(main - plate.absorbance[round(kit.reference_wavelength_nm)])


def _out_of_curve(
    ax: Any,
    used: Sequence[WellSignal],
    raw: np.ndarray,
    left_out: Mapping[str, str],
    points: PlatePoints,
) -> None:
    """Draw the standards and blanks that a person left out, where they would have stood."""
    low = float(points.concentration[points.concentration > 0.0].min(initial=1.0))
    for one in used:
        if one.content.well in left_out:
            at = one.content.concentration or low / 2.0
            ax.plot([at], [raw[one.content.index]], "x", color=FAILED, ms=4, mew=1.1)


def _sample(
    ax: Any,
    curve: StandardCurve,
    found: EstimatedConcentration,
    wells: Sequence[WellSignal],
    span: tuple[float, float],
    name: str,
) -> None:
    """Draw a sample on the scale of the well, or an arrow at the limit that it lies beyond."""
    times = wells[0].content.dilution
    good = [one.signal_od for one in wells if math.isfinite(one.signal_od)]
    if found.censoring != "none":
        is_above = found.censoring == "right"
        x = curve.uloq if is_above else curve.lloq
        y = float(curve.fit.curve.signal(x))
        ax.plot([x], [y], ">" if is_above else "<", color=DOSE, ms=3.4, mfc="none")
    elif math.isfinite(found.value) and good:
        x, y = found.value / times, float(np.mean(good))
        low, high = (end / times for end in found.interval)
        ax.plot([max(low, span[0]), min(high, span[1])], [y, y], color=DOSE, lw=0.9)
        ax.plot([x], [y], "D", color=DOSE, ms=2.6)
    else:
        return
    if name:
        ax.annotate(
            name, (x, y), xytext=(4, -6), textcoords="offset points", fontsize=5.5, color=DOSE
        )


def controls_figure(plate: AbsorbancePlate, plate_map: PlateMap, kit: Kit) -> Figure:
    """Return the wells of an assay with controls by what they hold: means of controls are lines."""
    raw = raw_signals(plate, kit)
    names: dict[str, list[tuple[float, bool]]] = {}
    for one in sorted(plate_map, key=lambda one: (one.kind == "sample", one.chip or "")):
        name = one.chip if one.kind == "sample" and one.chip else one.kind.replace("_", " ")
        names.setdefault(name, []).append((float(raw[one.index]), one.well in plate.left_out))
    few = len(names) <= 16
    figure = Figure(figsize=(WIDTH_IN, 2.9))
    ax = figure.subplots()
    set_margins(figure, 0.62, 0.15, 0.35 if few else 0.7, 0.45)
    chips = {one.chip for one in plate_map if one.kind == "sample"}
    for at, (name, wells) in enumerate(names.items()):
        is_sample = name in chips
        kept = [value for value, is_out in wells if not is_out]
        ax.plot(
            [at] * len(kept), kept, "o", color=DOSE if is_sample else INK, ms=3, mfc="none", mew=0.8
        )
        out = [value for value, is_out in wells if is_out]
        ax.plot([at] * len(out), out, "x", color=FAILED, ms=4, mew=1.1)
        if not is_sample and kept:
            ax.axhline(float(np.mean(kept)), color=QUIET, lw=0.8, ls=":", zorder=0)
    ax.set_xticks(range(len(names)), list(names), rotation=0 if few else 90, fontsize=6.5)
    ax.set_ylabel("OD, corrected")
    handles: list[Any] = [
        Line2D([], [], color=INK, ls="", marker="o", ms=3, mfc="none", label="controls"),
        Line2D([], [], color=QUIET, ls=":", label="mean of a control"),
        Line2D([], [], color=DOSE, ls="", marker="o", ms=3, mfc="none", label="samples"),
    ]
    if plate.left_out:
        handles.append(
            Line2D([], [], color=FAILED, ls="", marker="x", ms=4, label="left out by a person")
        )
    legend_on_top(figure, handles, 4)
    return figure
