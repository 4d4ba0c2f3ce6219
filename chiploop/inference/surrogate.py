"""A quadratic stand-in for the model's readouts near a mode, learned from simulations.

Belongs here: the polynomials, their training, the posterior that they give. Not here: drawing with them
(tempering), where the model itself accepts or refuses, so that their error costs acceptance and never truth.

Each readout, on the residual's scale, is a full quadratic polynomial in its own chip's standard normals (the
parameters of its donor, ln of its dose's factor), fitted by least squares over a cloud of simulated points. It
sees what a Laplace approximation does not: that the valley of the posterior is bent. Gradients are exact and
cost no simulation. Chips with the same variables are one unit. Where there is but one unit and nothing is
censored, the sum of all squared residuals is that of a few combinations of them, and only these are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from chiploop.inference.likelihood import log_probability_slope
from chiploop.inference.target import Target

DROPPED = 1e-2
"""Variance of a unit's readouts, in units of their own, that is left out of the quadratic parts."""
PRECISION = np.float32
"""Of the quadratic parts."""
PIECE = 256
"""Points at a time."""
RIDGE = 1e-8
"""Of the mean square of the features: only against exact collinearity."""


@dataclass(frozen=True)
class Polynomial:
    """Quantities of one unit as polynomials of its variables."""

    unit: int
    rows: np.ndarray
    """(k,) which readouts they are; where residuals are combined, their places."""
    center: np.ndarray
    """(v,) of the cloud."""
    inverse: np.ndarray
    """(v, v) turns a distance from the center into independent unit normals over the cloud."""
    constant: np.ndarray
    """(k,)"""
    linear: np.ndarray
    """(k, v)"""
    active: np.ndarray
    """(v, a) directions in which any readout is bent, orthonormal."""
    square: np.ndarray
    """(a, b a): y' Q_j y with y = x' active are the b bends, Q_j symmetric; in single precision, which is enough
    for what a simulation accepts or refuses."""
    shares: np.ndarray
    """(b, k) what each bend adds to each readout."""

    @classmethod
    def of(
        cls,
        unit: int,
        rows: np.ndarray,
        center: np.ndarray,
        inverse: np.ndarray,
        found: np.ndarray,
        sd: np.ndarray,
    ) -> Polynomial:
        """Return the polynomials of coefficients (features, k), with what hardly bends left out.

        Readouts of one chip bend alike and in few directions: the coefficients are a tensor of low rank
        (truncated higher-order singular value decomposition, De Lathauwer et al. 2000, SIAM J. Matrix Anal. Appl.
        21:1253). ``sd`` (k,) are the readings' own.
        """
        v, k = len(center), len(rows)
        i, j = np.triu_indices(v)
        matrix = np.zeros((k, v, v))
        matrix[:, i, j] += 0.5 * found[v + 1 :].T
        matrix[:, j, i] += 0.5 * found[v + 1 :].T
        scaled = matrix / sd[:, None, None]
        left = leading(scaled.reshape(k, -1))
        active = leading(np.moveaxis(scaled, 1, 0).reshape(v, -1))
        small = active.T @ np.tensordot(left, scaled, (0, 0)) @ active  # (b, a, a)
        return cls(
            unit,
            rows,
            center,
            inverse,
            found[0],
            found[1 : v + 1].T,
            active,
            np.swapaxes(small, 0, 1).reshape(active.shape[1], -1).astype(PRECISION),
            (left * sd[:, None]).T,
        )

    def bent(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return y' Q (n, b, a) and the means (n, k) at the chip's variables own (n, v)."""
        x = (own - self.center) @ self.inverse.T
        y = (x @ self.active).astype(PRECISION)
        half = (y @ self.square).reshape(len(x), len(self.shares), y.shape[1])
        bend = np.einsum("nba,na->nb", half, y)
        return half, self.constant + x @ self.linear.T + bend @ self.shares

    def pulled(self, half: np.ndarray, pull: np.ndarray) -> np.ndarray:
        """Return the gradient (n, v) by the chip's variables of what has the gradient pull (n, k) by its means."""
        by_bend = (pull @ self.shares.T).astype(PRECISION)
        by_y = 2.0 * np.einsum("nb,nba->na", by_bend, half)
        return np.asarray((pull @ self.linear + by_y @ self.active.T) @ self.inverse)


def leading(unfolded: np.ndarray) -> np.ndarray:
    """Return the leading left singular vectors (m, r) of (m, n): what is left varies by at most ``DROPPED``."""
    u, size, _ = np.linalg.svd(unfolded, full_matrices=False)
    # x' S x of standard normals x varies by 2 |S|^2
    left = 2.0 * np.cumsum((size**2)[::-1])[::-1]
    return np.asarray(u[:, : max(1, int((left > DROPPED).sum()))])


class Surrogate:
    """The posterior with polynomials in the model's place."""

    def __init__(
        self, target: Target, units: Sequence[Polynomial], combined: tuple[Polynomial, float] | None
    ) -> None:
        self.target = target
        self.likelihood = target.likelihood
        self.units = tuple(units)
        self.combined = combined
        """Combinations of all residuals in place of the readouts, and the squares of what was left out."""
        self.chips = unit_chips(target)
        self.whitening = whitening(target)

    @classmethod
    def trained(
        cls, target: Target, z: np.ndarray, means: np.ndarray, weights: np.ndarray
    ) -> Surrogate:
        """Return the polynomials of means (n, m) without effects, simulated at z (n, dims), weighted (n,)."""
        likelihood = target.likelihood
        chips = unit_chips(target)
        own = own_variables(target, z, chips)
        unit_of = units_of(target)
        is_single = (
            len(chips) == 1
            and not likelihood.bounds.rows.size
            and likelihood.scatter.chip_tails is None
        )
        units = []
        for u in range(len(chips)):
            at = np.flatnonzero(unit_of[likelihood.rows.chip] == u)
            if not at.size:  # never read
                continue
            center, inverse, found = regression(own[:, u], means[:, at], weights)
            if is_single:
                return cls(target, (), combined(target, center, inverse, found))
            units.append(Polynomial.of(u, at, center, inverse, found, likelihood.own_sd[at]))
        return cls(target, units, None)

    @staticmethod
    def least_points(target: Target) -> int:
        """Return how many points the polynomials need at least."""
        v = target.unknowns.p + (1 if target.unknowns.lines else 0)
        return 1 + v + v * (v + 1) // 2

    def log_posterior(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log likelihood + log prior (n,) and its gradient (n, dims)."""
        with np.errstate(over="ignore", invalid="ignore"):  # an orbit may leave for anywhere
            # in pieces that stay in the cache
            parts = [self.piece(z[at : at + PIECE]) for at in range(0, len(z), PIECE)]
        if not parts:
            return np.zeros(0), np.zeros_like(z)
        return np.concatenate([d for d, _ in parts]), np.concatenate([g for _, g in parts])

    def piece(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what ``log_posterior`` does for a few points."""
        own = own_variables(self.target, z, self.chips)
        if self.combined is not None:
            polynomial, left_out = self.combined
            half, r = polynomial.bent(own[:, 0])
            r = np.concatenate([r, np.full((len(z), 1), np.sqrt(left_out))], axis=1)
            by_own = polynomial.pulled(half, -r[:, :-1])[:, None]
            return self.target.log_posterior(r, z), self.chained(z, by_own) - z
        likelihood = self.likelihood
        means = np.empty((len(z), len(likelihood.used)))
        halves = []
        for unit in self.units:
            half, means[:, unit.rows] = unit.bent(own[:, unit.unit])
            halves.append(half)
        effects = z[:, self.target.unknowns.at_effects]
        for k, effect in enumerate(likelihood.effects):
            means[:, effect.rows] += effects[:, k, None] * effect.loadings
        r, by_means = self.pull(means)
        by_own = np.zeros_like(own)
        for unit, half in zip(self.units, halves, strict=True):
            by_own[:, unit.unit] = unit.pulled(half, by_means[:, unit.rows])
        gradient = self.chained(z, by_own) - z
        for k, effect in enumerate(likelihood.effects):
            place = self.target.unknowns.at_effects.start + k
            gradient[:, place] += by_means[:, effect.rows] @ effect.loadings
        return self.target.log_posterior(r, z), gradient

    def pull(self, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return residuals (n, m) of means (n, m) with effects, and the log likelihood's gradient by them."""
        likelihood = self.likelihood
        gaps = likelihood.rows.value - means
        r = np.empty((len(means), likelihood.n_residuals))
        by_means = np.zeros_like(means)
        censored = likelihood.bounds.rows
        if censored.size:
            log_p, by_means[:, censored] = log_probability_slope(
                likelihood.bounds, means[:, censored]
            )
            r[:, likelihood.n_exact :] = np.sqrt(-2.0 * log_p)
        at = 0
        for block, white in zip(likelihood.blocks, self.whitening, strict=True):
            r[:, at : at + len(block.rows)] = gaps[:, block.rows] @ white.T
            at += len(block.rows)
        weighted = r[:, : likelihood.n_exact]
        if likelihood.scatter.chip_tails is not None:
            r[:, : likelihood.n_exact], weighted = likelihood.robust_pull(weighted)
        at = 0
        for block, white in zip(likelihood.blocks, self.whitening, strict=True):
            by_means[:, block.rows] = weighted[:, at : at + len(block.rows)] @ white
            at += len(block.rows)
        return r, by_means

    def chained(self, z: np.ndarray, by_own: np.ndarray) -> np.ndarray:
        """Return the gradient (n, dims) by z of what has the gradient (n, units, v) by the units' variables."""
        unknowns = self.target.unknowns
        gradient = np.zeros_like(z)
        gradient[:, : unknowns.p] = by_own[..., : unknowns.p].sum(axis=1)
        if unknowns.q:
            donor = unknowns.donor_of[self.chips]
            whose = (donor == np.arange(len(unknowns.donors))[:, None]).astype(float)
            by_deviation = np.einsum("du,nuq->ndq", whose, by_own[..., unknowns.varied])
            spread, deviation = unknowns.spreads(z), unknowns.deviations(z)
            ln_sd = np.array([s.ln_sd for s in unknowns.prior.donor_spreads])
            gradient[:, unknowns.at_spreads] = (
                (by_deviation * deviation).sum(axis=1) * spread * ln_sd
            )
            own = by_deviation * spread[:, None]
            gradient[:, unknowns.at_deviations] = own.reshape(len(z), -1)
        if unknowns.lines:
            line = unknowns.line_of[self.chips]
            whose = (line == np.arange(len(unknowns.lines))[:, None]).astype(float)
            gradient[:, unknowns.at_doses] = by_own[..., -1] @ whose.T
        return gradient


def units_of(target: Target) -> np.ndarray:
    """Return which unit (chips,) each chip belongs to: those of one donor and line have the same variables."""
    unknowns = target.unknowns
    donor = unknowns.donor_of if unknowns.q else np.zeros_like(unknowns.donor_of)
    line = unknowns.line_of if unknowns.lines else np.zeros_like(unknowns.line_of)
    return np.asarray(np.unique(np.stack([donor, line]), axis=1, return_inverse=True)[1]).reshape(
        -1
    )


def unit_chips(target: Target) -> np.ndarray:
    """Return one chip (units,) of each unit."""
    return np.asarray(np.unique(units_of(target), return_index=True)[1])


def own_variables(target: Target, z: np.ndarray, chips: np.ndarray) -> np.ndarray:
    """Return the chips' own standard normals (n, chips, v): their donors' parameters, their dose errors."""
    unknowns = target.unknowns
    own = unknowns.donor_standard(z)[:, unknowns.donor_of[chips]]
    if not unknowns.lines:
        return own
    dose = z[:, unknowns.at_doses][:, unknowns.line_of[chips]]
    return np.concatenate([own, dose[..., None]], axis=2)


def whitening(target: Target) -> list[np.ndarray]:
    """Return the inverse Cholesky factor (m, m) of each block of readouts."""
    return [
        solve_triangular(block.factor, np.eye(len(block.rows)), lower=True)
        for block in target.likelihood.blocks
    ]


def regression(
    own: np.ndarray, means: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return center (v,), inverse (v, v) and coefficients (features, k) of means (n, k) over own (n, v)."""
    v = own.shape[1]
    center = np.average(own, axis=0, weights=weights)
    spread = np.cov(own.T, aweights=weights).reshape(v, v)
    inverse = np.linalg.inv(np.linalg.cholesky(spread + 1e-10 * np.eye(v)))
    features = features_of((own - center) @ inverse.T)
    weighed = features.T * weights
    square = weighed @ features
    square += RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    return center, inverse, np.linalg.solve(square, weighed @ means)


def combined(
    target: Target, center: np.ndarray, inverse: np.ndarray, found: np.ndarray
) -> tuple[Polynomial, float]:
    """Return the combinations of residuals that vary over the cloud, and the squares of those that do not.

    ``found`` (features, m) are the coefficients of all readouts' means.
    """
    likelihood = target.likelihood
    r = np.empty_like(found)
    at = 0
    for block, white in zip(likelihood.blocks, whitening(target), strict=True):
        gaps = -found[:, block.rows]
        gaps[0] += likelihood.rows.value[block.rows]
        r[:, at : at + len(block.rows)] = gaps @ white.T
        at += len(block.rows)
    i, j = np.triu_indices(len(center))
    diagonal = np.flatnonzero(i == j) + 1 + len(center)
    mean = r[0] + r[diagonal].sum(axis=0)
    # the features' own sd over standard normals: x_i^2 varies by 2
    varying = r[1:].copy()
    varying[diagonal - 1] *= np.sqrt(2.0)
    u, size, _ = np.linalg.svd(varying.T, full_matrices=False)
    left = np.cumsum((size**2)[::-1])[::-1]
    kept = u[:, : max(1, int((left > DROPPED / 10).sum()))]
    at_mean = kept.T @ mean
    turned = r @ kept
    places = np.arange(kept.shape[1])
    polynomial = Polynomial.of(0, places, center, inverse, turned, np.ones(len(places)))
    return polynomial, max(0.0, float(mean @ mean - at_mean @ at_mean))


def features_of(x: np.ndarray) -> np.ndarray:
    """Return 1, x and the products x_i x_j, i <= j, of x (n, v)."""
    i, j = np.triu_indices(x.shape[1])
    return np.concatenate([np.ones((len(x), 1)), x, x[:, i] * x[:, j]], axis=1)
