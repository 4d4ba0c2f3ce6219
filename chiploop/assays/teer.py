"""Impedance spectrum of a chip to the electrical resistance of its barrier (TEER).

Belongs here: the readout of one chip, from circuit, blank, area and geometry. Not here: the circuit and
its fit (barrier_circuit), blanks (barrier_blank), the field between electrodes (electrode_geometry),
the sweep itself (instruments), what TEER means for the tissue (models).

    TEER = (R - R_blank) * area

R is the ohmic path through the barrier, the tissue and the membrane under it, with a constant-phase
element parallel to it; Rs is what the current meets in series: electrodes and bulk medium. Fitting the
spectrum separates the two; the impedance at one frequency does not (with R = 10 kohm it is 35 % low at
12.5 Hz).

R_blank is what a cell-free chip (membrane, no tissue) shows at the place of R, measured at the
start of the study or stated for the lot with its sd. It is NOT the total resistance of the
cell-free chip: the medium and electrodes of that total are in Rs already and would be subtracted
twice. Where only a total is known (a meter with one frequency, or DC), say ``includes_series``: it
is then subtracted from Rs + R. The area rule assumes a uniform field across the membrane;
electrodes at the ends of a channel read high on a weak barrier, and without a geometry no factor is
applied, which the method says.

A spectrum of one frequency is not fitted; what it is worth is in `single_frequency`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from chiploop.assays.barrier_blank import (
    BarrierBlank,
    Geometry,
    blank_of_cell_free_chips,
    blank_of_lot,
    geometry_of_chip,
    less_blank,
)
from chiploop.assays.barrier_circuit import (
    BarrierFit,
    SpectrumLimits,
    fit_barrier,
    resistance_at_one_frequency,
)
from chiploop.assays.electrode_geometry import ChannelElectrodes, barrier_ohm
from chiploop.assays.single_frequency import SingleFrequencyLimits, is_single_frequency
from chiploop.measurement import ImpedanceSpectrum, Readout

__all__ = [
    "BarrierBlank",
    "BarrierFit",
    "SpectrumLimits",
    "blank_of_cell_free_chips",
    "blank_of_lot",
    "fit_barrier",
    "geometry_of_chip",
    "teer_readout",
]


def teer_readout(
    spectrum: ImpedanceSpectrum,
    blank: BarrierBlank,
    area_cm2: float,
    cycle: int = 0,
    raw_sha256: str = "",
    limits: SpectrumLimits | None = None,
    single: SingleFrequencyLimits | None = None,
    geometry: Geometry = None,
) -> tuple[BarrierFit, Readout]:
    """Return the fit and the TEER readout (ohm cm2, log scale) of one chip.

    A spectrum of one frequency is not fitted: its readout is flagged (``qc`` at best ``warn``).

    The sd of ln TEER combines the fit's and the blank's. A barrier that can not be told from the
    blank (less than two sd above it) is left-censored, its bound two sd above what was found.

    With a geometry R is that of the barrier behind the field between its electrodes; outside of a
    geometry's table the readout fails.

    Raises
    ------
    ValueError : an area that is not above zero.
    """
    if not area_cm2 > 0.0:
        raise ValueError(f"area {area_cm2} cm2; TEER needs the membrane's area, above 0")
    channel_ohm = geometry.channel_ohm if isinstance(geometry, ChannelElectrodes) else 0.0
    one_frequency = is_single_frequency(spectrum)
    if one_frequency:
        single = single or SingleFrequencyLimits()
        fit = _through_field(
            resistance_at_one_frequency(spectrum, area_cm2, limits, single), channel_ohm
        )
        how = f"|Z| at {float(np.median(spectrum.frequency_hz)):g} Hz"
    else:
        fit = fit_barrier(spectrum, limits, channel_ohm)
        how = "Rs + (R parallel CPE), modulus weights"
    series_sd = 0.0
    if one_frequency and not blank.includes_series:
        assert single is not None
        series_sd = single.series_in_blanks * blank.resistance_ohm
    value, sd_ln, upper, reasons, qc = math.nan, math.nan, math.inf, fit.reasons, fit.qc
    censored = False
    if fit.qc != "fail":
        try:
            left_ohm, sd_ohm = less_blank(fit, blank, area_cm2, geometry, series_sd)
        except ValueError as outside:
            left_ohm, sd_ohm, qc, reasons = math.nan, math.nan, "fail", (*reasons, str(outside))
    if qc != "fail":
        censored = not left_ohm > 2.0 * sd_ohm
        if censored:
            upper = (max(left_ohm, 0.0) + 2.0 * sd_ohm) * area_cm2
            sd_ln = 0.5
            qc = "warn"
            reasons = (
                *reasons,
                f"barrier {left_ohm:.0f} +- {sd_ohm:.0f} ohm: not above the blank",
            )
        else:
            value, sd_ln = left_ohm * area_cm2, sd_ohm / left_ohm
    readout = Readout(
        chip_id=spectrum.chip_id,
        readout="TEER",
        value=value,
        unit="ohm cm2",
        sd=sd_ln,
        scale="log",
        time_h=spectrum.time_h,
        censoring="left" if censored else "none",
        upper=upper,
        n=1,
        qc=qc,
        reasons=reasons,
        method=(
            f"{how}; blank {blank.resistance_ohm:g} +- "
            f"{blank.sd_ohm:g} ohm"
            f" ({blank.origin or 'no origin given'}); "
            f"{geometry.told if geometry else 'area rule, geometry not corrected'}"
        ),
        raw_sha256=raw_sha256,
        cycle=cycle,
        channel="membrane",
        sd_kind="fit",
    )
    return fit, readout


def _through_field(fit: BarrierFit, channel_ohm: float) -> BarrierFit:
    """Return |Z| of one frequency as the barrier behind the field in the channels."""
    if channel_ohm == 0.0 or fit.qc == "fail":
        return fit
    value, slope = barrier_ohm(fit.resistance_ohm, channel_ohm)
    covariance = fit.covariance.copy()
    covariance[1, 1] *= (slope * fit.resistance_ohm / value) ** 2
    return replace(fit, resistance_ohm=value, covariance=covariance, channel_ohm=channel_ohm)
