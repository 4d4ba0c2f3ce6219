"""What the impedance at one frequency is worth as a resistance of a barrier.

Belongs here: |Z|, its sd and what to say of it. Not here: blank, area, readout (teer), spectra.

A meter with one frequency gives |Z| there and no circuit: the barrier's capacitance makes it read
low, electrodes and medium (unless the blank is a total) make it read high. Its value is given as
measured, never corrected, always flagged, and its sd is as large as what is not known of it:

    sd^2 = scatter^2 + bypass^2 + series^2

scatter of the repeats and of one reading; bypass, what a typical barrier capacitance takes away at
this frequency; series, what electrodes and medium may add where the blank holds no total. The table
is `SingleFrequencyLimits`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chiploop.measurement import ImpedanceSpectrum


@dataclass(frozen=True)
class SingleFrequencyLimits:
    """What is assumed of a chip where one frequency can not tell. Editable."""

    reading_sd: float = 0.05
    """Relative sd of one reading: electrodes put in anew."""
    cpe_per_cm2: float = 2e-6
    """Q of the barrier, ohm^-1 s^alpha per cm2, an assumption of the order of a cell membrane's
    1 uF/cm2; with it |Z| of a barrier of 10 kohm cm2 is 35 % low at 12.5 Hz."""
    alpha: float = 0.9
    series_in_blanks: float = 2.0
    """sd of what electrodes and medium add, in R_blank of a blank that does not hold them."""


SAME_FREQUENCY = 0.02
"""Relative; points that lie closer together are one frequency, measured again."""
SINGLE_FREQUENCY = "single frequency: electrode and medium resistance are not separated"


def is_single_frequency(spectrum: ImpedanceSpectrum) -> bool:
    """Return whether all points, good or bad, were asked at one frequency."""
    hz = spectrum.frequency_hz
    return bool(hz.size and hz.min() > 0 and np.ptp(hz) <= SAME_FREQUENCY * hz.max())


def magnitude_at(
    hz: float, impedance_ohm: np.ndarray, area_cm2: float, single: SingleFrequencyLimits
) -> tuple[float, float, str]:
    """Return the median |Z| of repeats (n,), the sd of its logarithm, and what to say of it.

    The sd holds scatter and bypass; it is infinite where |Z| can not be that of a barrier with the
    typical capacitance.
    """
    magnitude = np.abs(impedance_ohm)
    n, total = magnitude.size, float(np.median(magnitude))
    # of a median of normal values: a quarter wider than that of a mean
    scatter = 1.25 * float(np.std(magnitude, ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    bypass = _bypass(total * area_cm2, hz, single)
    sd_ln = math.hypot(single.reading_sd, scatter / total, bypass)
    low = 100 * (1 - math.exp(-bypass))
    return total, sd_ln, f"{hz:g} Hz: a barrier of typical capacitance reads {low:.0f} % low"


def _bypass(magnitude_ohm_cm2: float, hz: float, single: SingleFrequencyLimits) -> float:
    """Return ln(R / |Z|) of a barrier whose |Z| is this and whose CPE is the typical one.

    Infinite where the CPE alone would pass as much: |1/R + Y|^2 = 1/|Z|^2 has no R above zero.
    """
    admittance = single.cpe_per_cm2 * (2.0 * math.pi * hz) ** single.alpha * magnitude_ohm_cm2
    if admittance >= 1.0:
        return math.inf
    turned = admittance * math.cos(single.alpha * math.pi / 2.0)
    conductance = math.sqrt(turned**2 - admittance**2 + 1.0) - turned  # |Z| / R
    return -math.log(conductance)
