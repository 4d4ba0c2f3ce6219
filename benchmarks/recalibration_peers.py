"""Other samplers on the same density: emcee, and pyPESTO with its gradient-based and its usual sampler.

Belongs here: each one's best setting that we know, run for a given time. Not here: what is measured of them
(recalibration), our own calibration (recalibration_ours).

All get favours that their users do not have: our engine behind the density (theirs would call a simulator of
their own), its batches (emcee) and derivatives (pyPESTO), and the mode with its curvature, which takes no time.
emcee's walkers begin as draws of the normal at the mode. pyPESTO's samplers work in coordinates in which that
normal is a standard one, and run as two chains in two processes, each on one core. Peers that are not installed
are named as absent.
"""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from benchmarks.effective_sample import bulk_ess
from benchmarks.recalibration_target import Mode, Target

WALKERS = 48
"""Half of them move in one batch: enough to fill the lanes, and few, so that burn-in is short."""
BURN_IN = 0.2
"""Share of emcee's steps that is left out."""
TUNE = 300
"""Steps that NUTS tunes itself in; left out."""
ADAPT = 0.2
"""Share of adaptive Metropolis' steps that is left out."""
BOUND = 12.0
"""pyPESTO asks for bounds: this many sd of the normal at the mode, either way."""
CHAINS = 2


@dataclass(frozen=True)
class Chains:
    """What a sampler found within its time."""

    name: str
    draws: np.ndarray
    """(chains, steps, p) standard normals, all that the sampler kept."""
    burn_in: float
    """Share of the steps that is not yet of the posterior."""
    marks: tuple[tuple[float, int], ...]
    """(seconds from the first step, steps kept until then), ascending; tuning counts as time."""
    cpu_s: float

    @property
    def kept(self) -> np.ndarray:
        """Return the draws (chains, steps, p) after burn-in."""
        return self.after(self.draws.shape[1])

    @property
    def wall_s(self) -> float:
        """Return how long it ran."""
        return self.marks[-1][0]

    @property
    def burn_in_s(self) -> float:
        """Return how much of that came before the first draw that counts."""
        first = int(self.burn_in * self.draws.shape[1])
        return next(wall for wall, steps in self.marks if steps > first)

    def after(self, steps: int) -> np.ndarray:
        """Return what it would have given, had it ended after some steps."""
        return self.draws[:, int(self.burn_in * steps) : steps]

    def growth(self, points: int = 8) -> list[tuple[float, float]]:
        """Return (seconds, effective sample size of the worst parameter) at several moments."""
        found = []
        for part in np.linspace(1.0 / points, 1.0, points):
            wall, steps = next(mark for mark in self.marks if mark[0] >= part * self.wall_s - 1e-9)
            if steps >= 20:
                found.append((wall, float(bulk_ess(self.after(steps)).min())))
        return found


Peer = Callable[[Target, Mode, float, int], Chains]
"""(density, mode, seconds, seed) -> chains."""
PACKAGES = {"emcee": ("emcee",), "pypesto": ("pypesto", "pymc", "arviz")}
"""Peer -> what it needs."""


def missing(peer: str) -> list[str]:
    """Return the packages of a peer that are not installed."""
    return [name for name in PACKAGES[peer] if importlib.util.find_spec(name) is None]


def samplers(peer: str) -> dict[str, Peer]:
    """Return a peer's samplers by name."""
    if peer == "emcee":
        return {
            "emcee, stretch": lambda *of: emcee_chains("stretch", *of),
            "emcee, DE": lambda *of: emcee_chains("DE", *of),
        }
    return {
        "pyPESTO, NUTS": pypesto_nuts,
        "pyPESTO, adaptive Metropolis": pypesto_metropolis,
    }


def versions() -> dict[str, str]:
    """Return the versions of the peers."""
    found = {}
    for name in sorted({name for needed in PACKAGES.values() for name in needed}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


# ---- emcee -------------------------------------------------------------------------------------------------


def emcee_chains(kind: str, target: Target, mode: Mode, seconds: float, seed: int) -> Chains:
    """Return emcee's walkers, moved by the usual stretch or by differential evolution.

    Without the snooker moves that its manual mixes in for many dimensions: emcee 3.1.6 accepts them by a wrong
    ratio, and a standard normal in 19 dimensions comes out a tenth too narrow.
    """
    import emcee

    moves = {"stretch": None, "DE": emcee.moves.DEMove()}[kind]
    begin = np.random.default_rng(seed).standard_normal((WALKERS, target.dims))
    begin = mode.z + begin @ mode.factor.T
    sampler = emcee.EnsembleSampler(
        WALKERS, target.dims, target.log_density, vectorize=True, moves=moves
    )
    state = emcee.State(begin, random_state=np.random.RandomState(seed).get_state())
    began, began_cpu, marks = time.perf_counter(), time.process_time(), [(0.0, 0)]
    while marks[-1][0] < seconds:
        state = sampler.run_mcmc(state, 50)
        marks.append((time.perf_counter() - began, sampler.iteration))
    cpu = time.process_time() - began_cpu
    draws = np.swapaxes(sampler.get_chain(), 0, 1)
    return Chains(f"emcee, {kind}", draws, BURN_IN, tuple(marks), cpu)


# ---- pyPESTO -----------------------------------------------------------------------------------------------


class PeerFailed(Exception):
    """A peer is installed, but does not run."""


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
    quiet()
    import pypesto.sample

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
    quiet()
    import pypesto.sample

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


Found = tuple[np.ndarray, list[tuple[float, int]], float]
"""Draws (steps, p), marks, processor time of one chain."""


def together(name: str, chain: Callable[[int], Found], burn_in: float) -> Chains:
    """Return chains that ran at once, each in a process and on a core of its own."""
    context = multiprocessing.get_context("fork")
    before = os.environ.get("CHIPLOOP_THREADS")
    os.environ["CHIPLOOP_THREADS"] = "1"
    try:
        running = []
        for which in range(CHAINS):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=sent, args=(theirs, chain, which))
            process.start()
            theirs.close()
            running.append((process, ours))
        found: list[Found] = []
        for process, ours in running:
            try:
                found.append(ours.recv())
            except EOFError:
                raise PeerFailed(f"{name}: a chain ended with an error, see above") from None
            process.join()
    finally:
        if before is None:
            del os.environ["CHIPLOOP_THREADS"]
        else:
            os.environ["CHIPLOOP_THREADS"] = before
    steps = min(len(draws) for draws, _, _ in found)
    slowest = max((marks for _, marks, _ in found), key=lambda marks: marks[-1][0])
    return Chains(
        name,
        np.stack([draws[:steps] for draws, _, _ in found]),
        burn_in,
        tuple((wall, min(at, steps)) for wall, at in slowest),
        sum(cpu for _, _, cpu in found),
    )


def sent(pipe: Any, chain: Callable[[int], Found], which: int) -> None:
    """Run a chain and send what it found."""
    pipe.send(chain(which))
    pipe.close()


def quiet() -> None:
    """Silence what the peers say of themselves."""
    warnings.simplefilter("ignore")
    for name in ("pymc", "pypesto", "pytensor"):
        logging.getLogger(name).setLevel(logging.ERROR)
