"""Profile likelihood of every parameter of a fitted PEtab problem: how far the data let it go.

With priors it is the profile of the posterior.

Belongs here: walks along one parameter with all others fitted anew, intervals, what is identifiable. Not here: the
fit itself (petab_fit), figures (chiploop.report.petab_figures).

From the best point each parameter walks down and up, in steps that the profile itself sets, until the
log-likelihood has fallen by ``DROP`` or the bound is met; there the interval stays open. All walks go side by
side. A walk that finds a better point than the best one ends the round: the fit moves there, and all begin again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from chiploop.inference.climber import Rules
from chiploop.inference.fisher_scoring import Climbs, climb
from chiploop.inference.petab_fit import Tell, polished
from chiploop.inference.petab_result import PetabFit, fit_at, on_scales
from chiploop.inference.petab_target import PetabTarget

DROP = 1.9207294103470620
"""Fall of a log-likelihood at the ends of a 95 % interval: half the 0.95 quantile of chi2 with one degree of
freedom."""
RULES = Rules(gain=1e-6, iterations=60, first_damping=1e-2)
STRIDE = 0.4
"""Step of a walk in units of the square root of twice the fall; an interval ends at 1.96."""
LONGEST, SHORTEST = 1.0, 1e-5
"""Of a step, in units of a large step of the parameter."""
EXACT = 1e-4
"""Of the fall at an interval's end."""
BETTER = 1e-3
"""A rise of the log-likelihood by more than this is a better point, no rounding."""
ROUNDS = 400
FRESH = 12
"""How often a fit may move to a better point."""


@dataclass(frozen=True)
class Profile:
    """One parameter; values are on its scale."""

    name: str
    lower: float | None
    """End of the interval; None where the profile does not fall far enough before the bound."""
    upper: float | None
    lower_reason: str
    """What an open end means: the bound was met, or no further point can be simulated. Empty for a closed one."""
    upper_reason: str
    at: np.ndarray
    """(points,) where the profile was taken, ascending."""
    log_density: np.ndarray
    """(points,)"""


@dataclass
class Walk:
    """One parameter on its way to one side; positions are in units."""

    column: int
    side: int
    """-1 down, 1 up."""
    bound: float
    at: float
    """The last point that holds."""
    point: np.ndarray
    """(p,) all parameters there."""
    stride: float
    fall: float = 0.0
    before: tuple[float, np.ndarray, float] | None = None
    """Position, parameters and fall one point earlier."""
    beyond: tuple[float, np.ndarray, float] | None = None
    """The nearest point known to lie outside."""
    end: float | None = None
    reason: str = ""
    trail: list[tuple[float, float]] = field(default_factory=list)
    """Position and log-likelihood of every point."""

    def next_position(self) -> float:
        """Return where to look next."""
        if self.beyond is not None:
            return between(self.at, self.fall, self.beyond[0], self.beyond[2])
        ahead = self.at + self.side * self.stride
        return min(ahead, self.bound) if self.side > 0 else max(ahead, self.bound)

    def guesses(self, position: float, best: np.ndarray) -> list[np.ndarray]:
        """Return parameters to begin with at a position: as they are, drawn on, and as they were at the best."""
        found = [self.point.copy(), best.copy()]
        other = self.beyond or self.before
        if other is not None and other[0] != self.at:
            part = (position - self.at) / (other[0] - self.at)
            found.append(self.point + part * (other[1] - self.point))
        for guess in found:
            guess[self.column] = position
        return found

    def learn(self, position: float, point: np.ndarray, height: float, best: float) -> None:
        """Take in what was found at a position; height is minus infinity where nothing was."""
        if not math.isfinite(height):
            self.stride = abs(position - self.at) / 4.0
            if self.stride < SHORTEST:
                self.reason = "no further point can be simulated"
            return
        fall = best - height
        self.trail.append((position, height))
        if fall >= DROP:
            self.beyond = (position, point, fall)
        else:
            self.before = (self.at, self.point, self.fall)
            self.at, self.point, self.fall = position, point, fall
        if self.beyond is not None:
            if abs(fall - DROP) < EXACT or abs(self.beyond[0] - self.at) < 0.1 * SHORTEST:
                self.end = position
        elif position == self.bound:
            self.reason = "the bound is met"
        else:
            self.stride = self.fitting_stride()

    def fitting_stride(self) -> float:
        """Return the step that lets the root of the fall grow by ``STRIDE``; at most twice the last."""
        assert self.before is not None
        last = abs(self.at - self.before[0])
        grown = root(self.fall) - root(self.before[2])
        fitting = last * STRIDE / grown if grown > 0.0 else math.inf
        return min(max(fitting, 0.25 * last), 2.0 * last, LONGEST)


def root(fall: float) -> float:
    """Return the root of twice a fall, which grows in proportion to the distance where a profile is a parabola."""
    return math.sqrt(2.0 * max(fall, 0.0))


def between(inside: float, low: float, outside: float, high: float) -> float:
    """Return where the fall is ``DROP``, by its root; kept off the ends so that each look narrows the place."""
    part = (root(DROP) - root(low)) / (root(high) - root(low))
    return inside + min(max(part, 0.02), 0.98) * (outside - inside)


def profiled(
    fitted: PetabFit, tell: Tell = lambda text: None
) -> tuple[PetabFit, tuple[Profile, ...]]:
    """Return the profiles of all estimated parameters, and the fit, moved where a walk found a better point."""
    for fresh in range(FRESH + 1):
        walks = walks_from(fitted)
        better = walked(fitted, walks, tell, may_move=fresh < FRESH)
        if better is None:
            break
        fitted = better
        tell(f"better point {fitted.found_on}: {fitted.log_density:.4f}; again")
    return fitted, tuple(profiles_of(fitted, walks))


