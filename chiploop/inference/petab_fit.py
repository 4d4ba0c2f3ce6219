"""Fits a PEtab problem: the parameters with the highest likelihood within bounds, from many starts.

Belongs here: starts, climbs and hops of each, the result. Not here: one climb (fisher_scoring), units and bounds
(petab_target), intervals (petab_profiles).

A start is drawn uniformly over the bounds, on the parameters' scales, and climbs. Then it hops: some of the
parameters that the simulation hangs on are drawn anew over their bounds, it climbs again, and the better end is
kept. At last it is polished at a tight tolerance. No start hears of another, and start 3 of seed 1 is the same
however many there are. All go through the engine together. Where the table has priors, it is the posterior that is
maximised, on the parameters' scales.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.inference.climber import Rules
from chiploop.inference.fisher_scoring import climb
from chiploop.inference.petab_target import PetabTarget, petab_target
from chiploop.models.petab_problem import RTOL, PetabProblem

Tell = Callable[[str], None]
LOOSE_RTOL = 1e-6
LOOSE_STEPS = 20_000
"""A point at which the solver needs more steps than this is given up while it is searched."""
FIRST_CLIMB = Rules(gain=1e-3, noise=1e-2, iterations=100, learns=False)
"""Far from a maximum the Fisher information alone leads to the best one more often: 10 against 5 of 40 starts on
Raia_CancerResearch2011."""
HOP_CLIMB = replace(FIRST_CLIMB, iterations=50)
POLISH = Rules(iterations=400)
HOPS = 20
MOST_DRAWN_ANEW = 4
"""Parameters of one hop."""
DRAWS = 100
"""A start that can not be simulated is drawn again so often."""
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


def fit(
    problem: PetabProblem,
    starts: int,
    seed: int,
    hops: int = HOPS,
    tell: Tell = lambda text: None,
) -> PetabFit:
    """Return the best parameters that so many starts find, each with so many hops.

    Raises FileNotValid where there is nothing to maximise within bounds (``petab_target``), and where no point
    could be simulated.
    """
    tight = petab_target(problem, RTOL)
    loose = tight
    if not tight.derivatives.has_own_steps.any():  # there, differences are as good as the tolerance
        loose = petab_target(problem, LOOSE_RTOL, LOOSE_STEPS)
    rngs = [np.random.default_rng([seed, number]) for number in range(starts)]
    begun, begun_at, redrawn = drawn(loose, rngs)
    tell(f"{starts} starts drawn; first climb")
    first = climb(loose, begun, loose.lower, loose.upper, loose.rules(FIRST_CLIMB))
    here, height = first.parameters.copy(), first.log_density.copy()
    iterations, kept = first.iterations.copy(), np.zeros(starts, dtype=int)
    for hop in range(hops):
        tell(f"hop {hop + 1} of {hops}; best so far {height.max():.3f}")
        away = hopped(loose, here, rngs)
        ended = climb(loose, away, loose.lower, loose.upper, loose.rules(HOP_CLIMB))
        iterations += ended.iterations
        is_higher = ended.log_density > height
        kept += is_higher
        here[is_higher] = ended.parameters[is_higher]
        height[is_higher] = ended.log_density[is_higher]
    tell("polish")
    last = climb(tight, here, tight.lower, tight.upper, tight.rules(POLISH))
    found = [
        Start(
            number,
            float(begun_at[number]),
            float(first.log_density[number]),
            float(last.log_density[number]),
            bool(last.converged[number]),
            last.reasons[number],
            int(iterations[number] + last.iterations[number]),
            int(kept[number]),
            int(redrawn[number]),
            on_scales(tight, last.parameters[number]),
        )
        for number in range(starts)
    ]
    found.sort(key=lambda each: -each.log_density)
    if not np.isfinite(found[0].log_density):
        raise FileNotValid(
            f"{problem.path.name}: none of {starts} starts can be simulated at the relative tolerance {RTOL:g}"
        )
    return fit_at(tight, seed, hops, tuple(found), found[0].parameters)


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


def drawn(
    target: PetabTarget, rngs: Sequence[np.random.Generator]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts (n, p) in units, their log-likelihoods, and how many points each drew before in vain.

    A point where the log-likelihood or a derivative does not exist is drawn anew.
    """
    n, p = len(rngs), len(target.units)
    begun, height = np.empty((n, p)), np.full(n, -np.inf)
    redrawn = np.zeros(n, dtype=int)
    for attempt in range(DRAWS + 1):
        missing = np.flatnonzero(~np.isfinite(height))
        if not missing.size:
            return begun, height, redrawn
        redrawn[missing] = attempt
        for row in missing.tolist():
            begun[row] = target.lower + (target.upper - target.lower) * rngs[row].random(p)
        has_slopes = np.isfinite(target.slopes(begun[missing]).gradient).all(axis=1)
        found = target.log_density(begun[missing])
        height[missing] = np.where(has_slopes, found, -np.inf)
    raise FileNotValid(
        f"{target.problem.path.name}: {len(missing)} of {n} starts can not be simulated, or have no likelihood "
        f"at each of {DRAWS + 1} points drawn; allowed are bounds between which some can"
    )


def hopped(
    target: PetabTarget, here: np.ndarray, rngs: Sequence[np.random.Generator]
) -> np.ndarray:
    """Return parameters (n, p) of which one to ``MOST_DRAWN_ANEW`` are drawn anew between their bounds."""
    away = here.copy()
    for row, rng in zip(away, rngs, strict=True):
        most = min(MOST_DRAWN_ANEW, len(target.simulated))
        chosen = rng.choice(target.simulated, int(rng.integers(1, most + 1)), replace=False)
        low, high = target.lower[chosen], target.upper[chosen]
        row[chosen] = low + (high - low) * rng.random(len(chosen))
    return away


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
