"""Figure of one impedance spectrum: Nyquist, Bode, and what the fits leave.

Belongs here: what the figure shows, and its file. Not here: style (svg), fits (assays).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiploop.assays.barrier_analysis import BarrierAnalysis
from chiploop.assays.barrier_circuit import circuit, good_points
from chiploop.measurement import ImpedanceSpectrum
from chiploop.report.svg import (
    DOSE,
    FAILED,
    INK,
    MEAN,
    QUIET,
    WIDTH_IN,
    legend_on_top,
    plain_log_axis,
    set_margins,
    write_file,
)

FINE = 240
LABELLED_DECADES = 6
HEIGHT_IN = 4.3
FEW_DECADES = 200.0
"""High over low of an axis that has ticks at 1, 2 and 5."""


def impedance_figure(spectrum: ImpedanceSpectrum, analysis: BarrierAnalysis, title: str) -> Figure:
    """Return Nyquist on the left; |Z|, phase and residuals over frequency on the right."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN))
    grid = figure.add_gridspec(3, 2, height_ratios=(1.0, 1.0, 0.85), width_ratios=(1.1, 1.0))
    nyquist = figure.add_subplot(grid[:2, 0])
    size = figure.add_subplot(grid[0, 1])
    phase = figure.add_subplot(grid[1, 1], sharex=size)
    rest = figure.add_subplot(grid[2, 1], sharex=size)
    words = figure.add_subplot(grid[2, 0])
    set_margins(figure, 0.55, 0.15, 0.45, 0.66, hspace=0.2, wspace=0.26)
    good = good_points(spectrum)
    hz, z = spectrum.frequency_hz[good], spectrum.impedance_ohm[good]
    scale, unit = (1e-3, "kΩ") if z.size and np.max(np.abs(z)) >= 2000.0 else (1.0, "Ω")
    fine_hz, fine = _model(hz, analysis)
    nyquist.plot(scale * z.real, -scale * z.imag, "o", color=INK, ms=3.2, mfc="none", mew=0.8)
    if fine.size:
        nyquist.plot(scale * fine.real, -scale * fine.imag, color=MEAN, zorder=1)
    _label_decades(nyquist, hz, z, scale)
    _frame(nyquist, scale * z)
    nyquist.axhline(0.0, color=QUIET, lw=0.5, zorder=0)
    nyquist.set_xlabel(f"Z' ({unit})")
    nyquist.set_ylabel(f"-Z'' ({unit})")
    size.loglog(hz, scale * np.abs(z), "o", color=INK, ms=3.0, mfc="none", mew=0.8)
    phase.semilogx(hz, -np.angle(z, deg=True), "o", color=INK, ms=3.0, mfc="none", mew=0.8)
    if fine.size:
        size.loglog(fine_hz, scale * np.abs(fine), color=MEAN, zorder=1)
        phase.semilogx(fine_hz, -np.angle(fine, deg=True), color=MEAN, zorder=1)
    size.set_ylabel(f"|Z| ({unit})")
    phase.set_ylabel("-phase (°)")
    _residuals(rest, analysis)
    rest.set_xlabel("frequency (Hz)")
    _log_ticks(size)
    _words(words, analysis)
    for ax in (size, phase):
        ax.tick_params(labelbottom=False)
    for ax in (size, phase, rest):
        ax.minorticks_off()
    bad = spectrum.frequency_hz.size - hz.size
    handles: list[Any] = [
        Line2D([], [], color=INK, ls="", marker="o", ms=3.2, mfc="none", label="measured"),
        Line2D([], [], color=MEAN, label="fitted circuit" if fine.size else "no fit"),
        Line2D([], [], color=INK, ls="", marker="o", ms=3, label="Kramers-Kronig, real"),
        Line2D([], [], color=DOSE, ls="", marker="D", ms=3, label="imaginary"),
    ]
    legend_on_top(figure, handles, 4)
    figure.text(0.005, 1.0 - 0.32 / HEIGHT_IN, title, ha="left", va="top", fontweight="bold")
    head, colour = _verdicts(analysis, bad)
    figure.text(0.995, 1.0 - 0.32 / HEIGHT_IN, head, ha="right", va="top", color=colour)
    return figure


def _model(hz: np.ndarray, analysis: BarrierAnalysis) -> tuple[np.ndarray, np.ndarray]:
    fit = analysis.fit
    if analysis.resistance is None or not hz.size:
        return np.array([]), np.array([], dtype=complex)
    fine = np.geomspace(hz.min(), hz.max(), FINE)
    logs = [math.log(fit.series_ohm), math.log(fit.resistance_ohm), math.log(fit.cpe)]
    log_jw = np.log(2.0 * math.pi * fine) + 0.5j * math.pi
    return fine, circuit(np.array([*logs, fit.alpha]), log_jw, fit.channel_ohm)[0]


def _frame(ax: Any, z: np.ndarray) -> None:
    """Give both axes one scale, the real axis at the bottom."""
    if not z.size:
        return
    box = ax.get_position()
    width, height = ax.figure.get_size_inches()
    ratio = box.height * height / (box.width * width)
    low, high = float(z.real.min()), float(z.real.max())
    below, above = min(float(np.min(-z.imag)), 0.0), float(np.max(-z.imag))
    span = max(1.42 * (high - low), 1.3 * (above - below) / ratio, 1e-9 * abs(high), 1e-12)
    middle = 0.5 * (low + high)
    ax.set_xlim(middle - span / 2.0, middle + span / 2.0)
    start = below - 0.07 * span * ratio
    ax.set_ylim(start, start + span * ratio)