def walks_from(fitted: PetabFit) -> list[Walk]:
    """Return two walks for each parameter, at the best point."""
    target = fitted.target
    best = fitted.parameters / target.units
    walks = []
    for j, estimate in enumerate(fitted.estimates):
        sd = estimate.sd_on_scale
        own = fitted.information[j, j] ** -0.5 if fitted.information[j, j] > 0.0 else math.inf
        guess = STRIDE * (own if sd is None else sd / target.units[j])
        for side, bound in ((-1, target.lower[j]), (1, target.upper[j])):
            stride = min(max(guess, 10.0 * SHORTEST), 0.5 * LONGEST)
            walk = Walk(j, side, float(bound), float(best[j]), best, stride)
            if fitted.target.bound_at(fitted.parameters, j) == ("lower" if side < 0 else "upper"):
                walk.reason = "the bound is met"
            walks.append(walk)
    return walks


def walked(fitted: PetabFit, walks: Sequence[Walk], tell: Tell, may_move: bool) -> PetabFit | None:
    """Go all walks to their ends; return the better fit where one comes by a better point."""
    target, best = fitted.target, fitted.parameters / fitted.target.units
    for _ in range(ROUNDS):
        going = [walk for walk in walks if walk.end is None and not walk.reason]
        if not going:
            return None
        tell(f"profiles: {len(walks) - len(going)} of {len(walks)} ends found")
        positions = [walk.next_position() for walk in going]
        ended = stepped(target, going, positions, best)
        top = int(np.argmax(ended.log_density))
        if may_move and ended.log_density[top] > fitted.log_density + BETTER:
            name = target.problem.estimated[going[top].column].name
            return moved(fitted, ended.parameters[top], f"on the profile of {name}")
        for walk, position, point, height in zip(
            going, positions, ended.parameters, ended.log_density, strict=True
        ):
            walk.learn(position, point, float(height), fitted.log_density)
    for walk in walks:
        if walk.end is None and not walk.reason:
            walk.reason = "the walk took too many steps"
    return None


def stepped(
    target: PetabTarget, going: Sequence[Walk], positions: Sequence[float], best: np.ndarray
) -> Climbs:
    """Return the fits of all other parameters, one for each walk at its position."""
    guesses, owners = [], []
    for row, (walk, position) in enumerate(zip(going, positions, strict=True)):
        for guess in walk.guesses(position, best):
            guesses.append(np.clip(guess, target.lower, target.upper))
            owners.append(row)
    heights = target.log_density(np.array(guesses))
    owner = np.array(owners)
    begin = np.array(
        [
            guesses[int(np.flatnonzero(owner == row)[np.argmax(heights[owner == row])])]
            for row in range(len(going))
        ]
    )
    lower = np.tile(target.lower, (len(going), 1))
    upper = np.tile(target.upper, (len(going), 1))
    for row, (walk, position) in enumerate(zip(going, positions, strict=True)):
        lower[row, walk.column] = upper[row, walk.column] = position
    return climb(target, begin, lower, upper, target.rules(RULES))


def moved(fitted: PetabFit, parameters: np.ndarray, where: str) -> PetabFit:
    """Return the fit after a climb from a better point, (p,) in units."""
    target = fitted.target
    ended = polished(target, parameters[None])
    return fit_at(
        target,
        fitted.seed,
        fitted.hops,
        fitted.starts,
        on_scales(target, ended.parameters[0]),
        where,
    )


def profiles_of(fitted: PetabFit, walks: Sequence[Walk]) -> list[Profile]:
    """Return profiles from finished walks, two for each parameter."""
    target = fitted.target
    found = []
    for down, up in zip(walks[::2], walks[1::2], strict=True):
        j, unit = down.column, target.units[down.column]
        trail = [*down.trail, *up.trail, (fitted.parameters[j] / unit, fitted.log_density)]
        points = np.array(sorted(trail))
        ends = [None if walk.end is None else walk.end * unit for walk in (down, up)]
        reasons = [walk.reason if walk.end is None else "" for walk in (down, up)]
        found.append(
            Profile(
                target.problem.estimated[j].name,
                ends[0],
                ends[1],
                reasons[0],
                reasons[1],
                points[:, 0] * unit,
                points[:, 1],
            )
        )
    return found


def verdict(fitted: PetabFit, profiles: Sequence[Profile] = ()) -> str:
    """Return in one sentence which parameters the data determine."""
    estimates = fitted.estimates
    count = len(estimates)
    if not profiles:
        known = [e for e in estimates if e.sd_on_scale is not None]
        parts = {
            "at a bound": [e.name for e in estimates if e.at_bound],
            "without a maximum in one direction": [
                e.name for e in estimates if e.sd_on_scale is None and not e.at_bound
            ],
        }
        told = f"By the curvature at the best point the data determine {len(known)} of {count} parameters"
        return f"{told}{listed(parts)}; profiles tell how far each may go."
    both = [p for p in profiles if p.lower is None and p.upper is None]
    closed = [p for p in profiles if p.lower is not None and p.upper is not None]
    parts = {
        "no lower end": [p.name for p in profiles if p.lower is None and p not in both],
        "no upper end": [p.name for p in profiles if p.upper is None and p not in both],
        "no end on either side": [p.name for p in both],
    }
    told = f"The data determine {len(closed)} of {count} parameters on both sides (95 % profile intervals)"
    return f"{told}{listed(parts)}."


def listed(parts: dict[str, list[str]]) -> str:
    """Return what is not empty, each with its names."""
    return "".join(f"; {what}: {', '.join(names)}" for what, names in parts.items() if names)
