"""Readouts and a prior to a posterior: search, then a bridge from the mode to the posterior.

Belongs here: the search for the mode, the sequential sampler, its diagnostics. Not here: the likelihood.

Everything happens in the prior's standard normals z, where the log posterior is -|r|^2/2 - |z|^2/2 with the
likelihood's standardised residuals r. (1) Levenberg-Marquardt from several starts, all advanced together.
(2) Two independent populations start from a multivariate t around the mode with the Gauss-Newton
covariance and are tempered to the posterior (sequential Monte Carlo, Del Moral et al. 2006). The moves are
Metropolis-adjusted steps along an approximate gradient, -J^T r - z with the Jacobian J of the mode and the
particle's own residuals r, which costs no simulation and leaves the target exact (any drift that is a function
of the point is corrected by the acceptance), and random walks. Two populations, because one can not tell that
it is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln
from scipy.stats import chi2

from chiploop.inference.likelihood import Likelihood
from chiploop.inference.posterior import CalibrationInfo, Limits, Posterior
from chiploop.inference.prior import Prior

DEGREES_OF_FREEDOM = 8.0
"""Of the t distribution that the bridge starts from: heavier tails than the posterior's."""
INFLATION = 1.2
"""Of its scale over the Gauss-Newton covariance."""
DIFFERENCE = 1e-4
"""Step of the finite differences in z: far above the solver's error, far below the posterior's sd."""


@dataclass(frozen=True)
class Effort:
    """How hard to look."""

    starts: int = 8
    particles: int = 192
    """Per population."""
    moves: int = 8
    """After each tempering step but the last."""
    final_moves: int = 24
    """After the last."""
    keep: float = 0.5
    """Effective share of the particles that one tempering step must keep."""


USUAL_EFFORT = Effort()
USUAL_LIMITS = Limits()


@dataclass(frozen=True)
class Mode:
    """Where the search ended."""

    z: np.ndarray
    """(p,) best point."""
    covariance: np.ndarray
    """(p, p) inverse of the Gauss-Newton Hessian there."""
    jacobian: np.ndarray
    """(m, p) of the standardised residuals there."""
    heights: np.ndarray
    """(starts,) log posterior at each search's end."""


@dataclass(frozen=True)
class Population:
    """One sequential Monte Carlo run."""

    z: np.ndarray
    """(n, p)."""
    log_evidence: float
    ess: float
    acceptance: float
    temperatures: int


def recalibrate(
    likelihood: Likelihood,
    prior: Prior,
    rng: np.random.Generator,
    previous: Posterior | None = None,
    effort: Effort = USUAL_EFFORT,
    limits: Limits = USUAL_LIMITS,
) -> tuple[Posterior, CalibrationInfo]:
    """Return the posterior given the readouts, and the diagnostics.

    ``previous`` moves the starts of the search, nothing else: the result is that of a cold start.
    A first try that breaks a limit is repeated once with twice the particles and moves; what then still
    breaks a limit is returned with ``passed`` false.
    """
    posterior, info = attempt(likelihood, prior, rng, previous, effort, limits)
    if not info.passed:
        harder = replace(
            effort,
            starts=2 * effort.starts,
            particles=2 * effort.particles,
            moves=effort.moves + 2,
            final_moves=2 * effort.final_moves,
        )
        again, second = attempt(likelihood, prior, rng, previous, harder, limits)
        posterior, info = again, replace(second, simulations=second.simulations + info.simulations)
    return posterior, info


