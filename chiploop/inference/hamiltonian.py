"""The referee: Hamiltonian Monte Carlo with the model's own gradient, to be compared with a calibration.

Belongs here: chains that know nothing of the calibration but its mode. Not here: the calibration (recalibrate),
effective sizes (chains).

Neal 2011, Handbook of MCMC, ch. 5. Chains run side by side in the prior's standard normals, whitened by the
Gauss-Newton Hessian at the mode, and begin spread out wider than the posterior; each leap takes the exact gradient
-J' r - z. While they warm up the leap's size is adapted by dual averaging (Hoffman, Gelman 2014, J. Mach. Learn.
Res. 15:1593), and half-way they are whitened anew by their own covariance, since a bent valley is far longer than
the Hessian at its bottom says; afterwards both stay. The number of leaps and each chain's size are drawn anew for
every orbit, so that no orbit closes on itself. A point that can not be simulated has no force and no density:
orbits that end there are refused.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np

from chiploop.inference.chains import bulk_ess, rhat, tail_ess
from chiploop.inference.search import Mode
from chiploop.inference.target import Target

HIGHEST_RHAT = 1.01
LEAST_ESS = 400.0
FARTHEST = 50.0
"""A point that many prior sd away is not simulated: there the model is absurd, and slow."""
OVERDISPERSED = 1.5
"""Of the chains' starts over the Gauss-Newton covariance."""


@dataclass(frozen=True)
class Pace:
    """How chains are run."""

    chains: int = 8
    warm_up: int = 200
    steps: int = 600
    orbit: float = 1.6
    """Mean length in units of whitened time; a quarter of a normal's period."""
    acceptance: float = 0.8
    """That the leap's size aims at."""
    most_leaps: int = 16


USUAL_PACE = Pace()


@dataclass(frozen=True)
class RefereeResult:
    """What the chains found."""

    z: np.ndarray
    """(chains, steps, dims) standard normals of the prior, after the warm-up."""
    rhat: np.ndarray
    """(dims,) rank-normalised, split."""
    ess: np.ndarray
    """(dims,) bulk."""
    tail_ess: np.ndarray
    """(dims,) of the 5 and 95 % quantiles."""
    acceptance: float
    size: float
    """Of a leap."""
    simulations: int
    """Trajectories computed, each with its derivatives."""

    @property
    def converged(self) -> bool:
        """Whether the chains agree and are worth enough."""
        return bool(self.rhat.max() <= HIGHEST_RHAT and self.ess.min() >= LEAST_ESS)

    @property
    def sentence(self) -> str:
        """What a person should know of it."""
        found = (
            f"largest R-hat {self.rhat.max():.3f} (at most {HIGHEST_RHAT}), smallest effective size "
            f"{self.ess.min():.0f} (at least {LEAST_ESS:.0f})"
        )
        return (
            "The referee converged: " if self.converged else "THE REFEREE DID NOT CONVERGE: "
        ) + found


@dataclass(frozen=True)
class Points:
    """Where chains stand, in whitened coordinates."""

    x: np.ndarray
    """(n, dims)."""
    height: np.ndarray
    """(n,) log density."""
    pull: np.ndarray
    """(n, dims) its gradient."""


class Whitened:
    """The posterior around a mode, in coordinates in which it is near a standard normal."""

    def __init__(self, target: Target, mode: Mode) -> None:
        self.target = target
        self.center = mode.z
        self.covariance = mode.covariance
        self.lower = np.linalg.cholesky(mode.covariance)

    def x(self, z: np.ndarray) -> np.ndarray:
        """Return whitened points (n, dims) of z (n, dims)."""
        return np.asarray(np.linalg.solve(self.lower, (z - self.center).T).T)

    def whitened_by(self, z: np.ndarray) -> Whitened:
        """Return coordinates in which draws (n, dims) are near standard normals, leaning on the present ones."""
        n, d = z.shape
        share = n / (n + 5.0 * d)
        found = copy(self)
        found.covariance = share * np.cov(z.T).reshape(d, d) + (1.0 - share) * self.covariance
        found.lower = np.linalg.cholesky(found.covariance)
        return found

    def z(self, x: np.ndarray) -> np.ndarray:
        """Return z (n, dims) of whitened points (n, dims)."""
        return np.asarray(self.center + x @ self.lower.T)

    def points(self, x: np.ndarray) -> Points:
        """Return whitened points (n, dims) with density and gradient; -inf and 0 where there is none."""
        z = self.z(x)
        height, pull = np.full(len(z), -np.inf), np.zeros_like(z)
        near = np.flatnonzero(np.abs(z).max(axis=1) < FARTHEST)
        if near.size:
            r, jacobian = self.target.linearised(z[near])
            found = self.target.log_posterior(r, z[near])
            gradient = -np.einsum("nmd,nm->nd", jacobian, r) - z[near]
            good = np.isfinite(found) & np.isfinite(gradient).all(axis=1)
            height[near[good]], pull[near[good]] = found[good], gradient[good]
        return Points(x, height, pull @ self.lower)


