"""How far the data let each parameter go, and whether they tell anything of it: profiles of the posterior.

Belongs here: the best fit with one parameter held, on a grid, and its intervals. Not here: the search for the mode
(search), what a profile means in words (profile_verdicts), profiles of PEtab problems (petab_profiles).

Of each of the population's parameters ``fall`` is how far the log posterior falls from its top when the parameter
is held and all other entries are fitted anew. Taking the parameter's own prior out leaves ``data_fall``: what the
readouts say of it while all other entries keep their priors. They must: a donor's deviation without its prior is
no deviation, and a parameter that only appears in a product with others would free them all. What their priors
add is told by ``alone_sd``, the sd that a flat prior on every parameter would leave near the mode.

All grid points of all parameters go downhill together, each sweep one batch of simulations with derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.stats import chi2

from chiploop.inference.profile_verdicts import Interval, Word, in_words, verdict_of
from chiploop.inference.search import Mode, seen, steps
from chiploop.inference.target import Target

LEVELS = (0.9, 0.95)
FARTHEST = 3.5
"""Prior sd to which a parameter is taken."""
POINTS = 11
REACH = 2.6
"""Of the grid, in sd of posterior and likelihood near the mode; the 95 % interval ends at 1.96."""
RISEN = 2.3
"""Fall beyond which a grid need not go on; the 95 % interval ends at 1.92."""
ONWARD = (0.3, 0.65, 1.0)
"""Of the way from a grid's end to ``FARTHEST``."""
GAIN = 0.005
"""In log posterior; less ends a descent."""
BETTER = 0.1
"""A profile that much above the mode is a better fit than the search has found."""


@dataclass(frozen=True)
class Profile:
    """One of the population's parameters."""

    name: str
    unit: str
    is_log: bool
    """Whether its prior is log-normal, so that it stands on a log axis."""
    z: np.ndarray
    """(points,) where it was held, in prior sd, ascending; the mode is among them."""
    values: np.ndarray
    """(points,) the same in its unit."""
    fall: np.ndarray
    """(points,) of the log posterior below its top, >= 0; infinite where nothing could be simulated."""
    data_fall: np.ndarray
    """(points,) of the log posterior without this parameter's own prior below its top."""
    intervals: tuple[Interval, ...]
    """Of the posterior's profile."""
    data_intervals: tuple[Interval, ...]
    """Of the data's profile."""
    shrinkage: float
    """1 - posterior sd / prior sd."""
    alone_sd: float
    """In prior sd, with flat priors on all of the population's parameters; infinite where nothing holds it."""
    trades_with: str
    """The parameter it is most correlated with near the mode, if by more than 0.7; else empty."""
    verdict: Word
    sentence: str


@dataclass(frozen=True)
class Profiles:
    """Of every population parameter."""

    of_parameters: tuple[Profile, ...]
    better_by: float
    """How far above the mode a profile came; above ``BETTER`` the search has missed the best fit."""
    simulations: int
    """Trajectories that they took."""


def profiles(
    target: Target, mode: Mode, shrinkage: Sequence[float], points: int = POINTS, sweeps: int = 12
) -> Profiles:
    """Return the profile of every population parameter around a mode.

    ``shrinkage``: 1 - posterior sd / prior sd of each parameter.

    Raises ValueError for a shrinkage that is not given for each parameter.
    """
    p = target.unknowns.p
    if len(shrinkage) != p:
        raise ValueError(f"shrinkage of {len(shrinkage)} parameters, the model estimates {p}")
    before = target.simulations
    grid = grids(mode, p, points)
    held = np.repeat(np.arange(p), points)
    z, height = descended(target, starts(mode, held, grid.ravel()), held, sweeps)
    # where neither profile has risen by the end of the grid, it goes on
    more_held, more_starts = onward(mode, z, height, held)
    more_z, more_height = descended(target, more_starts, more_held, sweeps)
    z, height = np.concatenate([z, more_z]), np.concatenate([height, more_height])
    held = np.concatenate([held, more_held])
    alone = alone_sds(mode, p)
    found = []
    for j in range(p):
        own = np.flatnonzero(held == j)
        own = own[np.argsort(z[own, j])]
        found.append(
            one_profile(
                target, mode, j, z[own, j], height[own], float(shrinkage[j]), float(alone[j])
            )
        )
    better = float(np.max(height, initial=-np.inf) - mode.height)
    return Profiles(tuple(found), max(0.0, better), target.simulations - before)


