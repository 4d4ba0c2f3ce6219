"""A PEtab problem as a target that is climbed on: parameters in units of a large step, bounds, tolerance.

Belongs here: units, bounds, likelihood and priors together. Not here: climbing (fisher_scoring), starts
(petab_fit), derivatives (chiploop.models.petab_derivatives).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.inference.climber import Rules
from chiploop.models.petab_derivatives import Derivatives, PetabSlopes, reaching
from chiploop.models.petab_likelihood import LN10, SCALES
from chiploop.models.petab_priors import Prior, read_priors
from chiploop.models.petab_problem import PetabProblem

UNITS = {"log": LN10, "log10": 1.0}
"""A large step on this scale: ten times. On the linear one it is a tenth of the way from bound to bound."""
AT_BOUND = 1e-6
"""Nearer to a bound than this part of the way from bound to bound is at it."""
HESSIAN_STEP = 1e-3
"""To the points whose gradients are compared, in units of a large step; at most."""
HESSIAN_ERROR = 0.02
"""The same in units of the parameter's standard error, all others known; at most."""


@dataclass(frozen=True)
class PetabTarget:
    """A problem whose estimated parameters are in units of a large step."""

    problem: PetabProblem
    priors: tuple[Prior, ...] = ()
    """Those that are not flat between the bounds."""

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, p) lower and upper bounds on the parameters' scales."""
        with np.errstate(all="ignore"):  # a bound that is none on its scale is refused by name
            ends = [
                [SCALES[p.scale][0](np.float64(end)) for end in (p.lower, p.upper)]
                for p in self.problem.estimated
            ]
        return np.array(ends, dtype=float).reshape(-1, 2).T

    @cached_property
    def units(self) -> np.ndarray:
        """(p,) a large step of each parameter, on its scale."""
        ways = self.bounds[1] - self.bounds[0]
        linear = np.where(ways > 0.0, ways / 10.0, 1.0)
        scales = [each.scale for each in self.problem.estimated]
        return np.array([UNITS.get(s, w) for s, w in zip(scales, linear, strict=True)])

    @cached_property
    def lower(self) -> np.ndarray:
        """(p,) in units."""
        return self.bounds[0] / self.units

    @cached_property
    def upper(self) -> np.ndarray:
        """(p,) in units."""
        return self.bounds[1] / self.units

    @cached_property
    def derivatives(self) -> Derivatives:
        """By all estimated parameters."""
        return Derivatives(self.problem, tuple(range(len(self.problem.estimated))))

    @cached_property
    def simulated(self) -> np.ndarray:
        """Indices of the parameters that a simulation hangs on; all where it hangs on none."""
        found = np.flatnonzero(reaching(self.problem, self.problem.simulator.inputs))
        return found if found.size else np.arange(len(self.problem.estimated))

    def log_density(self, parameters: np.ndarray) -> np.ndarray:
        """Return (n,) for parameters (n, p) in units; minus infinity where there is none.

        The log-likelihood, and the logarithm of the priors where there are some.
        """
        on_scale = parameters * self.units
        found = self.problem.objective(on_scale) + self.log_prior(on_scale)
        return np.where(np.isfinite(found), found, -np.inf)

    def log_prior(self, on_scale: np.ndarray) -> np.ndarray:
        """Return (n,) for parameters (n, p) on their scales; 0 without priors."""
        found = np.zeros(len(on_scale))
        for prior in self.priors:
            found += prior.log_density(on_scale[:, prior.column])
        return found

    def slopes(self, parameters: np.ndarray) -> PetabSlopes:
        """Return derivatives of ``log_density`` by parameters in units, at parameters (n, p) in units."""
        on_scale = parameters * self.units
        found = self.derivatives.slopes(on_scale)
        if self.priors:
            information, curvature = found.information.copy(), found.curvature.copy()
            for prior in self.priors:
                j = prior.column
                gradient, told, bent = prior.slopes(on_scale[:, j])
                found.gradient[:, j] += gradient
                information[:, j, j] += told
                curvature[:, j, j] += bent
            found = replace(found, information=information, curvature=curvature)
        square = np.outer(self.units, self.units)
        return PetabSlopes(
            found.log_likelihood,
            found.gradient * self.units,
            found.information * square,
            found.curvature * square,
        )

    def information(self, parameters: np.ndarray) -> np.ndarray:
        """Return the observed information (p, p) at parameters (p,) in units: minus the second derivatives.

        By central differences of gradients; a pair of points that a bound would cut stands closer. It is the
        Fisher information where something is Laplace's, which has no second derivatives, or where a point fails.
        """
        expected = self.slopes(parameters[None]).information[0]
        room = np.minimum(parameters - self.lower, self.upper - parameters)
        size = np.sqrt(np.maximum(np.diag(expected), 1e-300))
        steps = np.minimum(HESSIAN_STEP, HESSIAN_ERROR / size)
        steps = np.minimum(steps, np.maximum(room, 1e-2 * steps))
        points = parameters + np.concatenate([np.diag(steps), -np.diag(steps)])
        gradient = self.slopes(points).gradient
        if self.has_kinks or not np.isfinite(gradient).all():
            return expected
        p = len(parameters)
        found = (gradient[p:] - gradient[:p]) / (2.0 * steps[:, None])
        return 0.5 * (found + found.T)

    def rules(self, plain: Rules) -> Rules:
        """Return rules as they are for this problem: kinks teach a climb nothing."""
        return replace(plain, learns=plain.learns and not self.has_kinks)

    @property
    def has_kinks(self) -> bool:
        """Whether noise or a prior is Laplace's."""
        of_prior = any(prior.shape == "laplace" for prior in self.priors)
        return of_prior or bool(self.derivatives.is_laplace.any())

    def bound_at(self, on_scale: np.ndarray, j: int) -> str:
        """Return the bound at which parameter j of (p,) on their scales stands; empty for none."""
        low, high = self.bounds[:, j]
        near = AT_BOUND * (high - low)
        if on_scale[j] <= low + near:
            return "lower"
        return "upper" if on_scale[j] >= high - near else ""


def petab_target(problem: PetabProblem, rtol: float, max_steps: int | None = None) -> PetabTarget:
    """Return a problem as a target, simulated at a tolerance with at most so many steps of the solver.

    Raises FileNotValid where nothing is estimated, bounds are not finite, or a prior is not known.
    """
    name = problem.path.name
    if not problem.estimated:
        raise FileNotValid(f"{name}: it estimates no parameter; allowed is one or more")
    simulator = copy.copy(problem.simulator)
    simulator.rtol = rtol
    simulator.is_patient = True
    if max_steps is not None:
        simulator.max_steps = max_steps
    priors = read_priors(name, problem.estimated)
    target = PetabTarget(replace(problem, simulator=simulator), priors)
    for parameter, ends in zip(problem.estimated, target.bounds.T, strict=True):
        if not np.isfinite(ends).all():
            raise FileNotValid(
                f"{name}: parameter {parameter.name} has the bounds {parameter.lower:g} and {parameter.upper:g}; "
                f"starts are drawn between them, so allowed are numbers that exist on its scale "
                f"({parameter.scale})"
            )
    return target
