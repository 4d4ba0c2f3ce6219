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
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from benchmarks.recalibration_chains import Chains
from benchmarks.recalibration_pypesto import pypesto_metropolis, pypesto_nuts
from benchmarks.recalibration_target import Mode, Target

WALKERS = 48
"""Half of them move in one batch: enough to fill the lanes, and few, so that burn-in is short."""
BURN_IN = 0.2
"""Share of emcee's steps that is left out."""


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
