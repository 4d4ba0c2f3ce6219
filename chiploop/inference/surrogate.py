"""A quadratic stand-in for the model's readouts near a mode, learned from simulations.

Belongs here: the polynomials, their training, the posterior that they give. Not here: drawing with them
(tempering), where the model itself accepts or refuses, so that their error costs acceptance and never truth.

Each readout, on the residual's scale, is a full quadratic polynomial in its own chip's standard normals (the
parameters of its donor and drug, ln of its dose's factor), fitted by least squares over a cloud of simulated
points. It sees what a Laplace approximation does not: that the valley of the posterior is bent. Gradients are
exact and cost no simulation. Chips with the same variables are one unit. Where there is but one unit and nothing
is censored, the sum of all squared residuals is that of a few combinations of them, and only these are kept.
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
PIECE = 16384
"""Points times units at a time: what they need stays in the cache."""
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
    constant: np.ndarray
    """(k,)"""
    linear: np.ndarray
    """(k, v)"""
    active: np.ndarray
    """(v, a) directions in which any readout is bent."""
    square: np.ndarray
    """(b, a, a): with y = active' (variables - center), y' Q_j y are the b bends, Q_j symmetric."""
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

        ``inverse`` (v, v) turns a distance from the center into independent unit normals over the cloud, of which
        the features are made. Readouts of one chip bend alike and in few directions: the coefficients are a tensor
        of low rank (truncated higher-order singular value decomposition, De Lathauwer et al. 2000, SIAM J. Matrix
        Anal. Appl. 21:1253). ``sd`` (k,) are the readings' own.
        """
        v, k = len(center), len(rows)
        i, j = np.triu_indices(v)
        matrix = np.zeros((k, v, v))
        matrix[:, i, j] += 0.5 * found[v + 1 :].T
        matrix[:, j, i] += 0.5 * found[v + 1 :].T
        scaled = matrix / sd[:, None, None]
        left = leading(scaled.reshape(k, -1))
        active = leading(np.moveaxis(scaled, 1, 0).reshape(v, -1))
        return cls(
            unit,
            rows,
            center,
            found[0],
            found[1 : v + 1].T @ inverse,
            inverse.T @ active,
            active.T @ np.tensordot(left, scaled, (0, 0)) @ active,
            (left * sd[:, None]).T,
        )


