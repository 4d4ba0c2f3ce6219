"""Corrected optical density of the wells of a map, and what is missing.

Belongs here: signal minus reference wavelength, well by well. Not here: what the signal means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from chiploop.assays.plate_map import PlateMap, PlateWell
from chiploop.errors import FileNotValid
from chiploop.measurement import AbsorbancePlate
from chiploop.study_parts import Kit


@dataclass(frozen=True)
class NoiseModel:
    """Standard deviation of an optical density: sqrt(floor^2 + (cv * signal)^2).

    Only the ratio of the two matters where a fit estimates the scale of its noise itself.
    """

    floor_od: float
    cv: float

    def sd(self, signal_od: float) -> float:
        """Return the sd at one signal, OD."""
        return math.hypot(self.floor_od, self.cv * max(signal_od, 0.0))


@dataclass(frozen=True)
class WellSignal:
    """Corrected signal of one well; NaN with a reason where there is none."""

    content: PlateWell
    signal_od: float
    reason: str = ""
    """``saturated``, ``masked``, ``missing``, ..., or who left it out and why; empty for a good well."""

    @property
    def told(self) -> str:
        """Return the reason as a sample tells it: a person's with the well that it is about."""
        is_word = not self.reason or " " not in self.reason
        return self.reason if is_word else f"well {self.content.well} {self.reason}"


def corrected_signals(
    plate: AbsorbancePlate, plate_map: PlateMap, kit: Kit
) -> tuple[WellSignal, ...]:
    """Return signal minus reference wavelength for every well of the map.

    Raises
    ------
    FileNotValid : the plate was not read at one of the kit's wavelengths, or is smaller than the
        map; a kit without a reference wavelength.
    """
    if kit.reference_wavelength_nm is None:
        raise FileNotValid(
            f"kit {kit.name} has no reference wavelength; absorbance of plate {plate.plate_id} needs one"
        )
    main, reference = round(kit.wavelength_nm), round(kit.reference_wavelength_nm)
    lacking = [wavelength for wavelength in (main, reference) if wavelength not in plate.absorbance]
    if lacking:
        raise FileNotValid(
            f"plate {plate.plate_id} was read at {sorted(plate.absorbance)} nm; kit {kit.name} "
            "needs "
            f"{main} and {reference} nm."
        )
    if any(plate.absorbance[wavelength].shape != (8, 12) for wavelength in (main, reference)):
        raise FileNotValid(
            f"plate {plate.plate_id} has not 8 x 12 wells; plate maps are of 96 wells."
        )
    found = []
    for one in plate_map:
        signal = plate.absorbance[main][one.index] - plate.absorbance[reference][one.index]
        reason = (
            plate.left_out.get(one.well)
            or plate.flags.get((main, one.well))
            or plate.flags.get((reference, one.well))
            or ""
        )
        if not reason and not math.isfinite(signal):
            reason = "missing"
        found.append(WellSignal(one, math.nan if reason else float(signal), reason))
    return tuple(found)


def sample_groups(
    signals: Iterable[WellSignal],
) -> dict[tuple[str, tuple[float, float], float], tuple[WellSignal, ...]]:
    """Return (chip, window h, dilution) -> the replicate wells of that sample, in the order of the
    map.
    """
    groups: dict[tuple[str, tuple[float, float], float], tuple[WellSignal, ...]] = {}
    for one in signals:
        if one.content.kind == "sample":
            assert one.content.chip is not None and one.content.window_h is not None
            key = (one.content.chip, one.content.window_h, one.content.dilution)
            groups[key] = (*groups.get(key, ()), one)
    return dict(sorted(groups.items()))