def attempt(
    likelihood: Likelihood,
    prior: Prior,
    rng: np.random.Generator,
    previous: Posterior | None,
    effort: Effort,
    limits: Limits,
) -> tuple[Posterior, CalibrationInfo]:
    """Return one try at the posterior."""
    count = Counter(likelihood, prior)
    p = len(prior.specs)
    starts = rng.standard_normal((effort.starts, p))
    if previous is not None:
        chosen = rng.integers(len(previous.standard), size=effort.starts // 2)
        starts[: chosen.size] = previous.standard[chosen]
    mode = search(count, starts)
    populations = [bridge(count, mode, rng, effort) for _ in range(2)]
    z = np.concatenate([population.z for population in populations])
    posterior = Posterior(
        names=prior.names,
        units=tuple(spec.unit for spec in prior.specs),
        particles=prior.parameters(z),
        standard=z,
        mode=prior.parameters(mode.z[None])[0],
    )
    return posterior, diagnose(likelihood, prior, mode, populations, limits, count.simulations)


class Counter:
    """The log likelihood in z, counting its simulations."""

    def __init__(self, likelihood: Likelihood, prior: Prior) -> None:
        self.likelihood = likelihood
        self.prior = prior
        self.simulations = 0

    def residuals(self, z: np.ndarray) -> np.ndarray:
        """Return residuals (n, m) at z (n, p)."""
        self.simulations += len(z) * len(self.likelihood.inlets)
        return self.likelihood.residuals(self.prior.parameters(z))


def search(count: Counter, starts: np.ndarray, sweeps: int = 40, tolerance: float = 1e-2) -> Mode:
    """Return the mode by Levenberg-Marquardt from every start (s, p); all advance in one batch."""
    z = starts.copy()
    s, p = z.shape
    damping = np.full(s, 1.0)
    r, jacobian = linearised(count, z)
    height = log_posterior(r, z)
    done = ~np.isfinite(height)
    for _ in range(sweeps):
        if done.all():
            break
        live = np.flatnonzero(~done)
        trial = z.copy()
        for i in live:
            hessian = jacobian[i].T @ jacobian[i] + np.eye(p)
            gradient = jacobian[i].T @ r[i] + z[i]
            step = np.linalg.solve(hessian + damping[i] * np.diag(np.diag(hessian)), -gradient)
            trial[i] += np.clip(step, -2.0, 2.0)  # a trust region of two prior sd per sweep
        new_r, new_jacobian = linearised(count, trial[live])
        new_height = log_posterior(new_r, trial[live])
        better = new_height > height[live]
        gain = np.where(better, new_height - height[live], np.inf)
        at = live[better]
        z[at], r[at], jacobian[at] = trial[at], new_r[better], new_jacobian[better]
        height[at] = new_height[better]
        damping[at] = np.maximum(damping[at] / 5, 1e-8)
        damping[live[~better]] *= 4
        done[live[(gain < tolerance) | (damping[live] > 1e6)]] = True
    best = int(np.nanargmax(np.where(np.isfinite(height), height, -np.inf)))
    hessian = jacobian[best].T @ jacobian[best] + np.eye(p)
    return Mode(z[best], np.linalg.inv(hessian), jacobian[best], height)


def linearised(count: Counter, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals (s, m) and their Jacobian (s, m, p) at z (s, p) by forward differences."""
    s, p = z.shape
    points = np.repeat(z[:, None], p + 1, axis=1)
    points[:, np.arange(1, p + 1), np.arange(p)] += DIFFERENCE
    r = count.residuals(points.reshape(-1, p)).reshape(s, p + 1, -1)
    return r[:, 0], np.swapaxes((r[:, 1:] - r[:, :1]) / DIFFERENCE, 1, 2)


def log_posterior(r: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return -|r|^2/2 - |z|^2/2 (s,); -inf where the simulation failed."""
    total = -0.5 * (r**2).sum(axis=1) - 0.5 * (z**2).sum(axis=1)
    return np.where(np.isfinite(total), total, -np.inf)


@dataclass(frozen=True)
class Points:
    """Where a population stands, with all that the next move needs."""

    z: np.ndarray
    """(n, p)."""
    pull: np.ndarray
    """(n, p) approximate gradient of the log likelihood."""
    log_start: np.ndarray
    """(n,) log density that the bridge starts from."""
    start_pull: np.ndarray
    """(n, p) its gradient."""
    log_target: np.ndarray
    """(n,) log likelihood + log prior."""

    def taken(self, at: np.ndarray) -> Points:
        """Return the points at these indices."""
        return Points(*(getattr(self, name)[at] for name in self.__dataclass_fields__))

    def mixed(self, accepted: np.ndarray, other: Points) -> Points:
        """Return the other's point where accepted (n,), this one elsewhere."""
        parts = []
        for name in self.__dataclass_fields__:
            old, new = getattr(self, name), getattr(other, name)
            parts.append(np.where(accepted[:, None] if old.ndim == 2 else accepted, new, old))
        return Points(*parts)

    def log_density(self, beta: float) -> np.ndarray:
        """Return the tempered log density (n,)."""
        return (1 - beta) * self.log_start + beta * self.log_target

    def drift(self, beta: float) -> np.ndarray:
        """Return its approximate gradient (n, p)."""
        return (1 - beta) * self.start_pull + beta * (self.pull - self.z)


class Bridge:
    """The densities between the inflated t around the mode (beta 0) and the posterior (beta 1)."""

    def __init__(self, count: Counter, mode: Mode) -> None:
        self.count = count
        self.mode = mode
        p = mode.z.size
        self.factor = np.linalg.cholesky(mode.covariance) * INFLATION
        self.inverse = np.linalg.inv(self.factor)
        self.constant = float(
            -np.log(np.diag(self.factor)).sum()
            + gammaln((DEGREES_OF_FREEDOM + p) / 2)
            - gammaln(DEGREES_OF_FREEDOM / 2)
            - p / 2 * np.log(DEGREES_OF_FREEDOM * np.pi)
        )

    def points(self, z: np.ndarray) -> Points:
        """Return everything known at z (n, p)."""
        p = z.shape[1]
        r = self.count.residuals(z)
        log_likelihood = -0.5 * (r**2).sum(axis=1)
        good = np.isfinite(log_likelihood)
        pull = np.where(good[:, None], -np.nan_to_num(r) @ self.mode.jacobian, 0.0)
        log_likelihood = np.where(good, log_likelihood, -np.inf)
        white = (z - self.mode.z) @ self.inverse.T
        squared = (white**2).sum(axis=1)
        tail = (DEGREES_OF_FREEDOM + p) / 2
        log_start = self.constant - tail * np.log1p(squared / DEGREES_OF_FREEDOM)
        start_pull = -(2 * tail / (DEGREES_OF_FREEDOM + squared))[:, None] * (white @ self.inverse)
        log_prior = -0.5 * (z**2).sum(axis=1) - p / 2 * np.log(2 * np.pi)
        return Points(z, pull, log_start, start_pull, log_likelihood + log_prior)

    def first(self, n: int, rng: np.random.Generator) -> Points:
        """Return n draws of the start."""
        scale = np.sqrt(rng.chisquare(DEGREES_OF_FREEDOM, n) / DEGREES_OF_FREEDOM)
        normal = rng.standard_normal((n, self.mode.z.size)) / scale[:, None]
        return self.points(self.mode.z + normal @ self.factor.T)


def bridge(count: Counter, mode: Mode, rng: np.random.Generator, effort: Effort) -> Population:
    """Return a population tempered from the inflated t around the mode to the posterior."""
    n, p = effort.particles, mode.z.size
    between = Bridge(count, mode)
    now = between.first(n, rng)
    beta, log_evidence, temperatures, acceptance = 0.0, 0.0, 0, 0.0
    size = {"drift": 0.8, "walk": 2.38 / np.sqrt(p)}
    aim = {"drift": 0.5, "walk": 0.25}
    family, origin = 1.0, now.z
    while beta < 1.0:
        ratio = np.where(np.isfinite(now.log_target), now.log_target - now.log_start, -np.inf)
        step = largest_step(ratio, 1.0 - beta, effort.keep)
        weights = np.exp(step * (ratio - ratio.max()))
        log_evidence += float(step * ratio.max() + np.log(weights.mean()))
        weights /= weights.sum()
        beta = 1.0 if beta + step > 1.0 - 1e-9 else beta + step
        temperatures += 1
        lower = np.linalg.cholesky(spread(now.z, weights, mode))
        chosen = systematic(weights, rng)
        now = now.taken(chosen)
        family = float(np.bincount(chosen, minlength=n)[chosen].mean())
        origin = now.z
        for move in range(effort.final_moves if beta == 1.0 else effort.moves):
            kind = "walk" if move % 4 == 3 else "drift"
            accepted, now = moved(between, now, beta, lower, size[kind], kind, rng)
            acceptance = float(accepted.mean())
            size[kind] *= float(np.exp(0.4 * (acceptance - aim[kind])))
    kept = np.array([np.corrcoef(origin[:, j], now.z[:, j])[0, 1] for j in range(p)])
    ess = n / (1.0 + float(np.max(kept**2)) * (family - 1.0))
    return Population(now.z, log_evidence, float(ess), acceptance, temperatures)


def spread(z: np.ndarray, weights: np.ndarray, mode: Mode) -> np.ndarray:
    """Return the population's covariance (p, p), leaning on the mode's: n particles in p dimensions are noisy."""
    n, p = z.shape
    centred = z - weights @ z
    share = 1.0 / (1.0 + 0.25 * n / p)
    return np.asarray(
        (1 - share) * (centred * weights[:, None]).T @ centred + share * mode.covariance
    )


def moved(
    between: Bridge,
    now: Points,
    beta: float,
    lower: np.ndarray,
    size: float,
    kind: str,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Points]:
    """Return which particles moved (n,), and the population after one Metropolis-Hastings move."""
    n, p = now.z.shape
    noise = rng.standard_normal((n, p))
    pulled = 0.5 * size**2 if kind == "drift" else 0.0

    def center(points: Points) -> np.ndarray:
        return np.asarray(points.z + pulled * (points.drift(beta) @ lower) @ lower.T)

    proposed = between.points(center(now) + size * noise @ lower.T)
    back = np.linalg.solve(lower, (now.z - center(proposed)).T).T / size
    log_ratio = proposed.log_density(beta) - now.log_density(beta)
    log_ratio = log_ratio + 0.5 * (noise**2).sum(axis=1) - 0.5 * (back**2).sum(axis=1)
    accepted = np.log(rng.random(n)) < np.where(np.isnan(log_ratio), -np.inf, log_ratio)
    return accepted, now.mixed(accepted, proposed)


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


def diagnose(
    likelihood: Likelihood,
    prior: Prior,
    mode: Mode,
    populations: list[Population],
    limits: Limits,
    simulations: int,
) -> CalibrationInfo:
    """Return the diagnostics of two populations against the limits."""
    z = np.concatenate([population.z for population in populations])
    sd = z.std(axis=0)
    means = [population.z.mean(axis=0) for population in populations]
    gap = float(np.max(np.abs(means[0] - means[1]) / sd))
    evidence = tuple(population.log_evidence for population in populations)
    ess = float(sum(population.ess for population in populations))
    at_mode = int((mode.heights > mode.heights.max() - 0.5).sum())
    checks: list[tuple[bool, str]] = [
        (ess >= limits.ess, f"{ess:.0f} effective particles, at least {limits.ess:.0f} needed"),
        (
            gap <= limits.population_gap_sd,
            f"two populations differ by {gap:.2f} sd, at most {limits.population_gap_sd} allowed",
        ),
        (
            abs(evidence[0] - evidence[1]) <= limits.evidence_gap,
            f"their log evidences {evidence[0]:.2f} and {evidence[1]:.2f} differ by more than "
            f"{limits.evidence_gap}",
        ),
        (
            at_mode >= limits.starts_at_mode,
            f"{at_mode} of {mode.heights.size} searches ended at the mode, at least "
            f"{limits.starts_at_mode} needed",
        ),
    ]
    failures = tuple(text for good, text in checks if not good)
    predictive = predictive_p(likelihood, prior, z)
    warnings = tuple(
        f"{name}: posterior predictive p {p:.2g}: it scatters "
        + ("more than the model explains" if p < 0.5 else "less than the study's variation assumes")
        for name, p in predictive.items()
        if not limits.predictive_p <= p <= 1 - limits.predictive_p
    )
    return CalibrationInfo(
        passed=not failures,
        failures=failures,
        warnings=warnings,
        ess=ess,
        population_gap_sd=gap,
        log_evidence=evidence,
        starts=int(mode.heights.size),
        starts_at_mode=at_mode,
        acceptance=float(np.mean([population.acceptance for population in populations])),
        temperatures=max(population.temperatures for population in populations),
        predictive_p=predictive,
        n_readouts=len(likelihood.used),
        n_censored=len(likelihood.bounds),
        simulations=simulations,
    )


def predictive_p(
    likelihood: Likelihood, prior: Prior, z: np.ndarray, most: int = 128
) -> dict[str, float]:
    """Return per readout P(replicated squared residuals >= observed), averaged over particles.

    Replicates under a particle have chi-squared sums, so no replicate is simulated (Gelman et al. 1996).
    """
    some = z[:: max(1, len(z) // most)]
    squares = likelihood.squares_by_readout(likelihood.residuals(prior.parameters(some)))
    return {name: float(np.mean(chi2.sf(total, m))) for name, (total, m) in squares.items()}