def referee(
    target: Target, mode: Mode, rng: np.random.Generator, pace: Pace = USUAL_PACE
) -> RefereeResult:
    """Return draws of the posterior from chains around a mode.

    Raises ValueError where too few starts can be simulated.
    """
    before = target.simulations
    space = Whitened(target, mode)
    now = space.points(begun(space, rng, pace.chains))
    size = Adapted(0.5 / target.dims**0.25, pace.acceptance)
    kept: list[np.ndarray] = []
    accepted: list[float] = []
    for step in range(pace.warm_up + pace.steps):
        is_warm_up = step < pace.warm_up
        if step == pace.warm_up // 2 and len(kept) > 1:
            z = space.z(now.x)
            space = space.whitened_by(np.concatenate(kept[len(kept) // 3 :]))
            now, size = space.points(space.x(z)), Adapted(size.settled, pace.acceptance)
        if step == pace.warm_up:
            kept = []
        leap = size.now if is_warm_up else size.settled
        chance, now = moved(space, now, leap, pace, rng)
        kept.append(space.z(now.x))
        if is_warm_up:
            size.learn(chance)
        else:
            accepted.append(chance)
    draws = np.stack(kept, axis=1)
    return RefereeResult(
        draws,
        rhat(draws),
        bulk_ess(draws),
        tail_ess(draws),
        float(np.mean(accepted)),
        size.settled,
        target.simulations - before,
    )


def moved(
    space: Whitened, now: Points, leap: float, pace: Pace, rng: np.random.Generator
) -> tuple[float, Points]:
    """Return the mean chance of acceptance and the chains after one orbit each."""
    leaps = int(np.clip(round(pace.orbit * rng.uniform(0.5, 1.5) / leap), 1, pace.most_leaps))
    own = leap * rng.uniform(0.8, 1.2, len(now.x))[:, None]
    momentum = rng.standard_normal(now.x.shape)
    energy = 0.5 * (momentum**2).sum(axis=1) - now.height
    there, momentum = now, momentum + 0.5 * own * now.pull
    for left in reversed(range(leaps)):
        there = space.points(there.x + own * momentum)
        momentum = momentum + (1.0 if left else 0.5) * own * there.pull
    ratio = energy - (0.5 * (momentum**2).sum(axis=1) - there.height)
    chance = np.exp(np.minimum(0.0, ratio))
    moves = rng.random(len(chance)) < chance
    return float(chance.mean()), Points(
        np.where(moves[:, None], there.x, now.x),
        np.where(moves, there.height, now.height),
        np.where(moves[:, None], there.pull, now.pull),
    )


def begun(space: Whitened, rng: np.random.Generator, chains: int) -> np.ndarray:
    """Return starts (chains, dims) that can be simulated, drawn wider than the posterior."""
    drawn = OVERDISPERSED * rng.standard_normal((4 * chains, space.center.size))
    good = drawn[np.isfinite(space.points(drawn).height)]
    if len(good) < chains:
        raise ValueError(
            f"only {len(good)} of {len(drawn)} starts around the mode can be simulated; {chains} are needed"
        )
    return good[:chains]


class Adapted:
    """A leap's size by dual averaging, with the constants of Hoffman and Gelman."""

    def __init__(self, first: float, aim: float) -> None:
        self.aim, self.anchor = aim, np.log(10.0 * first)
        self.error, self.count = 0.0, 0
        self.log_now, self.log_settled = np.log(first), 0.0

    @property
    def now(self) -> float:
        """Return the size to try."""
        return float(np.exp(np.clip(self.log_now, np.log(1e-3), np.log(2.0))))

    @property
    def settled(self) -> float:
        """Return the size to keep."""
        return float(np.exp(np.clip(self.log_settled, np.log(1e-3), np.log(2.0))))

    def learn(self, acceptance: float) -> None:
        """Take in the mean chance of acceptance of one orbit."""
        self.count += 1
        share = 1.0 / (self.count + 10.0)
        self.error += share * (self.aim - acceptance - self.error)
        self.log_now = self.anchor - np.sqrt(self.count) / 0.05 * self.error
        weight = self.count**-0.75
        self.log_settled += weight * (self.log_now - self.log_settled)
