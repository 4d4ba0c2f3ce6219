"""One calibration of many chips and donors: how its time grows.

Belongs here: the demo study with more donors, ten chips each, fitted as one hierarchy. Not here: many separate
fits side by side (``chiploop fit --all``).

``python -m benchmarks.recalibration_scale --donors 3 6 12 30 --json`` prints seconds per chip for each size,
and the slope of ln(seconds) over ln(chips): 1 is linear. ``--figure FILE.svg`` draws them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.matched_study import matched_study
from benchmarks.simulation_figures import write
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import recalibrate
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.protocols_path import protocols_folder
from chiploop.report.svg import MEAN, QUIET, STYLE, WIDTH_IN, plain_log_axis, set_margins
from chiploop.study import Study, load_study

DOSES_NM = ((0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0),)
"""One cycle; ten lines, one dose each, with a chip of every donor."""


def study_of(donors: int) -> Study:
    """Return the demo study with so many donors, every third heterozygous, and ten chips of each."""
    demo = load_study(protocols_folder() / "studies" / "ad_jak_dose_finding.yaml")
    wild, other = demo.donors["D1"], demo.donors["D3"]
    people = {
        f"D{d + 1:02d}": (other if d % 3 == 2 else wild).model_copy(update={"id": f"D{d + 1:02d}"})
        for d in range(donors)
    }
    lines = tuple(
        demo.lines[0].model_copy(
            update={
                "id": f"L{k + 1:02d}",
                "chips": {f"C{k * donors + d + 1:03d}": donor for d, donor in enumerate(people)},
            }
        )
        for k in range(len(DOSES_NM[0]))
    )
    return demo.model_copy(update={"donors": people, "lines": lines})


def measured(donors: int, seed: int) -> dict[str, Any]:
    """Return one calibration's time."""
    study = study_of(donors)
    matched = matched_study(study, DOSES_NM, seed)
    likelihood = likelihood_of(study, matched.schedules, matched.readouts)
    prior = Prior.of_study(model_of(study), study)
    begin = time.perf_counter()
    posterior, info = recalibrate(likelihood, prior, np.random.default_rng([47, seed]))
    took = time.perf_counter() - begin
    chips = len(study.chip_ids)
    return {
        "donors": donors,
        "chips": chips,
        "readouts": info.n_readouts,
        "estimated": posterior.standard.shape[1],
        "seconds": took,
        "seconds_per_chip": took / chips,
        "passed": info.passed,
        "failures": info.failures,
        "method": info.method,
        "ess": info.ess,
        "simulations": info.simulations,
    }


def write_figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw seconds over chips beside what linear growth from the smallest study would be."""
    style = {**STYLE, "figure.facecolor": "white", "axes.facecolor": "white"}
    with matplotlib.rc_context(style):  # type: ignore[arg-type]
        figure = Figure(figsize=(WIDTH_IN, 3.0))
        set_margins(figure, 0.75, 1.9, 0.5, 0.3)
        axes = figure.add_subplot()
        chips = np.array([row["chips"] for row in rows], dtype=float)
        seconds = np.array([row["seconds"] for row in rows])
        axes.plot(chips, seconds, color=MEAN, marker="o", ms=5)
        axes.plot(chips, seconds[0] * chips / chips[0], color=QUIET, lw=0.8, ls=(0, (4, 3)))
        for row in rows:
            said = f"{row['seconds']:.0f} s, {row['estimated']} estimated"
            at, is_first = (row["chips"], row["seconds"]), row is rows[0]
            where, side = ((8, -10), "left") if is_first else ((-8, 4), "right")
            axes.annotate(said, at, where, textcoords="offset points", ha=side)
        axes.text(
            chips[-1] * 1.03, seconds[0] * chips[-1] / chips[0], "linear", color=QUIET, va="center"
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(0.6 * seconds.min(), 1.4 * seconds.max())
        for axis in (axes.xaxis, axes.yaxis):
            plain_log_axis(axis)
        axes.set_xticks(chips)
        axes.minorticks_off()
        axes.set_xlabel("chips in one calibration, ten of each donor")
        axes.set_ylabel("seconds, two cores")
        write(figure, path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--donors", type=int, nargs="+", default=[3, 6, 12, 30])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    rows = []
    for donors in asked.donors:
        rows.append(measured(donors, asked.seed))
        if not asked.json:
            print(rows[-1], flush=True)
    chips, seconds = (np.log([row[key] for row in rows]) for key in ("chips", "seconds"))
    slope = float(np.polyfit(chips, seconds, 1)[0]) if len(rows) > 1 else None
    if asked.figure:
        write_figure(rows, asked.figure)
    if asked.json:
        print(json.dumps({"rows": rows, "slope": slope}, indent=1))
    else:
        print(f"slope of ln(seconds) over ln(chips): {slope}")


if __name__ == "__main__":
    main()
