"""Does the calibrated model predict readings as they come? Places of readings in predictions, and their scatter.

Belongs here: checks of predictions against the readings they were learned from. Not here: the density of a
reading that is left out (leave_one_out), residuals against time, dose and donor (residual_table), what a misfit
means (misfit).

A place is P(a reading < the one that was made | all other readings), the leave-one-out probability integral
transform: under a right model each is uniform. They are not independent, so a check is compared with places of
studies that a right model would give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtr
from scipy.stats import chi2, f

from chiploop.inference.conditionals import Conditionals, scores
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.pareto import Smoothed
from chiploop.inference.search import Mode

NULL_DRAWS = 2000
"""Of studies that a right model would give."""
LOOK_P = 0.01
"""Of a check of places: below it a person is asked to look."""
ALL = "all readings"


@dataclass(frozen=True)
class PlaceCheck:
    """Whether readings lie where they are predicted: their places in their predictions should be uniform."""

    name: str
    """A readout, or all."""
    readings: int
    p_value: float
    """Of the smallest of the three below, against studies of a right model."""
    shape_p: float
    """Of the Anderson-Darling distance of the places from uniform."""
    spread_p: float
    shift_p: float
    """Two-sided, of ``spread`` and ``shift``."""
    shift: float
    """Mean of the places as standard normals: above 0 readings lie higher than predicted."""
    spread: float
    """Root mean square of the same: 1 for a right model, above it predictions are too narrow."""
    counts: np.ndarray
    """(bins,) readings in equal parts of 0 to 1."""
    band: np.ndarray
    """(bins, 2) that hold a count of a right model with 95 %, each bin by itself."""

    @property
    def is_good(self) -> bool:
        """Whether nothing asks for a look."""
        return self.p_value >= LOOK_P

    @property
    def sentence(self) -> str:
        """What the places say."""
        if self.is_good:
            return f"{self.name}: readings lie where they are predicted (p {self.p_value:.2g})"
        said = []
        if self.shift_p < LOOK_P:
            said.append(
                "readings lie " + ("above" if self.shift > 0 else "below") + " what is predicted"
            )
        if self.spread_p < LOOK_P:
            said.append(
                f"readings lie {self.spread:.2g} times as far out as predicted: intervals are too "
                + ("narrow" if self.spread > 1 else "wide")
            )
        return (
            f"{self.name}: "
            + (" and ".join(said) or "readings are spread in another way than predicted")
            + f" (p {self.p_value:.2g})"
        )


def places(one: Conditionals, weights: Smoothed, rng: np.random.Generator) -> np.ndarray:
    """Return the place (m,) of each reading in its prediction from all others.

    Of a censored reading a random place within its bounds, so that all are uniform under a right model.
    """
    share = np.exp(weights.log_weights)
    below, up_to = (share * one.below).sum(axis=0), (share * one.up_to).sum(axis=0)
    return np.asarray(below + rng.random(below.size) * (up_to - below))


def null_scores(likelihood: Likelihood, mode: Mode, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return places as standard normals (n, m) of studies of a right model.

    Places of readings that share a chip, or that taught a parameter together, are not independent: were the model
    linear as at the mode, left-out residuals would have the correlation of the inverse covariance of all data,
    prior included.
    """
    jacobian = mode.jacobian
    left = np.eye(len(jacobian)) - jacobian @ mode.covariance @ jacobian.T
    exact = likelihood.n_exact
    draws = rng.standard_normal((n, len(likelihood.used)))
    if not exact:
        return draws
    values, vectors = np.linalg.eigh(left[:exact, :exact])
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    root = unwhitened(likelihood, root)
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    draws[:, likelihood.row_of[:exact]] = rng.standard_normal((n, exact)) @ root.T
    return draws


def unwhitened(likelihood: Likelihood, columns: np.ndarray) -> np.ndarray:
    """Return L^-T columns (exact, k), block by block: turns whitened gaps into S^-1 gaps."""
    result, at = np.empty_like(columns), 0
    for block in likelihood.blocks:
        own = slice(at, at + len(block.rows))
        at = own.stop
        result[own] = solve_triangular(block.factor, columns[own], lower=True, trans="T")
    return result


