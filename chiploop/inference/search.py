"""The search for the modes of a posterior: trust-region least squares from many starts.

Belongs here: Levenberg-Marquardt in the prior's standard normals, which ends are one mode. Not here: sampling
(tempering). All starts advance together, so that each sweep is one batch of simulations with their derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiploop.inference.target import Target

LONGEST_STEP = 2.0
"""Trust region: prior sd by which one sweep may move a coordinate."""
SAME_HEIGHT = 0.5
"""Ends within this log posterior of the best, and near it, count as having found it."""
SAME_PLACE = 3.0
"""Ends within this distance, in sd of the Gauss-Newton covariance, are one mode; within this distance per root of
a dimension they are one where the log posterior does not dip between them."""
DIP = 0.5
"""By which the log posterior on the way between two ends may lie below the lower one of one mode."""
BETWEEN = (0.25, 0.5, 0.75)
"""Where on the way it is looked at."""
LEAST_SHARE = 1e-4
"""A second mode with less of the Laplace mass than this is left to the sampler's tails."""


@dataclass(frozen=True)
class Mode:
    """Where searches ended."""

    z: np.ndarray
    """(dims,) best point."""
    covariance: np.ndarray
    """(dims, dims) inverse of the Gauss-Newton Hessian there."""
    jacobian: np.ndarray
    """(m, dims) of the residuals there."""
    residuals: np.ndarray
    """(m,) there."""
    height: float
    """Log posterior there."""
    share: float = 1.0
    """Of the Laplace masses of all modes."""

    @property
    def log_mass(self) -> float:
        """Return the log of the Laplace approximation's mass."""
        half_logdet = 0.5 * float(np.linalg.slogdet(self.covariance)[1])
        return self.height + half_logdet + 0.5 * self.z.size * float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Search:
    """What all searches found."""

    modes: tuple[Mode, ...]
    """Highest first; those with a notable share of the mass."""
    heights: np.ndarray
    """(starts,) log posterior at each search's end; -inf where it never began."""
    at_best: np.ndarray
    """(starts,) bool: it ended at the highest mode."""
    sweeps: int


def search(target: Target, starts: np.ndarray, sweeps: int = 60, tolerance: float = 5e-3) -> Search:
    """Return the modes found by Levenberg-Marquardt from every start (s, dims).

    A search ends where two sweeps running gain less than ``tolerance`` in log posterior, or where no step gains.
    """
    z = starts.copy()
    s, d = z.shape
    damping = np.full(s, 1.0)
    r, jacobian, height = seen(target, z)
    small = np.zeros(s, dtype=int)
    done = ~np.isfinite(height)
    used = 0
    while not done.all() and used < sweeps:
        used += 1
        live = np.flatnonzero(~done)
        trial = z[live] + steps(r[live], jacobian[live], z[live], damping[live])
        new_r, new_jacobian, new_height = seen(target, trial)
        better = new_height > height[live]
        gain = np.where(better, new_height - height[live], 0.0)
        at = live[better]
        z[at], r[at], jacobian[at] = trial[better], new_r[better], new_jacobian[better]
        height[at] = new_height[better]
        damping[at] = np.maximum(damping[at] / 5, 1e-8)
        damping[live[~better]] *= 4
        small[live] = np.where(better & (gain < tolerance), small[live] + 1, 0)
        done[live] = (small[live] >= 2) | (damping[live] > 1e6)
    return told_apart(target, z, r, jacobian, height, used)


def seen(target: Target, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return residuals, Jacobian and log posterior at z; -inf also where only the derivatives break down."""
    r, jacobian = target.linearised(z)
    sloped = np.isfinite(jacobian).all(axis=(1, 2))
    return r, jacobian, np.where(sloped, target.log_posterior(r, z), -np.inf)


def steps(r: np.ndarray, jacobian: np.ndarray, z: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """Return damped Gauss-Newton steps (s, dims), scaled back into the trust region."""
    d = z.shape[1]
    hessian = np.swapaxes(jacobian, 1, 2) @ jacobian + np.eye(d)
    gradient = np.einsum("smd,sm->sd", jacobian, r) + z
    diagonal = np.einsum("sdd->sd", hessian)
    damped = hessian + (damping[:, None] * diagonal)[:, :, None] * np.eye(d)
    step = np.linalg.solve(damped, -gradient[..., None])[..., 0]
    longest = np.abs(step).max(axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-12)))


def told_apart(
    target: Target,
    z: np.ndarray,
    r: np.ndarray,
    jacobian: np.ndarray,
    height: np.ndarray,
    sweeps: int,
) -> Search:
    """Return the ends as modes: an end far from every higher one, or behind a dip, is another mode."""
    d = z.shape[1]
    modes: list[Mode] = []
    at_best = np.zeros(len(z), dtype=bool)
    for i in np.argsort(-height, kind="stable"):
        if not np.isfinite(height[i]):
            continue
        distances = [
            np.sqrt(max(0.0, (z[i] - m.z) @ np.linalg.solve(m.covariance, z[i] - m.z)))
            for m in modes
        ]
        near = int(np.argmin(distances)) if distances else -1
        if modes and (
            distances[near] < SAME_PLACE
            or (
                distances[near] < SAME_PLACE * np.sqrt(d)
                and not dips(target, modes[near].z, z[i], float(height[i]))
            )
        ):
            at_best[i] = near == 0 and height[i] > modes[0].height - SAME_HEIGHT
            continue
        covariance = np.linalg.inv(jacobian[i].T @ jacobian[i] + np.eye(d))
        at_best[i] = not modes
        modes.append(Mode(z[i], covariance, jacobian[i], r[i], float(height[i])))
    if not modes:
        return Search((), height, at_best, sweeps)
    mass = np.array([mode.log_mass for mode in modes])
    share = np.exp(mass - mass.max())
    share /= share.sum()
    kept = [i for i in range(len(modes)) if share[i] >= LEAST_SHARE or i == 0]
    total = share[kept].sum()
    return Search(
        tuple(
            Mode(m.z, m.covariance, m.jacobian, m.residuals, m.height, float(share[i] / total))
            for i, m in enumerate(modes)
            if i in kept
        ),
        height,
        at_best,
        sweeps,
    )


def dips(target: Target, one: np.ndarray, other: np.ndarray, lower: float) -> bool:
    """Return whether the log posterior falls below the lower end on the way from one end to the other (dims,)."""
    share = np.array(BETWEEN)[:, None]
    return bool(target.log_density(one + share * (other - one)).min() < lower - DIP)
