"""The densities between a start and the posterior, and the orbits on which particles move there.

Belongs here: what is known at a point, the force. Not here: when particles move (tempering), starts (starts).

The leapfrog map of Hamiltonian Monte Carlo (Neal 2011, Handbook of MCMC, ch. 5) is reversible and keeps volume
whatever force is put in, as long as it is a function of the point alone, so the acceptance makes the target
exact whatever the force. The force is the gradient of a surrogate (``surrogate``), so that a whole orbit costs one
simulation, at its end. Where there are too few points for a surrogate, or several modes, it is -J' r - z instead,
with each point's own residuals r and one Jacobian J per mode, the population's regression of r on z: one
simulation a leap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.inference.starts import Start, SurrogateStart
from chiploop.inference.surrogate import Surrogate
from chiploop.inference.target import Target

FARTHEST = 50.0
"""An orbit that leaves this many prior sd is given up: the polynomials mean nothing there."""
KEPT = 4
"""Moves whose simulated points the polynomials are fitted to."""
SIMULATED_LEAPS = 3
"""Of an orbit whose every leap is simulated."""


@dataclass(frozen=True)
class Points:
    """Where a population stands, with all that the next move needs."""

    z: np.ndarray
    r: np.ndarray
    """(n, m); 0 where the simulation failed, which ``log_target`` tells."""
    part: np.ndarray
    """(n,) which Jacobian the force takes."""
    log_start: np.ndarray
    start_pull: np.ndarray
    log_target: np.ndarray
    """(n,) log likelihood + log prior."""

    def taken(self, at: np.ndarray) -> Points:
        """Return the points at these indices."""
        return Points(*(getattr(self, name)[at] for name in self.__dataclass_fields__))

    def mixed(self, accepted: np.ndarray, other: Points) -> Points:
        """Return the other's point where accepted (n,), this one elsewhere."""
        return Points(
            *(
                np.where(accepted[:, None] if old.ndim == 2 else accepted, new, old)
                for old, new in (
                    (getattr(self, name), getattr(other, name))
                    for name in self.__dataclass_fields__
                )
            )
        )

    def log_density(self, beta: float) -> np.ndarray:
        """Return the tempered log density (n,)."""
        return (1 - beta) * self.log_start + beta * self.log_target


