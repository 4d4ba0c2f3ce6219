"""The pump makes of the fault matrix: emulator, driver, and a dose that suits them.

Belongs here: one entry per make and dialect. Not here: faults, verdicts (fault_matrix).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from instruments.drivers import DRIVERS
from instruments.emulators.cavro import Cavro, CavroSettings
from instruments.emulators.chemyx_fusion import ChemyxFusion, ChemyxFusionSettings
from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from instruments.emulators.protocol_11 import Protocol11, Protocol11Settings
from instruments.emulators.reglo_icc import RegloIcc, RegloIccSettings
from instruments.transport import Transport

Clock = Callable[[], float]


def nothing(pump: Any) -> None:
    """Leave a pump as it is after power-up."""


@dataclass(frozen=True)
class MatrixMake:
    """One make in one dialect, with the dose that every case gives."""

    name: str
    device: Callable[[Clock, Clock], Any]
    """(study time in h, link time in s) -> emulated pump."""
    make: str
    """Key of ``DRIVERS``."""
    entry: dict[str, Any]
    flow_rate_ul_h: float
    volume_ul: float
    resolution_ul: float
    """Smallest step of the pump's counter."""
    make_ready: Callable[[Any], None] = nothing
    """What a person does once with the driver, before the first dose."""
    refill: Callable[[Any], None] = nothing
    """What a person does after a dose that emptied the syringe."""
    full_counter_doses: float = 13.5
    """Volume, in doses, after which the counter of four digits is cleared before the next."""

    def driver(self, name: str, port: Transport, wait_s: Callable[[float], Any]) -> Any:
        """Return a driver as the bench would build it."""
        make = DRIVERS[self.make]
        entry = make.entry.model_validate({"make": self.make, "bus": "b", **self.entry})
        return make.build(name, port, entry, wait_s)


SYRINGE = {"syringe_diameter_mm": 19.13, "syringe_volume_ml": 20.0, "min_flow_rate_ul_h": 3.0}


def ne1000(physics_h: Clock, wall_s: Clock) -> Ne1000:
    """Return an NE-1000 with a 20 mL syringe."""
    settings = Ne1000Settings(syringe_volume_ul=20_000.0, syringe_diameter_mm=19.13)
    return Ne1000(settings, physics_h, wall_s)


def legato(physics_h: Clock, wall_s: Clock) -> Protocol11:
    """Return a KDS Legato with a 20 mL syringe."""
    settings = Protocol11Settings(
        syringe_volume_ul=20_000.0, syringe_diameter_mm=19.13, stored_syringe_ml="20"
    )
    return Protocol11(settings, physics_h, wall_s)


def elite(physics_h: Clock, wall_s: Clock) -> Protocol11:
    """Return a Pump 11 Elite with a 20 mL syringe, whose settings and counter outlive a power cut."""
    settings = Protocol11Settings(
        syringe_volume_ul=20_000.0,
        syringe_diameter_mm=19.13,
        stored_syringe_ml="20",
        counters_persist=True,
        targets_persist=True,
        target_counts_from="run",
    )
    return Protocol11(settings, physics_h, wall_s)


def phd_ultra(physics_h: Clock, wall_s: Clock) -> Protocol11:
    """Return a PHD Ultra at address 12, whose target volume is one of a run."""
    settings = Protocol11Settings(
        address=12,
        model="PHD ULTRA",
        syringe_volume_ul=20_000.0,
        syringe_diameter_mm=19.13,
        stored_syringe_ml="20",
        address_separator="colon",
        nvram_off_word="off",
        target_counts_from="run",
    )
    return Protocol11(settings, physics_h, wall_s)


def reglo(physics_h: Clock, wall_s: Clock) -> RegloIcc:
    """Return a Reglo ICC."""
    return RegloIcc(RegloIccSettings(), physics_h, wall_s)


def cavro(physics_h: Clock, wall_s: Clock) -> Cavro:
    """Return a Cavro module with a 1 mL syringe."""
    return Cavro(CavroSettings(), physics_h, wall_s)


def chemyx(physics_h: Clock, wall_s: Clock) -> ChemyxFusion:
    """Return a Chemyx Fusion with a 20 mL syringe."""
    settings = ChemyxFusionSettings(syringe_volume_ul=20_000.0, syringe_diameter_mm=19.13)
    return ChemyxFusion(settings, physics_h, wall_s)


def fill_cavro(pump: Any) -> None:
    """Initialise and fill a module, as a person does before the first dose."""
    pump.initialise()
    pump.fill()


CAVRO = {
    "syringe_volume_ml": 1.0,
    "steps_per_stroke": 3000,
    "min_flow_rate_ul_h": 6000.0,
}
CAVRO_DOSE = (36_000.0, 720.0, 1 / 3)


FILLED: dict[str, Any] = {
    "make_ready": fill_cavro,
    "refill": lambda pump: pump.fill(),
    "full_counter_doses": 1.0,  # a plunger's position is never cleared
}


MAKES = {
    make.name: make
    for make in (
        MatrixMake(
            "NE-1000 safe",
            ne1000,
            "new_era_ne1000",
            {**SYRINGE, "watchdog_s": 255},
            600.0,
            720.0,
            0.1,
        ),
        MatrixMake(
            "NE-1000 basic",
            ne1000,
            "new_era_ne1000",
            {**SYRINGE, "safe_mode": False},
            600.0,
            720.0,
            0.1,
        ),
        MatrixMake(
            "Legato",
            legato,
            "protocol_11",
            {**SYRINGE, "dialect": "legato"},
            600.0,
            720.0,
            0.1,
        ),
        MatrixMake(
            "Elite",
            elite,
            "protocol_11",
            {**SYRINGE, "dialect": "elite"},
            600.0,
            720.0,
            0.1,
        ),
        MatrixMake(
            "PHD Ultra",
            phd_ultra,
            "protocol_11",
            {**SYRINGE, "dialect": "phd_ultra", "address": 12, "restart_proof": "poll"},
            600.0,
            720.0,
            0.1,
        ),
        MatrixMake(
            "Reglo ICC",
            reglo,
            "reglo_icc",
            {
                "address": 1,
                "channel": 1,
                "tubing_id_mm": 0.25,
                "reservoir_ml": 20.0,
                "calibrated_on": date(2026, 1, 1),
                "min_flow_rate_ul_h": 3.0,
            },
            600.0,
            720.0,
            1.0,
        ),
        MatrixMake("Cavro OEM", cavro, "cavro", CAVRO, *CAVRO_DOSE, **FILLED),
        MatrixMake(
            "Cavro DT",
            cavro,
            "cavro",
            {**CAVRO, "protocol": "dt"},
            *CAVRO_DOSE,
            **FILLED,
        ),
        MatrixMake("Chemyx", chemyx, "chemyx_fusion", SYRINGE, 600.0, 720.0, 0.1),
    )
}
"""Name in the table -> make."""
