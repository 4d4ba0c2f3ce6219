"""Our calibration of the benchmark's study: runs, the start of a new process, what repeated runs say of it.

Belongs here: the one place that calls ``recalibrate``. Not here: other samplers (recalibration_peers), verdicts
(recalibration).

``python -m benchmarks.recalibration_ours BEGAN STUDY`` is the process whose start is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import chi2

from benchmarks.effective_sample import FAMILY_ERROR, Marginals, excess_error, marginals
from benchmarks.recalibration_study import MODEL, READOUTS, Study, chips, donors, kinds
from chiploop.inference.likelihood import Likelihood, Scatter
from chiploop.inference.posterior import Posterior
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import recalibrate
from chiploop.inference.target import Target
from chiploop.models.tissue_model import load_model


@dataclass(frozen=True)
class Run:
    """One calibration."""

    wall_s: float
    cpu_s: float
    claimed_ess: float
    passed: bool
    failures: tuple[str, ...]
    simulations: int
    """Trajectories computed."""


def likelihood_of(study: Study) -> Likelihood:
    """Return the likelihood as a study's flow makes it."""
    model = load_model(MODEL, READOUTS)
    known = kinds(model)
    scatter = Scatter(
        chip={kind.name: kind.chip_sd for kind in known},
        donor={kind.name: kind.donor_sd for kind in known},
        reading={kind.name: kind.reading_sd for kind in known},
    )
    return Likelihood(model, chips(), donors(), study.readouts(model), scatter)


def calibrated(study: Study, seed: int, previous: Posterior | None = None) -> tuple[Posterior, Run]:
    """Return the posterior, and what it took from the readouts on."""
    began, began_cpu = time.perf_counter(), time.process_time()
    likelihood = likelihood_of(study)
    prior = Prior.of(likelihood.model.estimated)
    posterior, info = recalibrate(likelihood, prior, np.random.default_rng(seed), previous)
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    return posterior, Run(wall, cpu, info.ess, info.passed, info.failures, info.simulations)


def log_density(study: Study, z: np.ndarray) -> np.ndarray:
    """Return the log posterior (n,) at z (n, p) as our calibration has it, up to a constant."""
    likelihood = likelihood_of(study)
    return Target(likelihood, Prior.of(likelihood.model.estimated)).log_density(z)


@dataclass(frozen=True)
class Repeats:
    """Calibrations of the same readouts with different seeds."""

    runs: tuple[Run, ...]
    z: np.ndarray
    """(runs, particles, p) standard normals; of runs with more particles evenly chosen ones."""

    @property
    def typical(self) -> Run:
        """Return the run of median time."""
        return sorted(self.runs, key=lambda run: run.wall_s)[len(self.runs) // 2]

    @property
    def claimed(self) -> np.ndarray:
        """Return the claimed effective particles (runs,)."""
        return np.array([run.claimed_ess for run in self.runs])

    @property
    def excess(self) -> np.ndarray:
        """Return per parameter (p,) by what factor means of runs scatter more than claimed."""
        return excess_error(self.z.mean(axis=1), self.z.std(axis=1), self.claimed)

    @property
    def excess_limit(self) -> float:
        """Return what the largest of the factors stays below by chance alone, in 99 of 100 benchmarks."""
        freedom = len(self.runs) - 1
        return float(chi2.isf(FAMILY_ERROR / self.z.shape[2], freedom) / freedom)

    @property
    def counted_ess(self) -> float:
        """Return effective particles of one run: as claimed, or fewer where the means scatter more."""
        worst = float(self.excess.max())
        more = worst if worst > self.excess_limit else float(self.excess.mean())
        return float(np.median(self.claimed)) / max(1.0, more)

    def pooled(self) -> Marginals:
        """Return the marginals of all runs together."""
        flat = self.z.reshape(-1, self.z.shape[2])
        size = np.full(flat.shape[1], self.counted_ess * len(self.runs))
        return marginals(flat, size, size)


def repeats(study: Study, seeds: Sequence[int], previous: Posterior | None = None) -> Repeats:
    """Return a calibration per seed."""
    found = [calibrated(study, seed, previous) for seed in seeds]
    fewest = min(len(posterior.standard) for posterior, _ in found)
    z = np.stack(
        [
            p.standard[np.linspace(0, len(p.standard) - 1, fewest).round().astype(int)]
            for p, _ in found
        ]
    )
    return Repeats(tuple(run for _, run in found), z)


def started(study: Study) -> dict[str, Any]:
    """Return a first calibration in a new process with an empty cache, from the start of Python on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.npz"
        np.savez(path, truth=study.truth, values=study.values)
        environment = {**os.environ, "XDG_CACHE_HOME": folder}
        command = [
            sys.executable,
            "-m",
            "benchmarks.recalibration_ours",
            repr(time.time()),
            str(path),
        ]
        answer = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    return dict(json.loads(answer.stdout))


def main() -> None:
    """Calibrate once and tell how long it took since the process was asked for."""
    began, path = float(sys.argv[1]), sys.argv[2]
    with np.load(path) as stored:
        study = Study(stored["truth"], stored["values"])
    _, run = calibrated(study, 0)
    print(json.dumps({**asdict(run), "since_start_s": time.time() - began}))


if __name__ == "__main__":
    main()
