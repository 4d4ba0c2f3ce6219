"""Every make that chiploop drives: one line each.

Belongs here: the table, and reading a lab.toml against it. Not here: what a make is made of (its file).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from instruments import lab_settings
from instruments.impedance_meters import emstat4, emstat_pico, manual_entry
from instruments.lab_settings import LabSettings
from instruments.make import Make
from instruments.plate_readers import biotek, clariostar, pylabrobot_reader, spectramax
from instruments.pumps import cavro, chemyx_fusion, new_era_ne1000, protocol_11, reglo_icc
from instruments.valves import runze_sv06

DRIVERS: Final[dict[str, Make]] = {
    "new_era_ne1000": new_era_ne1000.MAKE,
    "protocol_11": protocol_11.MAKE,
    "reglo_icc": reglo_icc.MAKE,
    "cavro": cavro.MAKE,
    "chemyx_fusion": chemyx_fusion.MAKE,
    "spectramax": spectramax.MAKE,
    "biotek": biotek.MAKE,
    "clariostar": clariostar.MAKE,
    "pylabrobot": pylabrobot_reader.MAKE,
    "emstat_pico": emstat_pico.MAKE,
    "emstat4": emstat4.MAKE,
    "manual_teer": manual_entry.MAKE,
    "runze_sv06": runze_sv06.MAKE,
}
"""Make in lab.toml -> what it is."""


def load_lab_settings(path: Path | str) -> LabSettings:
    """Return the settings of one lab.toml; `FileNotValid` with every problem, unknown makes among
    them."""
    return lab_settings.load_lab_settings(path, DRIVERS)
