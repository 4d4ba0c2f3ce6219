"""Sequential Monte Carlo from a start that can be drawn from to the posterior.

Belongs here: tempering, resampling, moves, effective particles. Not here: densities and forces (bridge), limits
(diagnostics). Del Moral, Doucet, Jasra 2006, J. R. Stat. Soc. B 68:411.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from chiploop.inference.bridge import Bridge, Points
from chiploop.inference.starts import Start
from chiploop.inference.target import Target

LEARNING = 3
"""Moves after a resampling before which the force is taken anew; then it stays."""


class NothingSimulated(ValueError):
    """No particle of a start has a density."""


@dataclass(frozen=True)
class Pace:
    """How particles are moved."""

    particles: int
    moves: int
    """After each tempering step but the last."""
    final_moves: int
    """After the last, at least."""
    most_final: int
    """After the last, at most."""
    leaps: int
    """Of one orbit."""
    size: float = 0.3
    """Of the first leap, in the population's sd."""
    longest: float = 1.2
    """Largest leap: a longer one would not see where the posterior is narrow."""
    acceptance: float = 0.7
    """That the size of the leaps aims at."""
    keep: float = 0.5
    """Effective share of the particles that one tempering step must keep."""
    memory: float = 0.1
    """How alike particles may be to where they were resampled (``remembered``) for the last moves to end."""


@dataclass(frozen=True)
class Population:
    """One sequential Monte Carlo run."""

    z: np.ndarray
    """(n, dims), equally weighted."""
    residuals: np.ndarray
    """(n, m) there."""
    log_evidence: float
    ess: float
    """Effective particles of the worst entry of z."""
    acceptance: float
    temperatures: int
    size: float
    """Of the last leaps."""


def temper(target: Target, start: Start, rng: np.random.Generator, pace: Pace) -> Population:
    """Return a population tempered from the start to the posterior.

    Raises NothingSimulated where no particle of the start can be simulated.
    """
    return tempered(Bridge(target, start), rng, pace)


def tempered(between: Bridge, rng: np.random.Generator, pace: Pace) -> Population:
    """Return a population tempered over a bridge.

    Raises NothingSimulated where no particle of the start has a density.
    """
    start = between.start
    n = pace.particles
    now = between.points(start.draw(n, rng))
    beta, log_evidence, temperatures, acceptance = 0.0, start.log_evidence, 0, 0.0
    size = pace.size
    inflation, origin = start.inflation, now.z
    while beta < 1.0:
        ratio = np.where(np.isfinite(now.log_target), now.log_target - now.log_start, -np.inf)
        if not np.isfinite(ratio).any():
            raise NothingSimulated("no particle of the start can be simulated")
        step = largest_step(ratio, 1.0 - beta, pace.keep)
        weights = np.exp(step * (ratio - ratio.max()))
        weights /= weights.sum()
        forward = step * ratio
        beta = 1.0 if beta + step > 1.0 - 1e-9 else beta + step
        temperatures += 1
        chosen = systematic(weights, rng)
        lower = np.linalg.cholesky(spread(now.z, weights, start.covariance))
        before, now = now.z, now.taken(chosen)
        # what was alike before is so still in part, and copies come on top
        inflation = 1.0 + remembered(origin, before) * (inflation - 1.0)
        inflation += float(np.bincount(chosen, minlength=n)[chosen].mean()) - 1.0
        origin = now.z
        for move in range(pace.most_final if beta == 1.0 else pace.moves):
            if beta == 1.0 and move >= pace.final_moves:
                if remembered(origin, now.z) <= pace.memory:
                    break
            if 0 < move < LEARNING or between.surrogate is None:
                between.learn(now, beta)
            accepted, now = moved(between, now, beta, lower, size, pace.leaps, rng)
            acceptance = float(accepted.mean())
            size = min(pace.longest, size * float(np.exp(0.5 * (acceptance - pace.acceptance))))
        log_evidence += acceptance_ratio(forward, step * (now.log_target - now.log_start))
    ess = n / (1.0 + remembered(origin, now.z) * (inflation - 1.0))
    return Population(now.z, now.r, log_evidence, ess, acceptance, temperatures, size)


def acceptance_ratio(before: np.ndarray, after: np.ndarray) -> float:
    """Return log Z1/Z0 from log(density 1 / density 0) at as many draws of 0 (n,) as of 1 (n,).

    Bennett's acceptance ratio (1976, J. Comput. Phys. 22:245): of all that use both sets, the one with the least
    variance.
    """
    finite = before[np.isfinite(before)]

    def excess(level: float) -> float:
        return float(expit(before - level).sum() - expit(level - after).sum())

    # so far out that one side is nothing, however few draws of 0 have a density 1
    low = min(float(finite.min()), float(after.min())) - 40.0
    high = max(float(finite.max()), float(after.max())) + 40.0
    return float(brentq(excess, low, high, xtol=1e-10))


def remembered(origin: np.ndarray, z: np.ndarray) -> float:
    """Return how alike particles are to where they were before the last moves, 0 to 1.

    The largest squared correlation of an entry, or of the square of its deviation, with itself then; and never
    less than the share of particles that did not move at all.
    """
    a, b = origin - origin.mean(axis=0), z - z.mean(axis=0)
    still = float((origin == z).all(axis=1).mean())
    return max(still, correlated(a, b), correlated(a**2, b**2))


def correlated(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest squared correlation of the columns of a (n, d) with those of b."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = (a * b).sum(axis=0) ** 2 / ((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return float(np.max(np.nan_to_num(kept, nan=1.0)))


def spread(z: np.ndarray, weights: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the population's covariance (d, d), leaning on the start's: n particles in d dimensions are noisy."""
    n, d = z.shape
    centred = z - weights @ z
    share = 1.0 / (1.0 + 0.25 * n / d)
    return np.asarray((1 - share) * (centred * weights[:, None]).T @ centred + share * covariance)


def moved(
    between: Bridge,
    now: Points,
    beta: float,
    lower: np.ndarray,
    size: float,
    leaps: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Points]:
    """Return which particles moved (n,), and the population after one Hamiltonian move."""
    n = len(now.z)
    # one step size for all would let a particle's orbit close on itself
    own = size * rng.uniform(0.7, 1.3, n)[:, None]
    momentum = rng.standard_normal(now.z.shape)
    energy = 0.5 * (momentum**2).sum(axis=1) - now.log_density(beta)
    with np.errstate(over="ignore", invalid="ignore"):  # an orbit that leaves is refused
        there, momentum = between.orbit(now, beta, momentum, lower, own, leaps)
    log_ratio = energy - (0.5 * (momentum**2).sum(axis=1) - there.log_density(beta))
    accepted = np.log(rng.random(n)) < np.where(np.isnan(log_ratio), -np.inf, log_ratio)
    return accepted, now.mixed(accepted, there)


def largest_step(ratio: np.ndarray, most: float, keep: float) -> float:
    """Return the largest tempering step <= most that keeps the effective share of particles."""

    def share(step: float) -> float:
        w = np.exp(step * (ratio - ratio.max()))
        return float(w.sum() ** 2 / (w @ w) / w.size)

    if share(most) >= keep:
        return most
    low, high = 0.0, most
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if share(middle) >= keep else (low, middle)
    return max(low, 1e-6)


def systematic(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (n,) indices by systematic resampling."""
    n = weights.size
    points = (rng.random() + np.arange(n)) / n
    return np.minimum(np.searchsorted(np.cumsum(weights), points), n - 1)
