"""Kits and simulated plates for the tests of assays."""

from __future__ import annotations

import math

import numpy as np

from chiploop.assays.plate_map import PlateMap
from chiploop.measurement import AbsorbancePlate
from chiploop.study_parts import Controls, Kit, PlanningSd, Standards

PLANNING = PlanningSd(within_plate=0.08, between_plates=0.12)
ELISA = Kit(
    name="ccl26",
    method="elisa",
    readout="CCL26",
    wavelength_nm=450.0,
    reference_wavelength_nm=570.0,
    sample_volume_ul=50.0,
    planning=PLANNING,
    standards=Standards(highest_pg_ml=1000.0, fold=2.0, levels=8, replicates=2, blank_replicates=2),
)
LDH = Kit(
    name="ldh",
    method="ldh_release",
    readout="viability",
    wavelength_nm=490.0,
    reference_wavelength_nm=680.0,
    sample_volume_ul=50.0,
    planning=PLANNING,
    controls=Controls(blank=3, max_release=3),
)


def true_signal(concentration: float) -> float:
    """Corrected OD of a plausible ELISA: 0.05 to 3.2 OD, half at 300 pg/mL."""
    if concentration <= 0:
        return 0.05
    return 0.05 + 3.15 / (1 + math.exp(-1.1 * (math.log(concentration) - math.log(300.0))))


def elisa_plate(
    plate_map: PlateMap, samples: dict[str, float], rng: np.random.Generator | None
) -> AbsorbancePlate:
    """Return a plate whose samples (chip -> pg/mL before dilution) are known."""
    signal = np.full((8, 12), 0.04)
    for well in plate_map:
        concentration = well.concentration or 0.0
        if well.kind == "sample":
            assert well.chip is not None
            concentration = samples[well.chip] / well.dilution
        clean = true_signal(concentration)
        noise = rng.normal() * math.hypot(0.008, 0.05 * clean) if rng is not None else 0.0
        signal[well.index] = clean + noise + 0.04
    return AbsorbancePlate(
        "P1", 72.0, {450: signal, 570: np.full((8, 12), 0.04)}, raw_sha256="00ff"
    )
