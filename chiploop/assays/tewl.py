"""Transepidermal water loss of one reading, with the surroundings it was taken in.

Belongs here: what a reading must state to count, and when it is flagged. Not here: permeability to
tracers (permeability), what models make of it.

TEWL is a flux of water, g m^-2 h^-1. It hangs on ambient humidity, temperature and air movement, and
on how long probe and surface settled; values of open, closed and condenser chambers are not the same
scale. The published guidelines (Pinnagoda 1990; EEMCO, Rogiers 2001; read as the maker of a probe
quotes them) ask for 20 to 22 degC, 40 % to at most 60 % relative humidity and 15 to 30 min of
settling: the limits here, to be edited. On a chip it is the water that leaves an
air-exposed surface, not the barrier of skin: never to be compared with values of skin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from chiploop.measurement import Quality, Readout

UNIT = "g/m2/h"
Probe = Literal["open", "closed", "condenser"]
Surface = Literal["chip", "insert", "skin"]
ON_CHIP = "water flux of a chip or insert: not to be compared with values of skin"
LEAST_SD = 0.02
"""Of ln flux, where a single reading tells no scatter: 2 %, half of what probes state."""
USUAL_SD = 0.10
"""Of ln flux of one reading without repeats; typical of probes."""


@dataclass(frozen=True)
class AmbientLimits:
    """Surroundings in which a reading counts without a flag. Editable."""

    humidity_percent: tuple[float, float] = (40.0, 60.0)
    temperature_c: tuple[float, float] = (20.0, 22.0)
    least_settling_min: float = 15.0
    largest_flux: float = 200.0
    """g/m2/h; ours, to be set to the range of the probe."""


@dataclass(frozen=True)
class TewlReading:
    """Repeated readings of one surface at one moment; nothing of the surroundings may be left out."""

    chip_id: str
    time_h: float
    flux_g_m2_h: tuple[float, ...]
    """Of the repeats; below 0 where the probe said so."""
    relative_humidity_percent: float
    temperature_c: float
    """Of the room."""
    settling_min: float
    """That surface and probe stood in that room before the reading."""
    probe: Probe
    surface: Surface
    probe_name: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a reading that leaves out, or misstates, its surroundings."""
        said = f"TEWL of {self.chip_id} at {self.time_h:g} h"
        if self.probe not in get_args(Probe):
            raise ValueError(f"{said}: probe {self.probe!r}; allowed: {get_args(Probe)}")
        if self.surface not in get_args(Surface):
            raise ValueError(f"{said}: surface {self.surface!r}; allowed: {get_args(Surface)}")
        if not self.flux_g_m2_h or not all(math.isfinite(one) for one in self.flux_g_m2_h):
            raise ValueError(f"{said}: fluxes {self.flux_g_m2_h}; at least one number is needed")
        for name, value, low, high in (
            ("relative humidity", self.relative_humidity_percent, 0.0, 100.0),
            ("room temperature", self.temperature_c, 0.0, 50.0),
            ("settling time", self.settling_min, 0.0, 24 * 60.0),
        ):
            if value is None or not low <= value <= high:
                raise ValueError(
                    f"{said}: {name} {value}; it must be stated, from {low:g} to {high:g}"
                )


def tewl_readout(
    reading: TewlReading, limits: AmbientLimits | None = None, cycle: int = 0
) -> Readout:
    """Return ln flux with its sd; flagged outside of the stated surroundings.

    A mean that is not above 0 is no flux on the ln scale: it fails, and its number is told.
    """
    limits = limits or AmbientLimits()
    reasons = list(_flags(reading, limits))
    values: Sequence[float] = reading.flux_g_m2_h
    mean, n = float(np.mean(values)), len(values)
    qc: Quality = "warn" if reasons else "ok"
    sd = USUAL_SD
    if mean <= 0.0:
        reasons.append(f"mean flux {mean:.3g} {UNIT} is not above 0: zero the probe and read again")
        qc = "fail"
    elif n > 2:
        sd = max(float(np.std(values, ddof=1)) / mean / math.sqrt(n), LEAST_SD)
    else:
        reasons.append(
            f"{n} reading{'s' if n > 1 else ''}: sd taken as {USUAL_SD:.0%}, three tell their own"
        )
    if reading.surface != "skin":
        reasons.append(ON_CHIP)
    told = (
        f"TEWL, {reading.probe} chamber{f' {reading.probe_name}' if reading.probe_name else ''}, "
        f"{reading.surface}, {reading.relative_humidity_percent:g} % RH, {reading.temperature_c:g} degC, "
        f"settled {reading.settling_min:g} min"
    )
    return Readout(
        chip_id=reading.chip_id,
        readout="TEWL" if reading.surface == "skin" else "water_flux",
        value=mean if qc != "fail" else math.nan,
        unit=UNIT,
        sd=sd if qc != "fail" else math.nan,
        scale="log",
        time_h=reading.time_h,
        n=n,
        qc=qc,
        reasons=tuple(reasons),
        method=told,
        cycle=cycle,
    )


def _flags(reading: TewlReading, limits: AmbientLimits) -> list[str]:
    found = []
    for name, value, (low, high), unit in (
        ("relative humidity", reading.relative_humidity_percent, limits.humidity_percent, "%"),
        ("room temperature", reading.temperature_c, limits.temperature_c, "degC"),
    ):
        if not low <= value <= high:
            found.append(f"{name} {value:g} {unit} is outside {low:g} to {high:g} {unit}")
    if reading.settling_min < limits.least_settling_min:
        found.append(
            f"settled {reading.settling_min:g} min, less than {limits.least_settling_min:g} min"
        )
    if max(reading.flux_g_m2_h) > limits.largest_flux:
        found.append(
            f"flux {max(reading.flux_g_m2_h):g} {UNIT} is above {limits.largest_flux:g}, the probe's range"
        )
    return found