def place_checks(
    likelihood: Likelihood, place: np.ndarray, null: np.ndarray
) -> tuple[PlaceCheck, ...]:
    """Return the checks of all readings and of each readout; ``null`` (draws, m) from ``null_scores``."""
    kinds = likelihood.rows.readout
    asked: list[tuple[str, np.ndarray]] = [(ALL, np.arange(len(place)))]
    asked += [(name, np.flatnonzero(kinds == k)) for k, name in enumerate(likelihood.names)]
    return tuple(place_check(name, place[at], null[:, at]) for name, at in asked if at.size)


def place_check(name: str, place: np.ndarray, null: np.ndarray) -> PlaceCheck:
    """Return the check of places (m,) against scores (draws, m) of a right model."""
    chance = ndtr(null)
    own = scores(place)
    bins = int(np.clip(len(place) // 5, 4, 10))
    counts = np.histogram(place, bins, (0.0, 1.0))[0]
    every = (chance * bins).astype(int).clip(0, bins - 1)
    drawn = np.stack([(every == b).sum(axis=1) for b in range(bins)], axis=1)
    every_score, every_place = np.vstack([own, null]), np.vstack([place, chance])
    shape_p = share_above(distance(every_place))
    spread_p = two_sided(np.sqrt((every_score**2).mean(axis=1)))
    shift_p = two_sided(every_score.mean(axis=1))
    smallest = np.minimum(shape_p, np.minimum(spread_p, shift_p))
    return PlaceCheck(
        name,
        len(place),
        float((smallest <= smallest[0]).mean()),
        float(shape_p[0]),
        float(spread_p[0]),
        float(shift_p[0]),
        float(own.mean()),
        float(np.sqrt((own**2).mean())),
        counts,
        np.quantile(drawn, [0.025, 0.975], axis=0).T,
    )


def distance(place: np.ndarray) -> np.ndarray:
    """Return the Anderson-Darling distance (n,) of places (n, m) from uniform."""
    m = place.shape[1]
    u = np.sort(np.clip(place, 1e-12, 1.0 - 1e-12), axis=1)
    weight = (2.0 * np.arange(1, m + 1) - 1.0) / m
    return np.asarray(-m - (weight * (np.log(u) + np.log1p(-u[:, ::-1]))).sum(axis=1))


def share_above(statistic: np.ndarray) -> np.ndarray:
    """Return of each (n,) the share of all that are at least as large, itself among them."""
    order = np.sort(statistic)
    return np.asarray(1.0 - np.searchsorted(order, statistic, side="left") / statistic.size)


def two_sided(statistic: np.ndarray) -> np.ndarray:
    """Return twice the smaller tail's share (n,)."""
    tail = np.minimum(share_above(statistic), share_above(-statistic))
    return np.minimum(1.0, 2.0 * tail)


def p_text(p: float) -> str:
    """Return a p value that is told apart from 0 and from 1."""
    return "< 0.001" if p < 0.001 else "> 0.999" if p > 0.999 else f"{p:.3f}"


def predictive_p(likelihood: Likelihood, white: np.ndarray) -> dict[str, float]:
    """Return per readout P(replicated squares >= observed), averaged over whitened gaps (n, exact).

    Replicates have chi-squared sums, so none is simulated (Gelman, Meng, Stern 1996, Stat. Sinica 6:733). Where
    chips have Student t tails, the mean square of a chip's readings is F distributed; the chi-squared quantile of
    the same probability stands in for it, and chips are independent. Censored readings do not enter.
    """
    tails = likelihood.scatter.chip_tails
    kind = likelihood.rows.readout[likelihood.row_of[: likelihood.n_exact]]
    found = {}
    for k, name in enumerate(likelihood.names):
        total, count = np.zeros(len(white)), 0
        for chip in likelihood.exact_of_chips:
            at = chip[kind[chip] == k]
            if not at.size:
                continue
            squares, count = (white[:, at] ** 2).sum(axis=1), count + at.size
            if tails is not None:
                squares = chi2.isf(f.sf(squares / at.size, at.size, tails), at.size)
            total += squares
        if count:
            found[name] = float(np.mean(chi2.sf(total, count)))
    return found
