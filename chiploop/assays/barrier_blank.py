"""What a cell-free chip shows, and what is left of a barrier without it.

Belongs here: blanks and their subtraction, through the field between the electrodes. Not here: the fit
(barrier_circuit), readouts (teer).

Under a uniform field resistances in series add, and TEER = (R - R_blank) area. Under any other they do
not: each is turned into an area resistance first, and these are subtracted. Errors go by the delta
method, with Rs and R as correlated as the fit has them; a test holds them to repeated draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.assays.barrier_circuit import BarrierFit, good_points
from chiploop.assays.electrode_geometry import ChannelElectrodes, GeometryTable, barrier_ohm
from chiploop.measurement import ImpedanceSpectrum
from chiploop.study_parts import Chip

Geometry = ChannelElectrodes | GeometryTable | None
"""None is the plain area rule."""


@dataclass(frozen=True)
class BarrierBlank:
    """Resistance of a cell-free chip, to be subtracted."""

    resistance_ohm: float
    sd_ohm: float
    """Standard deviation between cell-free chips, or of the one that was measured."""
    includes_series: bool = False
    """True where medium and electrodes are in it too (a total); it is then taken from Rs + R."""
    origin: str = ""
    """Which chip, lot or data sheet it comes from."""

    def __post_init__(self) -> None:
        """Raise ValueError for a blank without a usable value or sd."""
        if not (self.resistance_ohm >= 0.0 and self.sd_ohm >= 0.0 and math.isfinite(self.sd_ohm)):
            raise ValueError(
                f"blank {self.resistance_ohm} +- {self.sd_ohm} ohm: 0 or above, with its sd"
            )


def blank_of_lot(chip: Chip) -> BarrierBlank:
    """Return the blank that the chip's file states, at the place of R."""
    return BarrierBlank(
        chip.blank_resistance_ohm,
        chip.blank_resistance_sd_ohm,
        False,
        f"{chip.name}, stated for the lot",
    )


def geometry_of_chip(chip: Chip) -> ChannelElectrodes | None:
    """Return the geometry that the chip's file states; None where it states none."""
    stated = chip.electrodes
    if stated is None:
        return None
    return ChannelElectrodes(
        stated.position,
        stated.length_mm,
        stated.width_mm,
        stated.height_mm,
        stated.resistivity_ohm_cm,
    )


def blank_of_cell_free_chips(spectra: Sequence[ImpedanceSpectrum]) -> BarrierBlank:
    """Return the blank from spectra of cell-free chips: mean and sd of their total resistance.

    A bare membrane has no arc, so R and Rs can not be told apart in it; the low-frequency end of
    the spectrum is the total, and it is subtracted from a chip's total (``includes_series``).

    Raises
    ------
    ValueError : no spectrum, or one without a good point.
    """
    totals = []
    for spectrum in spectra:
        good = good_points(spectrum)
        if not np.any(good):
            raise ValueError(f"cell-free chip {spectrum.chip_id}: no good point in its spectrum")
        order = np.argsort(spectrum.frequency_hz[good])
        totals.append(float(np.median(spectrum.impedance_ohm[good][order][:5].real)))
    if not totals:
        raise ValueError("no spectrum of a cell-free chip")
    # One chip tells no scatter between chips: 5 %, typical of a lot, stands in for it.
    sd = float(np.std(totals, ddof=1)) if len(totals) > 1 else 0.05 * totals[0]
    names = ", ".join(spectrum.chip_id for spectrum in spectra)
    return BarrierBlank(float(np.mean(totals)), sd, True, f"cell-free {names}")


def less_blank(
    fit: BarrierFit,
    blank: BarrierBlank,
    area_cm2: float,
    geometry: Geometry = None,
    series_sd_ohm: float = 0.0,
) -> tuple[float, float]:
    """Return what is left of a fitted barrier in ohm under a uniform field, and its sd.

    Parameters
    ----------
    fit : with the ``channel_ohm`` of its geometry.
    series_sd_ohm : of electrodes and medium that neither fit nor blank has told apart.

    Raises
    ------
    ValueError : outside of a geometry's table.
    """
    if isinstance(geometry, GeometryTable):
        return _by_table(fit, blank, area_cm2, geometry, series_sd_ohm)
    measured, measured_sd = fit.resistance_ohm, fit.resistance_sd_ohm
    blank_ohm, blank_sd = blank.resistance_ohm, blank.sd_ohm
    if blank.includes_series and fit.channel_ohm == 0.0:
        measured, measured_sd = fit.total_ohm, fit.total_sd_ohm
    elif blank.includes_series:
        of_membrane = blank.resistance_ohm - fit.series_ohm
        # Where the chip's own Rs is all of it, no membrane is left to subtract.
        blank_ohm, slope = (0.0, 0.0)
        if of_membrane > 0.0:
            blank_ohm, slope = barrier_ohm(of_membrane, fit.channel_ohm)
        blank_sd *= slope
        measured_sd = _sd(fit, slope * fit.series_ohm, fit.resistance_ohm)
    if series_sd_ohm > 0.0:
        measured_sd = math.hypot(measured_sd, series_sd_ohm)
    return measured - blank_ohm, math.hypot(measured_sd, blank_sd)


def _sd(fit: BarrierFit, by_ln_series: float, by_ln_resistance: float) -> float:
    gradient = np.array([by_ln_series, by_ln_resistance])
    return math.sqrt(max(float(gradient @ fit.covariance[:2, :2] @ gradient), 0.0))


def _by_table(
    fit: BarrierFit,
    blank: BarrierBlank,
    area_cm2: float,
    table: GeometryTable,
    series_sd_ohm: float,
) -> tuple[float, float]:
    teer, slope = table.teer(fit.total_ohm)
    of_blank = blank.resistance_ohm + (0.0 if blank.includes_series else fit.series_ohm)
    teer_blank, by_blank = table.teer(of_blank)
    shared = 0.0 if blank.includes_series else by_blank
    fit_sd = _sd(fit, (slope - shared) * fit.series_ohm, slope * fit.resistance_ohm)
    sd = math.hypot(fit_sd, slope * series_sd_ohm, by_blank * blank.sd_ohm)
    return (teer - teer_blank) / area_cm2, sd / area_cm2
