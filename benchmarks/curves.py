"""How long a 30-plex plate takes, from the bytes of its export to concentrations: ``python -m benchmarks.curves``.

The plate is written here in the sections of an xPONENT export: 30 analytes, 96 wells, 16 standards and
background in duplicate, 31 samples in duplicate, tables of medians, net MFI and beads (8,640 numbers). Parsing,
fits (4PL, power of mean with its exponent pooled) and reading back with intervals are timed apart, best of five.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from chiploop.assays.curve_groups import Asked
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.inverse_estimate import inversion_intervals
from chiploop.assays.plate_assay import AnalyteResult, plate_results
from chiploop.assays.plate_wells import wells_of_export
from chiploop.assays.pooled_curves import PlatePoints, fit_plates
from chiploop.assays.standards_table import Standards
from chiploop.exports import read_export
from chiploop.exports.export import Export

ANALYTES = 30
STANDARDS = 16
REPEATS = 5
TARGET_S = 1.0


def true_signal(analyte: int, concentration: np.ndarray) -> np.ndarray:
    """Return clean MFI of an analyte."""
    top, half, hill = 4000.0 + 400.0 * analyte, 100.0 * 1.1**analyte, 1.0 + 0.02 * analyte
    with np.errstate(divide="ignore"):
        return 15.0 + top / (1.0 + np.exp(-hill * (np.log(concentration) - math.log(half))))


def write_plate(path: Path, seed: int = 1) -> dict[str, dict[str, float]]:
    """Write an export and return its standards: sample -> analyte -> pg/mL."""
    rng = np.random.default_rng(seed)
    names = [f"A{i + 1:02d}" for i in range(ANALYTES)]
    samples = ["Background0", *(f"Standard{i + 1}" for i in range(STANDARDS))]
    samples += [f"Unknown{i + 1}" for i in range(31)]
    tops = 4000.0 * 1.05 ** np.arange(ANALYTES)
    standards = {
        sample: {
            name: 0.0 if place == 0 else float(tops[i] / 2.0 ** (place - 1))
            for i, name in enumerate(names)
        }
        for place, sample in enumerate(samples[: STANDARDS + 1])
    }
    wells = [f"{row}{column}" for row in "ABCDEFGH" for column in range(1, 13)]
    lines = [
        '"Program","xPONENT","","FLEXMAP 3D"', '"Build","4.3.229.0"', '"Samples","96","Min Events","50"',
        '"ProtocolPlate","Name","Plate","Type","96","Plates","1"', "", '"Results"', "",
    ]  # fmt: skip
    medians, beads = [], []
    for i, well in enumerate(wells):
        sample = samples[i % len(samples)]
        cells = []
        for a in range(ANALYTES):
            level = standards.get(sample, {}).get(names[a])
            concentration = 40.0 * 1.2 ** (i % len(samples) - 17) * 3.0 if level is None else level
            clean = float(true_signal(a, np.array(concentration)))
            cells.append(max(clean + rng.normal() * math.hypot(2.0, 0.06 * clean), 0.5))
        place = f'"{i + 1}(1,{well})","{sample}"'
        medians.append(place + "," + ",".join(f'"{round(2 * c) / 2:g}"' for c in cells))
        beads.append(place + "," + ",".join(f'"{int(n)}"' for n in rng.integers(60, 120, ANALYTES)))
    for table, rows in (("Median", medians), ("Net MFI", medians), ("Count", beads)):
        head = '"Location","Sample",' + ",".join(f'"{name}"' for name in names)
        lines += [f'"DataType:","{table}"', head, *rows, ""]
    lines += ['"-- CRC --"', '"CRC32: 01234567"', ""]
    path.write_text("\r\n".join(lines), encoding="utf-8")
    return standards


def best_of(
    work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> tuple[float, Any]:
    """Return the least time of five and the last answer."""
    times = []
    for _ in range(REPEATS):
        begun = clock()
        answer = work()
        times.append(clock() - begun)
    return min(times), answer


def medians_of(export: Export) -> dict[str, list[tuple[str, float]]]:
    """Return analyte -> (sample, MFI) of its wells."""
    found: dict[str, list[tuple[str, float]]] = {}
    for row in export.rows:
        if row.statistic == "Median":
            found.setdefault(row.readout.analyte, []).append(
                (row.readout.sample, row.readout.value)
            )
    return found


def judge(
    export: Export, standards: dict[str, dict[str, float]], asked: Asked = "4pl"
) -> tuple[AnalyteResult, ...]:
    """Return the whole plate judged by the rules of ligand-binding assays."""
    wells = wells_of_export(export, standards=Standards(standards, {}, {}))
    return plate_results(wells.analytes, asked=asked)


def measure(folder: Path) -> dict[str, Any]:
    """Return what a plate takes, in seconds."""
    path = folder / "plate.csv"
    standards = write_plate(path)
    parsing, export = best_of(lambda: read_export(path))
    medians = medians_of(export)

    def points_of(read: Export) -> list[PlatePoints]:
        found = []
        for analyte, wells in medians_of(read).items():
            known = [(standards[s][analyte], value) for s, value in wells if s in standards]
            found.append(PlatePoints(*np.array(known).T))
        return found

    points = points_of(export)
    fitting, fits = best_of(lambda: fit_plates(points, "4pl", Weighting("power")))
    # A busy machine stretches the wall clock; the processor's own time says what the work is.
    of_processor, _ = best_of(
        lambda: fit_plates(points_of(read_export(path)), "4pl", Weighting("power")),
        time.process_time,
    )

    def read_back() -> int:
        count = 0
        for fit, wells in zip(fits, medians.values(), strict=True):
            asked = np.array([value for sample, value in wells if sample not in standards])
            count += len(inversion_intervals(fit, asked))
        return count

    reading_back, n_read = best_of(read_back)
    judged, results = best_of(lambda: judge(export, standards))
    return {
        "analytes": len(fits),
        "numbers": len(export.rows),
        "failed_fits": sum(bool(fit.failure) for fit in fits),
        "exponent": fits[0].weighting.number,
        "parsing_s": parsing,
        "fitting_s": fitting,
        "intervals": n_read,
        "intervals_s": reading_back,
        "parsed_and_fitted_s": parsing + fitting,
        "judged_samples": sum(len(one.samples) for one in results),
        "judged_curves_accepted": sum(one.curve.qc != "fail" for one in results),
        "judged_s": judged,
        "parsed_and_fitted_processor_s": of_processor,
        "target_s": TARGET_S,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(
        f"{found['numbers']} numbers, {found['analytes']} analytes, {found['failed_fits']} failed fits"
    )
    print(f"parsing              {found['parsing_s']:.3f} s")
    print(f"fitting              {found['fitting_s']:.3f} s (exponent {found['exponent']:.3f})")
    print(f"parsed and fitted    {found['parsed_and_fitted_s']:.3f} s, target {TARGET_S:g} s")
    print(f"  of processor time  {found['parsed_and_fitted_processor_s']:.3f} s")
    print(f"{found['intervals']} intervals       {found['intervals_s']:.3f} s")
    print(
        f"whole plate judged   {found['judged_s']:.3f} s: {found['judged_curves_accepted']} curves "
        f"accepted, {found['judged_samples']} samples"
    )


if __name__ == "__main__":
    main()
