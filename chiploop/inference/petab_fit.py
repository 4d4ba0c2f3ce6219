"""Fits a PEtab problem: the parameters with the highest likelihood within bounds, from many starts.

Belongs here: starts, climbs and hops of each. Not here: one climb (fisher_scoring), units and bounds
(petab_target), the result (petab_result), intervals (petab_profiles).

A start is drawn uniformly over the bounds, on the parameters' scales, and climbs. Then it hops: some of the
parameters that the simulation hangs on are drawn anew over their bounds, it climbs again, and the better end is
kept. At last it is polished at a tight tolerance. No start hears of another, and start 3 of seed 1 is the same
however many there are. All go through the engine together. Where the table has priors, it is the posterior that is
maximised, on the parameters' scales.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.inference.climber import TOO_LONG, Rules
from chiploop.inference.fisher_scoring import Climbs, climb
from chiploop.inference.petab_result import PetabFit, Start, fit_at, on_scales
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
FINISH = Rules(iterations=3000)
"""Of the best end alone, where it is not yet converged."""
HOPS = 20
MOST_DRAWN_ANEW = 4
"""Parameters of one hop."""
DRAWS = 100
"""A start that can not be simulated is drawn again so often."""


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
    last = polished(tight, here)
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


def polished(target: PetabTarget, here: np.ndarray) -> Climbs:
    """Return climbs from parameters (n, p) in units to the accuracy of the target, the best one to its end."""
    ended = climb(target, here, target.lower, target.upper, target.rules(POLISH))
    top = int(np.argmax(ended.log_density))
    if ended.reasons[top] != TOO_LONG:
        return ended
    best = ended.parameters[top : top + 1]
    more = climb(target, best, target.lower, target.upper, target.rules(FINISH))
    ended.parameters[top], ended.log_density[top] = more.parameters[0], more.log_density[0]
    ended.iterations[top] += more.iterations[0]
    reasons = (*ended.reasons[:top], more.reasons[0], *ended.reasons[top + 1 :])
    return replace(ended, reasons=reasons)


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
