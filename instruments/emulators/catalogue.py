"""Every make as an emulated device that can be served by itself: one line each.

Belongs here: which emulator stands for which make, and the keys of lab.toml that fit it. Not here:
what an emulated device does (its own file), ports (serve), a whole laboratory (virtual_room).

Readers hold a fixed dilution series, meters a fixed tissue (a resistor beside a capacitor), so that
what they measure is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import numpy as np

from instruments.emulators.biotek import BioTek
from instruments.emulators.cavro import Cavro, CavroSettings
from instruments.emulators.chemyx_fusion import ChemyxFusion, ChemyxFusionSettings
from instruments.emulators.clariostar import ClarioStar
from instruments.emulators.emstat4 import EmStat4
from instruments.emulators.emstat_pico import EmStatPico
from instruments.emulators.faults import ByteDevice
from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from instruments.emulators.protocol_11 import Protocol11, Protocol11Settings
from instruments.emulators.reglo_icc import RegloIcc, RegloIccSettings
from instruments.emulators.runze_sv06 import RunzeSv06, RunzeSv06Settings
from instruments.emulators.spectramax import SpectraMax

Clock = Callable[[], float]
Build = Callable[[Clock, Clock], ByteDevice]
"""(study time in h, link time in s) -> the device, as it is when it was just switched on."""

BLANK_OD, TOP_OD, PEAK_NM, WIDTH_NM = 0.045, 2.4, 450.0, 60.0
MEDIUM_OHM, TISSUE_OHM, TISSUE_F = 200.0, 5000.0, 1e-6
OHM_PER_CHANNEL: Final = 1000.0


@dataclass(frozen=True)
class Emulated:
    """One make as an emulated device."""

    build: Build
    lab: Mapping[str, Any] = field(default_factory=dict)
    """Keys of lab.toml that fit it, besides make and port."""


def plate_od(wavelength_nm: int) -> np.ndarray:
    """Return the plate in every emulated reader, (8, 12): halved from column to column, no noise."""
    peak = np.exp(-(((wavelength_nm - PEAK_NM) / WIDTH_NM) ** 2))
    return np.tile(BLANK_OD + TOP_OD * peak * 0.5 ** np.arange(12), (8, 1))


def tissue_ohm(channel: int, frequency_hz: np.ndarray) -> np.ndarray:
    """Return the impedance on a channel of every emulated meter; channels differ by their
    resistance."""
    barrier_ohm = TISSUE_OHM + OHM_PER_CHANNEL * channel
    return MEDIUM_OHM + barrier_ohm / (1 + 2j * np.pi * frequency_hz * barrier_ohm * TISSUE_F)


_NE1000 = Ne1000Settings(syringe_volume_ul=20_000.0, syringe_diameter_mm=19.13)
_LEGATO = Protocol11Settings(
    syringe_volume_ul=20_000.0, syringe_diameter_mm=19.13, stored_syringe_ml="20"
)
_FUSION = ChemyxFusionSettings(syringe_volume_ul=20_000.0, syringe_diameter_mm=19.13)
_SYRINGE = {
    "syringe_diameter_mm": 19.13,
    "syringe_volume_ml": 20.0,
    "min_flow_rate_ul_h": 3.0,
}
_TUBING = {
    "address": 1,
    "channel": 1,
    "tubing_id_mm": 0.25,
    "reservoir_ml": 20.0,
    "calibrated_on": date(2026, 1, 1),
    "tubing_max_age_days": 36_500,
    "min_flow_rate_ul_h": 3.0,
}
_MODULE = {"syringe_volume_ml": 1.0, "steps_per_stroke": 3000, "min_flow_rate_ul_h": 6000.0}
_CHIPS = {"channels": {"C01": 0, "C02": 1}}

EMULATORS: Final[dict[str, Emulated]] = {
    "new_era_ne1000": Emulated(lambda h, s: Ne1000(_NE1000, h, s), {"address": 0, **_SYRINGE}),
    "protocol_11": Emulated(
        lambda h, s: Protocol11(_LEGATO, h, s), {"dialect": "legato", **_SYRINGE}
    ),
    "reglo_icc": Emulated(lambda h, s: RegloIcc(RegloIccSettings(), h, s), _TUBING),
    "cavro": Emulated(lambda h, s: Cavro(CavroSettings(), h, s), _MODULE),
    "chemyx_fusion": Emulated(lambda h, s: ChemyxFusion(_FUSION, h, s), _SYRINGE),
    "spectramax": Emulated(lambda h, s: SpectraMax(plate_od, h, s)),
    "biotek": Emulated(lambda h, s: BioTek(plate_od, h, s), {"other_wavelengths": True}),
    "clariostar": Emulated(lambda h, s: ClarioStar(plate_od, h, s)),
    "emstat_pico": Emulated(lambda h, s: EmStatPico(tissue_ohm, s), _CHIPS),
    "emstat4": Emulated(lambda h, s: EmStat4(tissue_ohm, s), _CHIPS),
    "runze_sv06": Emulated(
        lambda h, s: RunzeSv06(RunzeSv06Settings(address=1), h, s), {"positions": 6, "address": 1}
    ),
}
"""Make in lab.toml -> its emulated device."""

NOT_EMULATED: Final[dict[str, str]] = {
    "manual_teer": "a person types what a hand-held meter shows; there is no wire",
    "pylabrobot": "PyLabRobot opens the port itself, and speaks to it over USB",
}
"""Make -> why there is no emulated device of it."""