class Bridge:
    """The densities between a start (beta 0) and the posterior (beta 1)."""

    def __init__(
        self,
        target: Target,
        start: Start,
        surrogate: Surrogate | None = None,
        simulated: Sequence[tuple[Points, np.ndarray]] = (),
    ) -> None:
        self.target = target
        self.start = start
        self.slopes = start.jacobians()
        self.surrogate = surrogate
        self.simulated = list(simulated)
        """Points of the last moves with the readouts' means (n, m) there."""

    def points(self, z: np.ndarray) -> Points:
        """Return everything known at z (n, dims)."""
        target = self.target
        predicted = target.predicted(z)
        r = target.likelihood.residuals(predicted, z[:, target.unknowns.at_effects])
        log_target = target.log_posterior(r, z)
        log_start, pull = self.start.log_density(z)
        r = np.where(np.isfinite(log_target)[:, None], r, 0.0)
        points = Points(z, r, self.start.nearest(z), log_start, pull, log_target)
        self.simulated = [
            *self.simulated[1 - KEPT :],
            (points, target.likelihood.plain_means(predicted)),
        ]
        return points

    def learn(self, now: Points, beta: float) -> None:
        """Take the force anew from what was simulated last."""
        self.surrogate = None
        if len(self.start.jacobians()) <= 1:
            self.surrogate = fitted(self.target, self.simulated, beta)
        if self.surrogate is None:
            self.slopes = self.regressions(now)

    def regressions(self, now: Points) -> tuple[np.ndarray, ...]:
        """Return per mode the regression (m, dims) of the residuals on z over the population."""
        good = np.isfinite(now.log_target)
        known = self.start.jacobians()
        d = now.z.shape[1]
        found = []
        for k in range(max(1, len(known))):
            at = good & (now.part == k)
            if at.sum() < 4 * d:  # too few to tell
                found.append(known[k] if known else np.zeros((now.r.shape[1], d)))
                continue
            z, r = now.z[at] - now.z[at].mean(axis=0), now.r[at] - now.r[at].mean(axis=0)
            square = z.T @ z
            square += 1e-6 * np.trace(square) / d * np.eye(d)
            found.append(np.linalg.solve(square, z.T @ r).T)
        return tuple(found)

    def force(self, now: Points, beta: float) -> np.ndarray:
        """Return the force (n, dims) at simulated points."""
        pull = np.empty_like(now.z)
        for k, slope in enumerate(self.slopes):
            at = now.part == k
            pull[at] = -now.r[at] @ slope
        return np.asarray((1 - beta) * now.start_pull + beta * (pull - now.z))

    def force_at(self, z: np.ndarray, beta: float) -> np.ndarray:
        """Return the surrogate's force (n, dims) at any points."""
        assert self.surrogate is not None
        pull = self.surrogate.log_posterior(z)[1]
        if beta == 1.0 or isinstance(self.start, SurrogateStart):
            return pull
        return np.asarray(beta * pull + (1 - beta) * self.start.log_density(z)[1])

    def orbit(
        self,
        now: Points,
        beta: float,
        momentum: np.ndarray,
        lower: np.ndarray,
        own: np.ndarray,
        leaps: int,
    ) -> tuple[Points, np.ndarray]:
        """Return where orbits end, and their momenta (n, dims) there."""
        if self.surrogate is None:
            there = now
            momentum = momentum + 0.5 * own * (self.force(there, beta) @ lower)
            for leap in range(SIMULATED_LEAPS):
                there = self.points(there.z + own * (momentum @ lower.T))
                half = 0.5 if leap == SIMULATED_LEAPS - 1 else 1.0
                momentum = momentum + half * own * (self.force(there, beta) @ lower)
            return there, momentum
        z = now.z
        lost = np.zeros(len(z), dtype=bool)
        momentum = momentum + 0.5 * own * (self.force_at(z, beta) @ lower)
        for leap in range(leaps):
            z = z + own * (momentum @ lower.T)
            lost |= ~(np.abs(z).max(axis=1) < FARTHEST)
            z = np.where(lost[:, None], now.z, z)
            half = 0.5 if leap == leaps - 1 else 1.0
            momentum = momentum + half * own * (self.force_at(z, beta) @ lower)
            lost |= ~np.isfinite(momentum).all(axis=1)
            momentum[lost] = 0.0
        momentum[lost] = np.inf  # refused
        return self.points(z), momentum


class SurrogateBridge(Bridge):
    """The densities between a start and the surrogate's posterior; nothing is simulated."""

    def points(self, z: np.ndarray) -> Points:
        """Return everything known at z (n, dims)."""
        assert self.surrogate is not None
        log_target, _ = self.surrogate.log_posterior(z)
        log_start, pull = self.start.log_density(z)
        nothing = np.zeros((len(z), 0))
        return Points(z, nothing, self.start.nearest(z), log_start, pull, log_target)

    def learn(self, now: Points, beta: float) -> None:
        """Keep the surrogate."""


def fitted(
    target: Target, simulated: Sequence[tuple[Points, np.ndarray]], beta: float
) -> Surrogate | None:
    """Return the polynomials over points where the tempered density is; None where they are too few."""
    z = np.concatenate([points.z for points, _ in simulated])
    height = np.concatenate([points.log_density(beta) for points, _ in simulated])
    means = np.concatenate([one for _, one in simulated])
    # the typical set lies dims / 2 below the top; what lies far below it says little of where particles go
    below = np.where(np.isfinite(height), height.max() - height, np.inf)
    weights = np.exp(-np.maximum(0.0, below - target.dims) / 4.0)
    used = weights > 1e-3
    if used.sum() < 2 * Surrogate.least_points(target):
        return None
    return Surrogate.trained(target, z[used], means[used], weights[used])