def grids(mode: Mode, p: int, points: int) -> np.ndarray:
    """Return where each parameter is held (p, points), in prior sd: as far as posterior and data may reach."""
    found = np.empty((p, points))
    for j in range(p):
        variance = max(float(mode.covariance[j, j]), 1e-12)
        sd, center = np.sqrt(variance), float(mode.z[j])
        by_data = max(1.0 / variance - 1.0, 1e-6)
        data_sd, data_center = 1.0 / np.sqrt(by_data), center / variance / by_data
        low = min(center - REACH * sd, data_center - REACH * data_sd)
        high = max(center + REACH * sd, data_center + REACH * data_sd)
        low = max(low, min(-FARTHEST, center - REACH * sd))
        high = min(high, max(FARTHEST, center + REACH * sd))
        found[j] = np.linspace(low, high, points)
    return found


def starts(mode: Mode, held: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return starts (s, dims): the best fit with an entry held where the posterior is normal around the mode."""
    column = mode.covariance[held]
    slope = column / np.diag(mode.covariance)[held][:, None]
    z = mode.z + slope * (at - mode.z[held])[:, None]
    z[np.arange(len(held)), held] = at
    return np.asarray(z)


def onward(
    mode: Mode, z: np.ndarray, height: np.ndarray, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return further points beyond grids that have not risen by their ends: what is held, starts (s, dims)."""
    more_held, more = [], []
    for j in np.unique(held):
        own = np.flatnonzero((held == j) & np.isfinite(height))
        if not own.size:
            continue
        by_data = height[own] + 0.5 * z[own, j] ** 2
        top, top_by_data = max(mode.height, height[own].max()), by_data.max()
        for end in (own[np.argmin(z[own, j])], own[np.argmax(z[own, j])]):
            far = np.copysign(FARTHEST, z[end, j] - mode.z[j])
            room = far - z[end, j]
            least = min(top - height[end], top_by_data - height[end] - 0.5 * z[end, j] ** 2)
            if least > RISEN or room * (z[end, j] - mode.z[j]) <= 0.0:
                continue
            for share in ONWARD:
                moved = starts(mode, np.array([j]), np.array([z[end, j] + share * room]))[0]
                # from where the last point went, not from the line through the mode
                more.append(moved + z[end] - starts(mode, np.array([j]), z[end, j : j + 1])[0])
                more_held.append(j)
    return np.array(more_held, dtype=int), np.array(more).reshape(-1, mode.z.size)


def descended(
    target: Target, z: np.ndarray, held: np.ndarray, sweeps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best points (s, dims) from starts z (s, dims), each with one entry held, and log posterior (s,).

    -inf where a start can not be simulated.
    """
    s, z = len(z), z.copy()
    if not s:
        return z, np.zeros(0)
    own = np.arange(s)
    damping = np.full(s, 1e-3)
    r, jacobian, height = seen(target, z)
    done = ~np.isfinite(height)
    for _ in range(sweeps):
        live = np.flatnonzero(~done)
        if not live.size:
            break
        bent, free = jacobian[live].copy(), z[live].copy()
        bent[own[: live.size], :, held[live]] = 0.0
        free[own[: live.size], held[live]] = 0.0  # so that its gradient, and with it its step, is 0
        trial = z[live] + steps(r[live], bent, free, damping[live])
        new_r, new_jacobian, new_height = seen(target, trial)
        better = new_height > height[live]
        gain = np.where(better, new_height - height[live], 0.0)
        at = live[better]
        z[at], r[at], jacobian[at] = trial[better], new_r[better], new_jacobian[better]
        height[at] = new_height[better]
        damping[at] = np.maximum(damping[at] / 5, 1e-8)
        damping[live[~better]] = np.maximum(4 * damping[live[~better]], 0.1)
        done[live] = (better & (gain < GAIN)) | (damping[live] > 1e4)
    return z, height


def alone_sds(mode: Mode, p: int) -> np.ndarray:
    """Return sd (p,) near the mode with flat priors on the first p entries; infinite where nothing holds one."""
    d = mode.z.size
    hessian = mode.jacobian.T @ mode.jacobian + np.eye(d)
    hessian[np.arange(p), np.arange(p)] -= 1.0
    values, vectors = np.linalg.eigh(hessian)
    with np.errstate(divide="ignore"):
        inverse = np.where(values > 1e-9 * values[-1], 1.0 / np.maximum(values, 1e-300), np.inf)
    # an entry that is no part of a free direction is not freed by it
    parts = vectors[:p] ** 2
    return np.asarray(
        np.sqrt(
            np.where(parts > 1e-12, parts * np.where(parts > 1e-12, inverse, 0.0), 0.0).sum(axis=1)
        )
    )


def one_profile(
    target: Target,
    mode: Mode,
    j: int,
    at: np.ndarray,
    height: np.ndarray,
    shrinkage: float,
    alone_sd: float,
) -> Profile:
    """Return the profile of parameter j with heights (points,) where it is held (points,)."""
    prior = target.prior
    apart = at != mode.z[j]  # a grid around a mode far from the prior holds the mode itself
    at, height = at[apart], height[apart]
    place = int(np.searchsorted(at, mode.z[j]))
    z, height = np.insert(at, place, mode.z[j]), np.insert(height, place, mode.height)
    fall = height.max() - height
    by_data = height + 0.5 * z**2
    data_fall = np.where(np.isfinite(by_data), by_data.max() - by_data, np.inf)

    def value(x: float | None) -> float | None:
        if x is None:
            return None
        whole = np.zeros((1, len(prior.specs)))
        whole[0, j] = x
        return float(prior.parameters(whole)[0, j])

    intervals, data_intervals = (
        tuple(
            Interval(level, *(value(end) for end in ends(z, one, float(chi2.ppf(level, 1)) / 2.0)))
            for level in LEVELS
        )
        for one in (fall, data_fall)
    )
    correlation = mode.covariance[j] / np.sqrt(np.diag(mode.covariance) * mode.covariance[j, j])
    correlation[j] = 0.0
    other = int(np.argmax(np.abs(correlation[: target.unknowns.p])))
    partner = prior.names[other] if abs(correlation[other]) > 0.7 else ""
    word = verdict_of(shrinkage, data_intervals[0])
    return Profile(
        prior.names[j],
        prior.specs[j].unit,
        prior.specs[j].kind == "lognormal",
        z,
        np.array([value(x) for x in z], dtype=float),
        fall,
        data_fall,
        intervals,
        data_intervals,
        shrinkage,
        alone_sd,
        partner,
        word,
        in_words(prior.names[j], word, data_intervals[0], data_fall, alone_sd, partner),
    )


def ends(z: np.ndarray, fall: np.ndarray, limit: float) -> tuple[float | None, float | None]:
    """Return where a profile crosses a fall on either side of its top; None where it does not.

    Between points the signed root of the fall is interpolated: it is nearly straight.
    """
    good = np.isfinite(fall)
    z, fall = z[good], fall[good]
    top = int(np.argmin(fall))
    found: list[float | None] = []
    for side in (slice(top, None, -1), slice(top, None)):
        x, root = z[side], np.sqrt(fall[side])
        over = np.flatnonzero(root > np.sqrt(limit))
        if not over.size:
            found.append(None)
            continue
        last = int(over[0])
        low = max(0, last - 2)
        x, root = x[low : last + 1], np.maximum.accumulate(root[low : last + 1])
        keep = np.concatenate([[True], np.diff(root) > 1e-9])
        found.append(float(PchipInterpolator(root[keep], x[keep])(np.sqrt(limit))))
    return found[0], found[1]
