"""Two Dask workers of one thread each beside one: ``python -m benchmarks.fit_workers [--fits 8] [--json]``.

Belongs here: the same calibrations on one worker and on two, by the wall clock, workers open and warm. Not here:
what workers are (flows.fit_many). Results must be the same bytes, otherwise it ends with 1.
"""

from __future__ import annotations

import argparse
import hashlib
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
from chiploop.study import load_study
from flows.fit_many import Job, on_workers, open_workers

DOSES_NM = ((0.0, 30.0, 120.0, 480.0), (10.0, 60.0, 240.0, 960.0))


def fitted(seed: int) -> str:
    """Calibrate one virtual study; return the digest of its particles."""
    study = load_study(protocols_folder() / "studies" / "ad_jak_dose_finding.yaml")
    matched = matched_study(study, DOSES_NM, seed)
    likelihood = likelihood_of(study, matched.schedules, matched.readouts)
    prior = Prior.of_study(model_of(study), study)
    posterior, _ = recalibrate(likelihood, prior, np.random.default_rng([48, seed]))
    return hashlib.sha256(posterior.standard.tobytes()).hexdigest()


def measured(workers: int, fits: int) -> tuple[float, list[str]]:
    """Return the seconds that so many workers need for the fits, and the digests."""
    jobs = [Job(f"fit {seed}", fitted, {"seed": seed}) for seed in range(fits)]
    with open_workers(workers) as client:
        on_workers(client, [Job(f"warm {k}", fitted, {"seed": 1000 + k}) for k in range(workers)])
        begun = time.perf_counter()
        outcomes = on_workers(client, jobs)
        took = time.perf_counter() - begun
    for outcome in outcomes:
        if outcome.failure is not None:
            raise RuntimeError(outcome.failure.message)
    return took, [outcome.value for outcome in outcomes]


def main() -> int:
    """Measure one and two workers in turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fits", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    one, first = measured(1, asked.fits)
    two, second = measured(2, asked.fits)
    again, _ = measured(1, asked.fits)
    alone = min(one, again)
    told: dict[str, Any] = {
        "fits": asked.fits,
        "one_worker_s": [one, again],
        "two_workers_s": two,
        "ratio": alone / two,
        "same_bytes": first == second,
    }
    if asked.json:
        print(json.dumps(told, indent=1))
    else:
        print(
            f"{asked.fits} fits: one worker {one:.1f} and {again:.1f} s, two {two:.1f} s, ratio "
            f"{told['ratio']:.2f}; results {'the same' if told['same_bytes'] else 'DIFFER'}"
        )
    return 0 if told["same_bytes"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