def _log_ticks(ax: Any) -> None:
    plain_log_axis(ax.yaxis)
    low, high = ax.get_ylim()
    if high < FEW_DECADES * low:
        steps = (1.0, 2.0, 5.0) if high > 4.0 * low else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
        first = math.floor(math.log10(low))
        decades = range(first, math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**k for k in decades for step in steps]
        within = [tick for tick in ticks if low <= tick <= high]
        ax.set_yticks(within or [low, high], None if within else [f"{low:.3g}", f"{high:.3g}"])


def _words(ax: Any, analysis: BarrierAnalysis) -> None:
    """Write the circuit and the checks as a small table."""
    ax.set_axis_off()
    fit, kk, drift = analysis.fit, analysis.kramers_kronig, analysis.drift
    rows = []
    if analysis.resistance is not None and analysis.series is not None:
        rows += [
            ("R", f"{_plain(analysis.resistance.value)} ± {_plain(analysis.resistance.sd, 2)} Ω"),
            ("Rs", f"{_plain(analysis.series.value)} ± {_plain(analysis.series.sd, 2)} Ω"),
            ("CPE", f"Q {fit.cpe:.3g} S sᵅ, α {fit.alpha:.3f}"),
        ]
    said = kk.verdict.replace("_", " ")
    if math.isfinite(kk.drift):
        said += f"; {kk.drift_of} in the sweep {100 * kk.drift:+.0f} ± {100 * kk.drift_sd:.0f} %"
    rows.append(("Kramers-Kronig", said))
    said = drift.verdict.replace("_", " ")
    if math.isfinite(drift.change):
        said += f"; {_hertz(drift.frequency_hz)} again: {100 * drift.change:.1f} %"
    rows.append(("drift", said))
    for i, (name, value) in enumerate(rows):
        y = 0.58 - 0.21 * i
        flagged = value.startswith("flag")
        ax.text(-0.02, y, name, transform=ax.transAxes, va="center", color=QUIET, fontsize=7)
        ax.text(
            0.27, y, value, transform=ax.transAxes, va="center", fontsize=7,
            color=FAILED if flagged else INK,
        )  # fmt: skip


def _label_decades(ax: Any, hz: np.ndarray, z: np.ndarray, scale: float) -> None:
    """Write the frequency beside the point that is closest to each power of ten."""
    if not hz.size:
        return
    span = scale * float(np.ptp(z.real))
    centre = scale * 0.5 * float(z.real.min() + z.real.max())
    last: tuple[float, float] | None = None
    told = 0
    for k in range(math.floor(math.log10(hz.max())), math.ceil(math.log10(hz.min())) - 1, -1):
        i = int(np.argmin(np.abs(np.log10(hz) - k)))
        at = (scale * float(z[i].real), -scale * float(z[i].imag))
        close = last is not None and math.hypot(at[0] - last[0], at[1] - last[1]) < 0.11 * span
        if abs(math.log10(hz[i]) - k) > 0.06 or close or told >= LABELLED_DECADES:
            continue
        outward = np.array([at[0] - centre, at[1] + 0.12 * span])
        outward = 11.0 * outward / max(float(np.hypot(*outward)), 1e-12)
        ax.annotate(
            _hertz(10.0**k), at, xytext=tuple(outward), textcoords="offset points",
            ha="right" if outward[0] < -4.0 else "left" if outward[0] > 4.0 else "center",
            va="center", fontsize=6.5, color=QUIET,
        )  # fmt: skip
        last, told = at, told + 1


def _plain(value: float, digits: int = 4) -> str:
    """Return a number as people write it: 19790, not 1.979e+04."""
    return f"{float(f'{value:.{digits}g}'):.12g}"


def _hertz(hz: float) -> str:
    return f"{hz / 1000:g} kHz" if hz >= 1000.0 else f"{hz:g} Hz"


def _residuals(ax: Any, analysis: BarrierAnalysis) -> None:
    check = analysis.kramers_kronig
    ax.axhline(0.0, color=QUIET, lw=0.5, zorder=0)
    ax.set_ylabel("KK rest (%)")
    if not check.residual:
        ax.set_yticks([])
        ax.text(
            0.5, 0.5, "not checked", transform=ax.transAxes, ha="center", va="center", color=QUIET
        )
        return
    hz, left = np.array(check.frequency_hz), 100.0 * np.array(check.residual)
    ax.semilogx(hz, left.real, "o", color=INK, ms=2.4)
    ax.semilogx(hz, left.imag, "D", color=DOSE, ms=2.2)
    most = 1.25 * float(np.max(np.abs(np.concatenate([left.real, left.imag]))))
    ax.set_ylim(-max(most, 0.1), max(most, 0.1))


def _verdicts(analysis: BarrierAnalysis, bad: int) -> tuple[str, str]:
    words = []
    teer = analysis.teer
    unit = "Ω cm²" if analysis.unit == "ohm cm2" else "Ω"
    name = "TEER" if analysis.unit == "ohm cm2" else "R"
    if math.isfinite(teer.value):
        words.append(
            f"{name} {_plain(teer.value)} ({_plain(teer.lower)} to {_plain(teer.upper)}) {unit}"
        )
    elif analysis.censoring == "left":
        words.append(f"{name} below {analysis.upper_bound:.3g} {unit}")
    else:
        words.append(f"no {name}")
    if analysis.kramers_kronig.verdict == "flag":
        words.append("Kramers-Kronig flagged")
    if analysis.drift.verdict == "flag":
        words.append("drift flagged")
    if bad:
        words.append(f"{bad} points left out")
    return "; ".join(words), FAILED if analysis.qc == "fail" or len(words) > 1 else INK


def write_impedance_figure(
    spectrum: ImpedanceSpectrum, analysis: BarrierAnalysis, title: str, path: Path
) -> None:
    """Write the figure in the format of the path's ending; OSError where it can not be."""
    write_file(lambda: impedance_figure(spectrum, analysis, title), path)
