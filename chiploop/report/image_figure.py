"""The overlay: what was found, drawn on the image it was found in, beside the bare image.

Belongs here: what the picture shows, and its file. Not here: style (svg), measures (chiploop.microscopy).
Blue and orange of Okabe and Ito are told apart with any colour vision, and by shape as well: covered places are
dots, uncovered ones crosses. A large image is shown in part, so that every mark can be judged.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from chiploop.measurement import Readout
from chiploop.microscopy.junction_measure import JunctionMeasure
from chiploop.microscopy.nuclei_measure import NucleiMeasure
from chiploop.microscopy.planes import Plane, as_plane
from chiploop.microscopy.thickness import ThicknessMeasure
from chiploop.report.figure_looks import EDGE, FOUND, MISSING, ON_FULL, ON_PALE
from chiploop.report.svg import WIDTH_IN, Drawn, drawn, mark, set_margins, write_file

SHOWN_UM = 200.0
"""Across the part of a monolayer that is shown."""
MOST_SECTION_PX = 1200
BARS_UM = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
CORNER = (0.035, 0.05)


def junction_figure(
    image: np.ndarray | Plane,
    measured: JunctionMeasure,
    pixel_size_um: float,
    readout: Readout,
    shown_um: float = SHOWN_UM,
) -> Figure:
    """Return the middle of a plane, bare and with the places along interfaces that were asked."""
    figure, axes, corner = _monolayer(image, pixel_size_um, shown_um)
    points = measured.points_px - corner
    covered = measured.points_covered
    for which, colour, shape, told in (
        (covered, FOUND, "o", "covered"),
        (~covered, MISSING, "x", "not covered"),
    ):
        axes[1].plot(
            points[which, 1], points[which, 0], ls="", marker=shape, color=colour, ms=2.2 if shape == "o" else 3.4,
            mew=0.0 if shape == "o" else 0.9, label=told, scalex=False, scaley=False,
        )  # fmt: skip
    _titles(figure, axes, _value(readout, 100.0, "%", "border covered"), readout)
    axes[1].legend(
        loc="lower right",
        frameon=True,
        facecolor="white",
        framealpha=0.9,
        markerscale=2,
        fontsize=6.5,
    )
    return figure


def nuclei_figure(
    image: np.ndarray | Plane,
    measured: NucleiMeasure,
    pixel_size_um: float,
    readout: Readout,
) -> Figure:
    """Return the middle of a plane, bare and with the outlines and middles of nuclei."""
    figure, axes, corner = _monolayer(image, pixel_size_um)
    outline, centre = measured.outline_px - corner, measured.centre_px - corner
    axes[1].plot(
        outline[:, 1], outline[:, 0], ls="", marker=".", ms=1.4, mew=0, color=FOUND, label="outline",
        scalex=False, scaley=False,
    )  # fmt: skip
    axes[1].plot(
        centre[:, 1], centre[:, 0], ls="", marker="+", ms=4, mew=0.9, color=MISSING, label="counted",
        scalex=False, scaley=False,
    )  # fmt: skip
    _titles(figure, axes, _value(readout, 1.0, "per mm²", "nuclei"), readout)
    axes[1].legend(
        loc="lower right",
        frameon=True,
        facecolor="white",
        framealpha=0.9,
        markerscale=2,
        fontsize=6.5,
    )
    return figure


def thickness_figure(
    rgb: np.ndarray,
    measured: ThicknessMeasure,
    pixel_size_um: float,
    readout: Readout,
) -> Figure:
    """Return the whole section, bare and with the layer's edge and middle."""
    step = max(1, -(-max(rgb.shape[:2]) // MOST_SECTION_PX))
    figure, axes = _two_panels(rgb.shape[0] / rgb.shape[1])
    for ax in axes:
        ax.imshow(
            rgb[::step, ::step],
            extent=(-0.5, rgb.shape[1] - 0.5, rgb.shape[0] - 0.5, -0.5),
            interpolation="none",
        )
    if measured.mask.any():
        rows, columns = measured.mask.shape
        place = 0.5 * (measured.across - 1)
        axes[1].contour(
            np.arange(columns) * measured.across + place, np.arange(rows) * measured.across + place,
            measured.mask.astype(float), levels=[0.5], colors=[EDGE], linewidths=0.9,
        )  # fmt: skip
    axes[1].plot(measured.middle_px[:, 1], measured.middle_px[:, 0], color=MISSING, lw=1.2, ls="--")
    _scale_bar(axes[0], rgb.shape[1], rgb.shape[0], pixel_size_um, ON_PALE)
    _titles(figure, axes, _value(readout, 1.0, "um", "epidermis"), readout)
    return figure


def overlay(draw: Callable[[], Figure], name: str, readout: Readout, simulated: bool) -> Drawn:
    """Return a figure of this file as inline SVG for the report, marked where it is simulated."""
    told = f"{readout.readout} {readout.value:.4g} {readout.unit}, sd {readout.sd:.2g}"
    return drawn(name, told, draw, simulated)


def write_overlay(
    draw: Callable[[], Figure],
    path: Path,
    simulated: bool = False,
    dots_per_inch: float | None = None,
) -> None:
    """Write a figure as SVG or PNG, by the path's ending."""

    def marked() -> Figure:
        figure = draw()
        if simulated:
            mark(figure)
        return figure

    write_file(marked, path, dots_per_inch)


def _monolayer(
    image: np.ndarray | Plane, pixel_size_um: float, shown_um: float = SHOWN_UM
) -> tuple[Figure, Any, np.ndarray]:
    """Return a figure of two panels with the middle of a plane in both, and that part's first row and column."""
    plane = as_plane(image)
    part = [min(size, max(8, int(shown_um / pixel_size_um))) for size in plane.shape]
    top, left = ((size - shown) // 2 for size, shown in zip(plane.shape, part, strict=True))
    values = plane.read(top, top + part[0], left, left + part[1])
    figure, axes = _two_panels(part[0] / part[1])
    low, high = np.quantile(values, [0.01, 0.995])
    for ax in axes:
        ax.imshow(values, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), interpolation="none")
    _scale_bar(axes[0], part[1], part[0], pixel_size_um, ON_FULL)
    if part[1] < plane.shape[1] or part[0] < plane.shape[0]:
        axes[0].set_xlabel(
            f"the middle {part[1] * pixel_size_um:.0f} um of {plane.shape[1] * pixel_size_um:.0f} um"
        )
    return figure, axes, np.array([top, left])


def _two_panels(height_over_width: float) -> tuple[Figure, Any]:
    panel_in = 0.5 * (WIDTH_IN - 0.25)
    figure = Figure(figsize=(WIDTH_IN, panel_in * height_over_width + 0.62))
    axes = figure.subplots(1, 2)
    set_margins(figure, 0.05, 0.05, 0.2, 0.42, wspace=0.03)
    for ax in axes:
        ax.set_xticks([])
        ax.set_yticks([])
        for side in ax.spines.values():
            side.set_visible(False)
    return figure, axes


def _scale_bar(ax: Any, columns: int, rows: int, pixel_size_um: float, colour: str) -> None:
    length_um = max((b for b in BARS_UM if b <= 0.25 * columns * pixel_size_um), default=BARS_UM[0])
    x, y = CORNER[0] * columns, (1.0 - CORNER[1]) * rows
    ax.plot([x, x + length_um / pixel_size_um], [y, y], color=colour, lw=2.2, solid_capstyle="butt")
    ax.text(x, y - 0.02 * rows, f"{length_um} um", color=colour, fontsize=7, va="bottom")


def _titles(figure: Figure, axes: Any, told: str, readout: Readout) -> None:
    axes[0].set_title("image")
    axes[1].set_title(told)
    if readout.reasons:
        figure.text(
            0.01, 0.005, f"{readout.qc}: {readout.reasons[0]}"[:150], fontsize=6, va="bottom"
        )


def _value(readout: Readout, factor: float, unit: str, what: str) -> str:
    if readout.qc == "fail":
        return f"{what}: not measured"
    space = "" if unit == "%" else " "
    digits = 1 if factor * readout.value < 1000.0 else 0
    return f"{what}: {factor * readout.value:.{digits}f} ± {factor * readout.sd:.{digits}f}{space}{unit} (sd)"
