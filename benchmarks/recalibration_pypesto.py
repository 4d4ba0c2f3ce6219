"""pyPESTO on the benchmark's density: its gradient-based sampler and its usual one.

Belongs here: the best settings that we know, two chains at once. Not here: emcee and the list of peers
(recalibration_peers).

The samplers work in coordinates in which the normal at the mode is a standard one.
"""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

import numpy as np

from benchmarks.recalibration_chains import Chains, Found, together
from benchmarks.recalibration_target import Mode, Target

TUNE = 300
"""Steps that NUTS tunes itself in; left out."""
ADAPT = 0.2
"""Share of adaptive Metropolis' steps that is left out."""
BOUND = 12.0
"""pyPESTO asks for bounds: this many sd of the normal at the mode, either way."""


class Once:
    """Height and gradient of the density at one point, kept, since pyPESTO asks for each by itself, and again."""

    def __init__(self, target: Target, mode: Mode) -> None:
        self.target, self.mode = target, mode
        self.at: bytes = b""
        self.known: tuple[float, np.ndarray] = (0.0, np.zeros(0))

    def found(self, white: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the negative log density and its gradient at whitened coordinates (p,)."""
        if white.tobytes() != self.at:
            z = self.mode.z + self.mode.factor @ white
            height, slope = self.target.gradient(z[None])
            self.known = (-float(height[0]), -self.mode.factor.T @ slope[0])
            self.at = white.tobytes()
        return self.known

    def fun(self, white: np.ndarray) -> float:
        """Return the negative log density."""
        return self.found(white)[0]

    def grad(self, white: np.ndarray) -> np.ndarray:
        """Return its gradient."""
        return self.found(white)[1]


def problem_of(target: Target, fun: Any, grad: Any) -> Any:
    """Return what pyPESTO samples."""
    import pypesto

    # it copies its objective deeply; a plain function stays itself, with compiled code behind it
    slope = None if grad is None else lambda white: grad(white)
    objective = pypesto.Objective(fun=lambda white: fun(white), grad=slope)
    return pypesto.Problem(
        objective=objective,
        lb=np.full(target.dims, -BOUND),
        ub=np.full(target.dims, BOUND),
        x_names=list(target.names),
    )


def pypesto_nuts(target: Target, mode: Mode, seconds: float, seed: int) -> Chains:
    """Return chains of the No-U-Turn sampler that pyPESTO takes from PyMC."""
    import pypesto.sample

    quiet()

    def chain(which: int) -> Found:
        once = Once(target, mode)
        marks: list[tuple[float, int]] = []
        began = began_cpu = 0.0

        def seen(trace: Any, draw: Any) -> None:
            nonlocal began, began_cpu
            if not marks:  # PyMC has compiled its graph by now
                began, began_cpu = time.perf_counter(), time.process_time()
            now = time.perf_counter() - began
            marks.append((now, max(0, len(marks) + 1 - TUNE)))
            if now > seconds and marks[-1][1] >= 20:
                raise KeyboardInterrupt  # what PyMC takes as: enough

        sampler = pypesto.sample.PymcSampler(
            chains=1, cores=1, tune=TUNE, random_seed=seed + which, progressbar=False,
            compute_convergence_checks=False, init="jitter+adapt_full", callback=seen,
        )  # fmt: skip
        sampler.initialize(problem_of(target, once.fun, once.grad), np.zeros(target.dims))
        sampler.sample(100_000)
        white = np.asarray(sampler.get_samples().trace_x[0])
        return mode.z + white @ mode.factor.T, marks, time.process_time() - began_cpu

    return together("pyPESTO, NUTS", chain, 0.0)


def pypesto_metropolis(target: Target, mode: Mode, seconds: float, seed: int) -> Chains:
    """Return chains of pyPESTO's adaptive Metropolis, which its guides begin with; it takes no gradient.

    With its usual decay it forgets within some hundred steps, adapts to that, and leaves a standard normal in 19
    dimensions at 0.6 of its width after 20,000 steps; a decay of 1 keeps all steps.
    """
    import pypesto.sample

    quiet()

    def chain(which: int) -> Found:
        def fun(white: np.ndarray) -> float:
            return -float(target.log_density((mode.z + mode.factor @ white)[None])[0])

        np.random.seed(seed + which)  # noqa: NPY002 - pyPESTO draws from this one
        sampler = pypesto.sample.AdaptiveMetropolisSampler(
            {"show_progress": False, "decay_constant": 1.0, "threshold_sample": 1000}
        )
        sampler.initialize(problem_of(target, fun, None), np.zeros(target.dims))
        began, began_cpu, marks = time.perf_counter(), time.process_time(), [(0.0, 0)]
        while marks[-1][0] < seconds:
            sampler.sample(200)
            marks.append((time.perf_counter() - began, marks[-1][1] + 200))
        cpu = time.process_time() - began_cpu
        white = np.asarray(sampler.get_samples().trace_x[0])
        return mode.z + white @ mode.factor.T, marks, cpu

    return together("pyPESTO, adaptive Metropolis", chain, ADAPT)


def quiet() -> None:
    """Silence what pyPESTO and PyMC say while they work; PyMC sets its level when it is imported."""
    warnings.simplefilter("ignore")
    for name in ("pymc", "pypesto", "pytensor"):
        logging.getLogger(name).setLevel(logging.ERROR)
