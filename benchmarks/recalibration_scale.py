"""One calibration of many chips and donors: how its time grows.

Belongs here: the demo study with more donors, ten chips each, fitted as one hierarchy. Not here: many separate
fits side by side (``chiploop fit --all``).

``python -m benchmarks.recalibration_scale --donors 3 6 12 30 --json`` prints seconds per chip for each size,
and the slope of ln(seconds) over ln(chips): 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.matched_study import matched_study
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import recalibrate
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.protocols_path import protocols_folder
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--donors", type=int, nargs="+", default=[3, 6, 12, 30])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    for donors in asked.donors:
        rows.append(measured(donors, asked.seed))
        if not asked.json:
            print(rows[-1], flush=True)
    chips, seconds = (np.log([row[key] for row in rows]) for key in ("chips", "seconds"))
    slope = float(np.polyfit(chips, seconds, 1)[0]) if len(rows) > 1 else None
    if asked.json:
        print(json.dumps({"rows": rows, "slope": slope}, indent=1))
    else:
        print(f"slope of ln(seconds) over ln(chips): {slope}")


if __name__ == "__main__":
    main()
