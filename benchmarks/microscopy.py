"""How exact and how quick images are measured, beside plain scikit-image: ``python -m benchmarks.microscopy``.

Speed: one field of 2048 x 2048 pixels, 16 bit, 0.325 um, about 3,000 cells; ours and the plain pipeline in
turns on the same image, best of three of processor time in one thread. Junctions: ridge, mask, centre lines,
cells from given nuclei, covered share of the border. Nuclei: threshold, split, table.

Accuracy: synthetic monolayers of known truth, over seeds and shares of the border left out. Both pipelines get the
same images; both take their cells from the nuclei that they found themselves. Of sections the thickness.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy import ndimage

from chiploop.microscopy.junction_measure import measure_junctions
from chiploop.microscopy.nuclei import find_nuclei
from chiploop.microscopy.nuclei_measure import FRAME_UM, measure_nuclei
from chiploop.microscopy.synthetic import Monolayer, MonolayerSettings, monolayer
from chiploop.microscopy.synthetic_section import SectionSettings, section
from chiploop.microscopy.thickness import measure_thickness

MISSING = (0.0, 0.1, 0.2, 0.4)
REPEATS = 3
TARGETS_MPX_S = {"nuclei": 2.5, "junctions": 10.0}
KINDS: dict[str, dict[str, Any]] = {
    "interfaces": {},
    "gaps": {"missing_as": "gaps"},
    "wavy": {"waviness_um": 0.6},
    "patchy": {"patch_um": 40.0},
    "dim": {"photons": 40.0},
    "vignetting": {"vignetting": 0.6},
    "larger cells": {"cell_um": 20.0, "nucleus_um": 9.0},
}
"""What the monolayers are like beside the plain ones."""


def plain_nuclei(image: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return labels and table as tutorials of scikit-image make them."""
    from skimage import feature, filters, measure, morphology, segmentation

    smooth = filters.gaussian(image, 2.0, preserve_range=True)
    mask = smooth > filters.threshold_otsu(smooth)
    mask = morphology.opening(mask, morphology.disk(2))
    mask = ndimage.binary_fill_holes(mask)
    depth = filters.gaussian(ndimage.distance_transform_edt(mask), 1.5)
    peaks = feature.peak_local_max(depth, min_distance=5, labels=measure.label(mask))
    markers = np.zeros(image.shape, dtype=np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = segmentation.watershed(-depth, markers, mask=mask)
    table = measure.regionprops_table(
        labels,
        image,
        properties=("label", "area", "centroid", "axis_major_length", "axis_minor_length"),
    )
    return labels, table


def plain_junctions(image: np.ndarray, nuclei: np.ndarray) -> float:
    """Return the covered share: ridge filter, Otsu, skeleton, borders of a watershed from the nuclei."""
    from skimage import filters, morphology, segmentation

    ridge = filters.sato(image.astype(float), sigmas=(1.5, 2.5), black_ridges=False)
    lines = morphology.skeletonize(ridge > filters.threshold_otsu(ridge))
    cells = segmentation.watershed(image, nuclei)
    border = segmentation.find_boundaries(cells, mode="inner")
    near = ndimage.binary_dilation(lines, morphology.disk(3))
    return float(np.count_nonzero(border & near) / np.count_nonzero(border))


def seconds_in_turns(works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the least processor time of three of each work, taken in turns."""
    least = dict.fromkeys(works, np.inf)
    for _ in range(REPEATS):
        for name, work in works.items():
            begun = time.process_time()
            work()
            least[name] = min(least[name], time.process_time() - begun)
    return least


def speed(seed: int = 1) -> dict[str, Any]:
    """Return Mpx/s of both pipelines on one field."""
    one = monolayer(np.random.default_rng(seed), MonolayerSettings(shape=(2048, 2048), missing=0.2))
    size = one.settings.pixel_size_um
    found = find_nuclei(one.nuclei, size)
    labels = np.kron(found.labels, np.ones((found.across, found.across), dtype=np.int32))
    taken = seconds_in_turns(
        {
            "nuclei": lambda: measure_nuclei(one.nuclei, size),
            "nuclei_plain": lambda: plain_nuclei(one.nuclei),
            "junctions": lambda: measure_junctions(one.junctions, size, labels=labels),
            "junctions_plain": lambda: plain_junctions(one.junctions, labels),
            "both": lambda: measure_junctions(one.junctions, size, one.nuclei),
        }
    )
    mpx = one.junctions.size / 1e6
    return {name: mpx / took for name, took in taken.items()}


def in_frame(place: np.ndarray, one: Monolayer) -> int:
    """Return how many places lie in the frame in which nuclei are counted."""
    inset = FRAME_UM / one.settings.pixel_size_um
    return int(
        np.all((place >= inset) & (place < np.array(one.nuclei.shape) - inset), axis=1).sum()
    )


def accuracy(
    kind: str, missing: float, seeds: int, size: int, plain: bool = True
) -> dict[str, Any]:
    """Return errors of coverage (points) and count (%), ours and plain, with the sds told."""
    rows = []
    for seed in range(seeds):
        settings = MonolayerSettings(shape=(size, size), missing=missing, **KINDS[kind])
        one = monolayer(np.random.default_rng(1000 + seed), settings)
        um = settings.pixel_size_um
        junctions = measure_junctions(one.junctions, um, one.nuclei)
        alone = measure_junctions(one.junctions, um)
        nuclei = measure_nuclei(one.nuclei, um)
        truth, count = one.truth.coverage, in_frame(one.truth.nuclei_px, one)
        row = [
            100.0 * (junctions.coverage - truth),
            100.0 * junctions.coverage_sd,
            100.0 * (alone.coverage - truth),
            100.0 * (nuclei.count_in_frame / count - 1.0),
        ]
        if plain:
            labels, table = plain_nuclei(one.nuclei)
            place = np.stack([table["centroid-0"], table["centroid-1"]], axis=1)
            row.append(100.0 * (plain_junctions(one.junctions, labels) - truth))
            row.append(100.0 * (in_frame(place, one) / count - 1.0))
        rows.append(row)
    found = np.array(rows)
    names = ["coverage", "coverage_sd", "coverage_without_nuclei", "nuclei"]
    names += ["coverage_plain", "nuclei_plain"] if plain else []
    return {
        "kind": kind,
        "missing": missing,
        **{f"{name}_mean": float(found[:, i].mean()) for i, name in enumerate(names)},
        **{f"{name}_worst": float(np.abs(found[:, i]).max()) for i, name in enumerate(names)},
        "coverage_rms": float(np.sqrt((found[:, 0] ** 2).mean())),
        "nuclei_rms": float(np.sqrt((found[:, 3] ** 2).mean())),
    }


def thickness_errors(seeds: int) -> dict[str, float]:
    """Return mean, rms and worst error of the median thickness in %, against the truth of the same stretch."""
    errors = []
    for seed in range(seeds):
        for settings in (
            SectionSettings(),
            SectionSettings(thickness_um=50.0, tilt_deg=20.0),
            SectionSettings(thickness_um=120.0, bend_um=70.0, stain=0.6),
        ):
            one = section(np.random.default_rng(seed), settings)
            found = measure_thickness(one.rgb, settings.pixel_size_um)
            columns = found.middle_px[:, 1]
            there = (one.middle_px[:, 1] >= columns.min()) & (one.middle_px[:, 1] <= columns.max())
            errors.append(
                100.0 * (found.median_um / float(np.median(one.thickness_um[there])) - 1.0)
            )
    found = np.array(errors)
    return {
        "mean": float(found.mean()),
        "rms": float(np.sqrt((found**2).mean())),
        "worst": float(np.abs(found).max()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, default=2048, help="Of the images, in pixels.")
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=["interfaces", "gaps"])
    parser.add_argument("--no-plain", action="store_true", help="Accuracy of ours alone; quicker.")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rates = speed()
    if not arguments.json:
        for name, target in TARGETS_MPX_S.items():
            ours, plain = rates[name], rates[f"{name}_plain"]
            print(
                f"{name:10s} {ours:6.2f} Mpx/s, plain scikit-image {plain:5.2f} Mpx/s, ratio {ours / plain:4.1f}; "
                f"target {target:g}"
            )
        print(
            f"both       {rates['both']:6.2f} Mpx/s (junctions with the nuclei of their own field)"
        )
        print("errors: coverage in points, nuclei in %; mean (worst) over seeds")
    table = []
    for kind in arguments.kinds:
        for missing in MISSING:
            row = accuracy(kind, missing, arguments.seeds, arguments.size, not arguments.no_plain)
            table.append(row)
            if not arguments.json:
                told = [
                    f"{title} {row[f'{name}_mean']:+.2f} ({row[f'{name}_worst']:.2f})"
                    for title, name in (
                        ("coverage", "coverage"),
                        ("no nuclei", "coverage_without_nuclei"),
                        ("plain", "coverage_plain"),
                        ("| nuclei", "nuclei"),
                        ("plain", "nuclei_plain"),
                    )
                    if f"{name}_mean" in row
                ]
                print(f"{kind:12s} missing {missing:4.0%}: " + "  ".join(told))
    thickness = thickness_errors(arguments.seeds)
    if arguments.json:
        print(json.dumps({"mpx_s": rates, "accuracy": table, "thickness": thickness}, indent=2))
        return
    rms = [
        float(np.sqrt(np.mean([row[name] ** 2 for row in table])))
        for name in ("coverage_rms", "nuclei_rms")
    ]
    print(f"rms: coverage {rms[0]:.2f} points, nuclei {rms[1]:.2f} %")
    print(
        f"thickness: mean {thickness['mean']:+.2f} %, rms {thickness['rms']:.2f} %, "
        f"worst {thickness['worst']:.2f} %"
    )


if __name__ == "__main__":
    main()
