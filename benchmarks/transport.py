"""Coverage and bias of permeabilities over a grid: ``python -m benchmarks.transport``.

Every row is one kind of run, simulated with its own noise (4 % and 1 % of the highest sample; the donor read in
three wells) and fitted as `chiploop permeability` does. Printed: how often the 95 % interval held the truth, with
its standard error, mean error of P_app, half-width, and what the one-shot formula (lag taken off) makes of the
same data. Last, plates of MTT: how often value +- 1.96 sd held the viable fraction.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np

from chiploop.assays.metabolic_activity import metabolic_viability
from chiploop.assays.permeability import TracerRun, permeabilities
from chiploop.assays.permeability_fit import Donor, ReceiverSamples, Transport
from chiploop.assays.plate_map import viability_plate_map
from chiploop.assays.tracer_curve import TracerNoise
from chiploop.assays.tracer_transport import UL_H_PER_CM3_S, PerfusedTransport, StaticTransport
from chiploop.measurement import AbsorbancePlate
from chiploop.study_parts import Controls, Kit, PlanningSd

NOISE = TracerNoise(0.04, 0.01)
AREA_CM2 = 1.12
DONOR_WELLS = 3
HOURS = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
ENDS = np.array([1.0, 2.0, 4.0, 8.0, 12.0, 20.0])


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    transport: Transport
    p_app: float
    lag_h: float
    stated_lag: float | None = None


def still(samples: int, removed: float, replaced: float) -> StaticTransport:
    """Return an insert of 0.5 and 1.5 mL that is sampled so often within 3 h."""
    times = HOURS if samples == HOURS.size else np.linspace(0.25, 3.0, samples)
    full = np.ones(samples)
    return StaticTransport(times, 500.0, 1500.0, removed * full, replaced * full)


def cases() -> list[Case]:
    """Return the grid."""
    found = []
    for p_app in (5e-7, 5e-6, 3e-5):
        for lag_h in (0.0, 0.2):
            found.append(Case("6 samples, replaced", still(6, 100.0, 100.0), p_app, lag_h))
    found += [
        Case("6 samples, not replaced", still(6, 100.0, 0.0), 5e-6, 0.2),
        Case("6 samples, lag stated", still(6, 100.0, 100.0), 5e-6, 0.0, 0.0),
        Case("5 samples, replaced", still(5, 100.0, 100.0), 5e-6, 0.1),
        Case("12 samples, replaced", still(12, 50.0, 50.0), 5e-6, 0.2),
    ]
    perfused = PerfusedTransport(np.concatenate([[0.0], ENDS[:-1]]), ENDS, 60.0, 200.0, 20.0, 30.0)
    for p_app in (5e-7, 5e-6):
        found.append(Case("perfused receiver", perfused, p_app, 0.2))
    return found


def measured(case: Case, seeds: int) -> dict[str, float]:
    """Return coverage, bias, half-width and the error of the one-shot formula."""
    clearance = np.array([case.p_app * AREA_CM2 * UL_H_PER_CM3_S])
    clean = 100.0 * case.transport.predict(clearance, np.array([case.lag_h]))[0]
    inside, errors, halves, shots = [], [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        read = clean + rng.standard_normal(clean.size) * NOISE.sd(clean, float(clean.max()))
        donor = 100.0 + rng.standard_normal() * 4.0 / math.sqrt(DONOR_WELLS)
        run = TracerRun(
            "A1", case.transport, ReceiverSamples(read, np.ones(clean.size, dtype=int)),
            Donor(donor, 0.0, DONOR_WELLS), AREA_CM2,
        )  # fmt: skip
        (one,) = permeabilities([run], case.stated_lag, noise=NOISE)
        inside.append(one.interval[0] < case.p_app < one.interval[1])
        errors.append(one.p_app / case.p_app - 1.0)
        halves.append((one.interval[1] - one.interval[0]) / 2.0 / case.p_app)
        shots.append(one.one_shot / case.p_app - 1.0)
    return {
        "coverage": float(np.mean(inside)),
        "bias": float(np.mean(errors)),
        "rms": float(np.sqrt(np.mean(np.square(errors)))),
        "half": float(np.median(halves)),
        "one_shot": float(np.mean(shots)),
    }


def viability_coverage(viable: float, plates: int) -> float:
    """Return how often value +- 1.96 sd held the viable fraction; one chip per plate counts."""
    kit = Kit(
        name="mtt", method="mtt", readout="viability", wavelength_nm=570.0,
        reference_wavelength_nm=690.0, sample_volume_ul=100.0,
        planning=PlanningSd(within_plate=0.05, between_plates=0.05),
        controls=Controls(blank=3, untreated=3, dead=2),
    )  # fmt: skip
    chips = [f"C{i:02d}" for i in range(1, 13)]
    plate_map = viability_plate_map(chips, (0.0, 24.0), kit, 2, 1.0, np.random.default_rng(1))
    inside = []
    for seed in range(plates):
        rng = np.random.default_rng(seed)
        od = np.zeros((8, 12))
        for one in plate_map:
            part = {"blank": 0.0, "untreated": 1.0, "dead": 0.02}.get(one.kind, viable)
            clean = 0.1 + 1.2 * part
            od[one.index] = clean + rng.standard_normal() * math.hypot(0.006, 0.04 * clean)
        plate = AbsorbancePlate("P", 24.0, {570: od, 690: np.zeros((8, 12))})
        first = metabolic_viability(plate, plate_map, kit)[1][0]
        inside.append(abs(first.value - viable) < 1.96 * first.sd)
    return float(np.mean(inside))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    seeds = parser.parse_args().seeds
    print(
        f"{seeds} seeds a row; one standard error of a coverage of 95 % is {21.8 / seeds**0.5:.1f}"
    )
    print(
        "| run | P_app, cm/s | lag, h | 95 % holds | bias | rms | half-width | one-shot formula |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for case in cases():
        row = measured(case, seeds)
        print(
            f"| {case.name} | {case.p_app:.0e} | {case.lag_h:g} | {row['coverage']:.1%} | "
            f"{row['bias']:+.1%} | {row['rms']:.1%} | {row['half']:.1%} | {row['one_shot']:+.1%} |",
            flush=True,
        )
    print("\n| viable fraction (MTT, duplicates) | 95 % holds |")
    print("|---|---|")
    for viable in (1.0, 0.5, 0.1, 0.0):
        print(f"| {viable:g} | {viability_coverage(viable, seeds):.1%} |", flush=True)


if __name__ == "__main__":
    main()