class Polynomials:
    """The polynomials of several units, side by side; smaller ones are filled up with zeros."""

    def __init__(self, units: Sequence[Polynomial], v: int) -> None:
        count = len(units)
        self.k = max((len(one.rows) for one in units), default=0)
        self.a = max((one.active.shape[1] for one in units), default=0)
        self.b = max((len(one.square) for one in units), default=0)
        self.unit = np.array([one.unit for one in units], dtype=int)
        self.rows = np.array([row for one in units for row in one.rows], dtype=int)
        """(m,) the readouts, unit after unit."""
        self.filled = np.array(
            [self.k * u + i for u, one in enumerate(units) for i in range(len(one.rows))], dtype=int
        )
        """(m,) where each stands among all places (units, k)."""
        self.center = np.array([one.center for one in units]).reshape(count, v, 1)
        self.constant = np.zeros((count, self.k, 1))
        self.slopes = np.zeros((count, self.a + self.k, v))
        """The active directions, then the linear parts."""
        square = np.zeros((count, self.b, self.a, self.a))
        shares = np.zeros((count, self.b, self.k))
        for u, one in enumerate(units):
            k, a, b = len(one.rows), one.active.shape[1], len(one.square)
            self.constant[u, :k, 0] = one.constant
            self.slopes[u, :a] = one.active.T
            self.slopes[u, self.a : self.a + k] = one.linear
            square[u, :b, :a, :a] = one.square
            shares[u, :b, :k] = one.shares
        self.square = square.reshape(count, self.b * self.a, self.a).astype(PRECISION)
        self.shares = shares.astype(PRECISION)

    def bent(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Q y (units, b, a, n) and the readouts' means (m, n) at the units' variables own (units, v, n)."""
        count, _, n = own.shape
        along = self.slopes @ (own - self.center)
        y = along[:, : self.a].astype(PRECISION)
        half = (self.square @ y).reshape(count, self.b, self.a, n)
        bend = np.einsum("uban,uan->ubn", half, y)
        means = along[:, self.a :] + self.constant + np.swapaxes(self.shares, 1, 2) @ bend
        return half, means.reshape(-1, n)[self.filled]

    def pulled(self, half: np.ndarray, pull: np.ndarray) -> np.ndarray:
        """Return the gradient (units, v, n) by the variables of what has the gradient pull (m, n) by the means."""
        count, n = len(half), pull.shape[1]
        filled = np.zeros((count * self.k, n))
        filled[self.filled] = pull
        by_means = filled.reshape(count, self.k, n)
        by_bend = self.shares @ by_means.astype(PRECISION)
        by_y = 2.0 * np.einsum("ubn,uban->uan", by_bend, half)
        by_own = np.swapaxes(self.slopes, 1, 2) @ np.concatenate([by_y, by_means], axis=1)
        return np.asarray(by_own)


@dataclass(frozen=True)
class Whitening:
    """Blocks of readouts that have the same size."""

    rows: np.ndarray
    """(blocks, size) the readouts."""
    places: np.ndarray
    """(blocks, size) of their residuals."""
    inverse: np.ndarray
    """(blocks, size, size) inverse Cholesky factors."""

    @classmethod
    def of(cls, target: Target) -> list[Whitening]:
        """Return the blocks of a target, by size."""
        at = 0
        by_size: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
        for block in target.likelihood.blocks:
            size = len(block.rows)
            inverse = solve_triangular(block.factor, np.eye(size), lower=True)
            by_size.setdefault(size, []).append((block.rows, at + np.arange(size), inverse))
            at += size
        return [
            cls(*(np.stack(part) for part in zip(*same, strict=True))) for same in by_size.values()
        ]

    def standard(self, gaps: np.ndarray) -> np.ndarray:
        """Return gaps (all readouts, n) as standard normals (blocks, size, n)."""
        return np.asarray(self.inverse @ gaps[self.rows])

    def back(self, weighted: np.ndarray) -> np.ndarray:
        """Return the gradient (blocks, size, n) by the gaps of what has the gradient weighted (residuals, n)."""
        return np.asarray(np.swapaxes(self.inverse, 1, 2) @ weighted[self.places])


def leading(unfolded: np.ndarray) -> np.ndarray:
    """Return the leading left singular vectors (m, r) of (m, n): what is left varies by at most ``DROPPED``."""
    u, size, _ = np.linalg.svd(unfolded, full_matrices=False)
    # x' S x of standard normals x varies by 2 |S|^2
    left = 2.0 * np.cumsum((size**2)[::-1])[::-1]
    return np.asarray(u[:, : max(1, int((left > DROPPED).sum()))])


class Surrogate:
    """The posterior with polynomials in the model's place."""

    def __init__(
        self, target: Target, units: Sequence[Polynomial], left_out: float | None = None
    ) -> None:
        self.target = target
        self.likelihood = target.likelihood
        unknowns = target.unknowns
        self.polynomials = Polynomials(units, unknowns.per_chip + bool(unknowns.lines))
        self.left_out = left_out
        """Where the polynomials are combinations of all residuals: the squares of what they do not say."""
        self.chips = unit_chips(target)
        self.whitening = Whitening.of(target)

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
                polynomial, left_out = combined(target, center, inverse, found)
                return cls(target, (polynomial,), left_out)
            units.append(Polynomial.of(u, at, center, inverse, found, likelihood.own_sd[at]))
        return cls(target, units)

    @staticmethod
    def least_points(target: Target) -> int:
        """Return how many points the polynomials need at least."""
        v = target.unknowns.per_chip + bool(target.unknowns.lines)
        return 1 + v + v * (v + 1) // 2

    def log_posterior(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log likelihood + log prior (n,) and its gradient (n, dims)."""
        size = min(256, max(8, PIECE // len(self.chips)))
        with np.errstate(over="ignore", invalid="ignore"):  # an orbit may leave for anywhere
            parts = [self.piece(z[at : at + size]) for at in range(0, len(z), size)]
        if not parts:
            return np.zeros(0), np.zeros_like(z)
        return np.concatenate([d for d, _ in parts]), np.concatenate([g for _, g in parts])

    def piece(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what ``log_posterior`` does for a few points."""
        own = np.moveaxis(own_variables(self.target, z, self.chips), 0, 2)  # (units, v, n)
        half, found = self.polynomials.bent(own[self.polynomials.unit])
        by_own = np.zeros_like(own)
        if self.left_out is not None:
            by_own[self.polynomials.unit] = self.polynomials.pulled(half, -found)
            r = np.concatenate([found.T, np.full((len(z), 1), np.sqrt(self.left_out))], axis=1)
            return self.target.log_posterior(r, z), self.chained(z, np.moveaxis(by_own, 2, 0)) - z
        likelihood = self.likelihood
        means = np.empty((len(likelihood.used), len(z)))
        means[self.polynomials.rows] = found
        effects = z[:, self.target.unknowns.at_effects].T
        for k, effect in enumerate(likelihood.effects):
            means[effect.rows] += effect.loadings[:, None] * effects[k]
        r, by_means = self.pull(means)
        by_own[self.polynomials.unit] = self.polynomials.pulled(
            half, by_means[self.polynomials.rows]
        )
        gradient = self.chained(z, np.moveaxis(by_own, 2, 0)) - z
        for k, effect in enumerate(likelihood.effects):
            place = self.target.unknowns.at_effects.start + k
            gradient[:, place] += effect.loadings @ by_means[effect.rows]
        return self.target.log_posterior(r.T, z), gradient

    def pull(self, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return residuals (m, n) of means (m, n) with effects, and the log likelihood's gradient by them."""
        likelihood = self.likelihood
        gaps = likelihood.rows.value[:, None] - means
        r = np.empty((likelihood.n_residuals, means.shape[1]))
        by_means = np.zeros_like(means)
        censored = likelihood.bounds.rows
        if censored.size:
            log_p, slope = log_probability_slope(likelihood.bounds, means[censored].T)
            by_means[censored] = slope.T
            r[likelihood.n_exact :] = np.sqrt(-2.0 * log_p.T)
        for blocks in self.whitening:
            r[blocks.places] = blocks.standard(gaps)
        weighted = r[: likelihood.n_exact]
        if likelihood.scatter.chip_tails is not None:
            tailed, by_tailed = likelihood.robust_pull(weighted.T)
            r[: likelihood.n_exact], weighted = tailed.T, by_tailed.T
        for blocks in self.whitening:
            by_means[blocks.rows] = blocks.back(weighted)
        return r, by_means

    def chained(self, z: np.ndarray, by_own: np.ndarray) -> np.ndarray:
        """Return the gradient (n, dims) by z of what has the gradient (n, units, v) by the units' variables."""
        unknowns = self.target.unknowns
        gradient = np.zeros_like(z)
        by_entries = unknowns.at_entries(by_own[..., : unknowns.per_chip], self.chips)
        gradient[:, : unknowns.p] = by_entries.sum(axis=1)
        if unknowns.q:
            donor = unknowns.donor_of[self.chips]
            whose = (donor == np.arange(len(unknowns.donors))[:, None]).astype(float)
            by_deviation = np.einsum("du,nuq->ndq", whose, by_entries[..., unknowns.varied])
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
    """Return which unit (chips,) each chip belongs to: those of one donor, line and drug are alike."""
    unknowns = target.unknowns
    donor = unknowns.donor_of if unknowns.q else np.zeros_like(unknowns.donor_of)
    line = unknowns.line_of if unknowns.lines else np.zeros_like(unknowns.line_of)
    kinds = [donor, line, *([unknowns.drug_of] if unknowns.drug_of.size else [])]
    return np.asarray(np.unique(np.stack(kinds), axis=1, return_inverse=True)[1]).reshape(-1)


def unit_chips(target: Target) -> np.ndarray:
    """Return one chip (units,) of each unit."""
    return np.asarray(np.unique(units_of(target), return_index=True)[1])


def own_variables(target: Target, z: np.ndarray, chips: np.ndarray) -> np.ndarray:
    """Return the chips' own standard normals (n, chips, v): their donors' parameters, their dose errors."""
    unknowns = target.unknowns
    own = unknowns.own(unknowns.donor_standard(z)[:, unknowns.donor_of[chips]], chips)
    if not unknowns.lines:
        return own
    dose = z[:, unknowns.at_doses][:, unknowns.line_of[chips]]
    return np.concatenate([own, dose[..., None]], axis=2)


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
    gaps = -found.T
    gaps[:, 0] += likelihood.rows.value
    r = np.empty_like(found)
    for blocks in Whitening.of(target):
        r[:, blocks.places] = np.moveaxis(blocks.standard(gaps), 2, 0)
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
