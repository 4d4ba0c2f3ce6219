"""What a fit of a PEtab problem found: its starts, the best point, how well data tell each parameter there.

Belongs here: the values, and the errors that curvature gives. Not here: how they are found (petab_fit), profile
intervals (petab_profiles).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.inference.petab_target import PetabTarget

SAME = 0.1
"""Ends whose log-likelihoods differ less are the same."""
FLAT = 1e-6
"""Part of the information, parameters scaled to 1 each, below which a direction is one that data do not tell."""
LARGEST_ERROR = 10.0
"""In units of a large step: a parameter with a larger standard error by itself is one that data do not tell."""


@dataclass(frozen=True)
class Start:
    """What became of one start."""

    number: int
    start_log_density: float
    """Log-likelihood, plus log prior where there is one, at the point that was drawn."""
    climb_log_density: float
    """After the first climb, before any hop."""
    log_density: float
    converged: bool
    reason: str
    """Why its last climb ended."""
    iterations: int
    """Steps of all its climbs, those of hops that were not kept too."""
    hops_kept: int
    redrawn: int
    """Points drawn before that could not be simulated."""
    parameters: np.ndarray
    """(p,) on their scales."""


@dataclass(frozen=True)
class Estimate:
    """One fitted parameter."""

    name: str
    scale: str
    value: float
    """Linear, as are the bounds."""
    on_scale: float
    sd_on_scale: float | None
    """Standard error from the information, the others free unless at a bound; None for a parameter at a bound,
    and for one that the data do not determine near this point."""
    lower: float
    upper: float
    at_bound: str
    """lower, upper, or empty."""


@dataclass(frozen=True)
class PetabFit:
    """A problem fitted from many starts."""

    target: PetabTarget
    seed: int
    hops: int
    starts: tuple[Start, ...]
    """The best first."""
    log_likelihood: float
    """Of ``values``, as ``PetabProblem.evaluate`` gives it."""
    log_prior: float
    """0 where there is none."""
    parameters: np.ndarray
    """(p,) the best, on their scales."""
    information: np.ndarray
    """(p, p) observed there, in units of a large step; see ``PetabTarget.information``."""
    found_on: str = ""
    """Where a better point than every start's came from; empty where none did."""

    @property
    def log_density(self) -> float:
        """What was maximised: the log-likelihood, or the log posterior where there are priors."""
        return self.log_likelihood + self.log_prior

    @property
    def found_best(self) -> int:
        """How many starts came within ``SAME`` of the best."""
        return sum(each.log_density > self.log_density - SAME for each in self.starts)

    @property
    def values(self) -> dict[str, float]:
        """Estimated parameter -> value on the linear scale."""
        return values_of(self.target, self.parameters)

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """The estimated parameters in the order of the table."""
        bounds = [self.target.bound_at(self.parameters, j) for j in range(len(self.parameters))]
        free = [j for j, bound in enumerate(bounds) if not bound]
        errors = standard_errors(self.information[np.ix_(free, free)])
        sds = {
            j: None if error is None else float(error * self.target.units[j])
            for j, error in zip(free, errors, strict=True)
        }
        values = self.values
        return tuple(
            Estimate(
                each.name,
                each.scale,
                values[each.name],
                float(self.parameters[j]),
                sds.get(j),
                each.lower,
                each.upper,
                bounds[j],
            )
            for j, each in enumerate(self.target.problem.estimated)
        )


def fit_at(
    target: PetabTarget,
    seed: int,
    hops: int,
    starts: Sequence[Start],
    parameters: np.ndarray,
    found_on: str = "",
) -> PetabFit:
    """Return the fit whose best parameters are these, (p,) on their scales."""
    information = target.information(parameters / target.units)
    told = target.problem.evaluate(values_of(target, parameters))
    log_prior = float(target.log_prior(parameters[None])[0])
    return PetabFit(
        target, seed, hops, tuple(starts), told.llh, log_prior, parameters, information, found_on
    )


def on_scales(target: PetabTarget, parameters: np.ndarray) -> np.ndarray:
    """Return parameters (p,) in units on their scales, rounding kept within the bounds."""
    return np.clip(parameters * target.units, *target.bounds)


def values_of(target: PetabTarget, on_scale: np.ndarray) -> dict[str, float]:
    """Return estimated parameter -> value on the linear scale, rounding kept within the bounds."""
    values = target.problem.values_at(on_scale)
    return {
        p.name: float(np.clip(values[p.name][0], p.lower, p.upper))
        for p in target.problem.estimated
    }


def standard_errors(information: np.ndarray) -> list[float | None]:
    """Return each parameter's standard error; None for one with a part in a direction that data do not tell.

    ``information`` (p, p) is in units of a large step, as the result is.
    """
    size = np.sqrt(np.maximum(np.diag(information), 0.0))
    known = np.flatnonzero(size > 1.0 / LARGEST_ERROR)
    found: list[float | None] = [None] * len(size)
    if not known.size:
        return found
    scaled = information[np.ix_(known, known)] / np.outer(size[known], size[known])
    values, directions = np.linalg.eigh(scaled)
    is_flat = values < FLAT
    part = (directions[:, is_flat] ** 2).sum(axis=1)
    told = directions[:, ~is_flat]
    variance = (told**2 / values[~is_flat]).sum(axis=1) / size[known] ** 2
    for place, j in enumerate(known):
        if part[place] < 1e-6:
            found[j] = float(np.sqrt(variance[place]))
    return found
