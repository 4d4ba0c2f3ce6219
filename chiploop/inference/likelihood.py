"""How well a tissue model explains the readouts.

Belongs here: residuals, censoring, their derivatives. Not here: what readings share (scatter), what is estimated
(unknowns), search and sampling.

Uncensored readouts are Gaussian on the readout's own scale (ln for TEER and proteins, linear for LDH release) with
the covariance of ``scatter``; one Cholesky factor per independent group turns their residuals into standard
normals. A censored value contributes log Phi of its bound, given the sampled effects. With ``chip_tails`` the
residuals of a chip follow a Student t in place of the Gaussian: chip after chip, given the chips before it,
so that an outlying chip is believed less and the density still integrates to one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln, log_ndtr

from chiploop.inference.scatter import Reading, Scatter, Shared, groups, spread_of
from chiploop.measurement import Readout
from chiploop.models.facts import ReadoutSpec
from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import TissueModel

FLOOR = 1e-6
"""Smallest value of a log-scale readout that the model may predict, in the readout's unit."""
FLOORS = {"cm/s": 1e-15}
"""The same by unit, where ``FLOOR`` is no small number in it."""
LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Block:
    """Uncensored readouts of one kind that are independent of all others, given the sampled effects."""

    readout: int
    """Index in the model's readouts."""
    rows: np.ndarray
    """(m,) place of each in ``Likelihood.used``."""
    factor: np.ndarray
    """(m, m) lower Cholesky factor of Sigma, chip by chip."""


@dataclass(frozen=True)
class Bound:
    """The censored readouts."""

    rows: np.ndarray
    """(k,) place of each in ``Likelihood.used``."""
    sd: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    """(k,) sd and bounds on the residual's scale; infinite where open."""


@dataclass(frozen=True)
class Rows:
    """The readouts that enter, one row each; the residual's scale is ln where ``log_scale``."""

    readout: np.ndarray
    chip: np.ndarray
    time: np.ndarray
    """(m,) indices into the model's readouts, the inlets, the samplings."""
    log_scale: np.ndarray
    """(m,) bool."""
    floor: np.ndarray
    """(m,) smallest value that is predicted."""
    value: np.ndarray
    """(m,) on the residual's scale; NaN where censored."""


class Likelihood:
    """Readouts of a study against one tissue model.

    Parameters
    ----------
    model
        Gives the predictions.
    inlets
        What each chip really got, up to the last readout or later.
    donors
        Chip id -> donor id.
    readouts
        Those with ``qc`` other than "fail" enter.
    scatter
        What scatters besides the assay, on the residual's scale.
    lines
        Chip id -> line, whose chips share a dose error; None for one line.
    drugs
        Chip id -> drug, where the study has several.

    Raises
    ------
    ValueError
        For a readout that the model does not have, or of a chip that has no inlet.
    """

    def __init__(
        self,
        model: TissueModel,
        inlets: Sequence[ChipInlet],
        donors: Mapping[str, str],
        readouts: Sequence[Readout],
        scatter: Scatter,
        lines: Mapping[str, str] | None = None,
        drugs: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        self.inlets = tuple(inlets)
        self.chips = tuple(inlet.chip_id for inlet in inlets)
        self.donors = dict(donors)
        self.lines = dict(lines) if lines is not None else dict.fromkeys(self.chips, "")
        self.drugs = dict(drugs or {})
        self.scatter = scatter
        self.used = tuple(r for r in readouts if r.qc != "fail")
        names = [spec.name for spec in model.readouts]
        unknown = sorted({r.readout for r in self.used} - set(names))
        if unknown:
            raise ValueError(f"model {model.name} has no readout {', '.join(unknown)}")
        without = sorted({r.chip_id for r in self.used} - set(self.chips))
        if without:
            raise ValueError(f"readouts of {', '.join(without)}, which have no inlet")
        self.names = tuple(names)
        samplings = sorted({sampling(r) for r in self.used})
        self.times_h = np.array([t for t, _ in samplings])
        self.window_starts_h = np.array([np.nan if s < 0 else s for _, s in samplings])
        self.rows = rows_of(self.used, names, model, self.chips, samplings)
        self.effects, self.blocks, self.bounds = self.arranged()
        order = [row for block in self.blocks for row in block.rows] + list(self.bounds.rows)
        self.row_of = np.array(order, dtype=int)
        """(m,) the readout behind each residual."""
        self.n_exact = sum(len(block.rows) for block in self.blocks)
        self.log_constant = self.constant()

    def arranged(self) -> tuple[tuple[Shared, ...], tuple[Block, ...], Bound]:
        """Return the sampled effects with rows of ``used``, the independent blocks, and what is censored."""
        effects: list[Shared] = []
        blocks: list[Block] = []
        bounds: list[tuple[int, float]] = []
        chip_order = {chip: c for c, chip in enumerate(self.chips)}
        for k, name in enumerate(self.names):
            of_kind = [i for i, r in enumerate(self.used) if r.readout == name]
            of_kind.sort(key=lambda i: chip_order[self.used[i].chip_id])
            rows = np.array(of_kind, dtype=int)
            readings = [self.reading(self.used[i]) for i in of_kind]
            spread = spread_of(self.scatter, name, readings)
            effects += [Shared(c.name, rows[c.rows], c.loadings) for c in spread.sampled]
            censored = np.array([r.is_censored for r in readings], dtype=bool)
            bounds += [(int(rows[i]), float(spread.sd[i])) for i in np.flatnonzero(censored)]
            covariance = spread.covariance()
            label = groups(len(of_kind), spread.integrated)
            for one in dict.fromkeys(label[~censored].tolist()):
                at = np.flatnonzero((label == one) & ~censored)
                factor = np.linalg.cholesky(covariance[np.ix_(at, at)])
                blocks.append(Block(k, rows[at], factor))
        at = np.array([row for row, _ in bounds], dtype=int)
        limits = [
            (scaled(self.used[i].lower, log), scaled(self.used[i].upper, log))
            for i, log in zip(at, self.rows.log_scale[at], strict=True)
        ]
        lower, upper = np.array(limits).reshape(-1, 2).T
        return (
            tuple(effects),
            tuple(blocks),
            Bound(at, np.array([sd for _, sd in bounds]), lower, upper),
        )

    def reading(self, readout: Readout) -> Reading:
        """Return what the scatter of a readout hangs on."""
        plate = readout.plate if readout.curve else ""
        chip, donor = readout.chip_id, self.donors[readout.chip_id]
        is_censored = readout.censoring != "none"
        return Reading(chip, donor, plate, readout.sd, readout.curve, is_censored)

    @property
    def n_residuals(self) -> int:
        """Number of residuals."""
        return len(self.row_of)

    @property
    def n_censored(self) -> int:
        """Number of censored readouts."""
        return len(self.bounds.rows)

    @cached_property
    def own_sd(self) -> np.ndarray:
        """Return the sd (m,) of each row given all others, on the residual's scale."""
        sd = np.empty(len(self.used))
        for block in self.blocks:
            white = solve_triangular(block.factor, np.eye(len(block.rows)), lower=True)
            sd[block.rows] = 1.0 / np.sqrt((white**2).sum(axis=0))
        sd[self.bounds.rows] = self.bounds.sd
        return sd

    @cached_property
    def digest(self) -> str:
        """Return a digest of the readings that enter: whose, when, what was read and how surely."""
        rows = [
            (
                r.chip_id,
                r.readout,
                r.time_h,
                r.window_start_h,
                r.value,
                r.sd,
                r.censoring,
                r.lower,
                r.upper,
            )
            for r in self.used
        ]
        return hashlib.sha256(repr([tuple(map(_plain, row)) for row in rows]).encode()).hexdigest()

    def constant(self) -> float:
        """Return what the log likelihood is above -|r|^2/2."""
        total = -sum(float(np.log(np.diag(block.factor)).sum()) for block in self.blocks)
        tails = self.scatter.chip_tails
        if tails is None:
            return total - 0.5 * self.n_exact * LOG_TWO_PI
        counts = np.bincount(self.rows.chip[self.row_of[: self.n_exact]])
        counts = counts[counts > 0]
        total += float((gammaln((tails + counts) / 2) - gammaln(tails / 2)).sum())
        return total - 0.5 * float((counts * np.log(tails * np.pi)).sum())

    def simulated(
        self, parameters: np.ndarray, drug_factors: np.ndarray | None = None
    ) -> np.ndarray:
        """Return predictions (n, m) of every row, in the readout's unit; NaN where a simulation failed."""
        predicted = self.model.simulate(
            parameters,
            self.inlets,
            self.times_h,
            self.window_starts_h,
            drug_factors=drug_factors,
        ).readouts
        rows = self.rows
        return np.asarray(predicted[:, rows.chip, rows.time, rows.readout])

    def sloped(
        self, parameters: np.ndarray, drug_factors: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions (n, m) and their derivatives (n, m, p) by the chip's own parameters.

        With ``drug_factors`` (n, m, p + 1), the last by the factor of the chip's drug.
        """
        predicted, slopes = self.model.sensitivities(
            parameters,
            self.inlets,
            self.times_h,
            self.window_starts_h,
            drug_factors=drug_factors,
        )
        rows = self.rows
        at = (slice(None), rows.chip, rows.time, rows.readout)
        return predicted[at], slopes[at]

    def means(self, predicted: np.ndarray, effects: np.ndarray) -> np.ndarray:
        """Return the rows' means (n, m) on the residual's scale, with sampled effects (n, effects)."""
        means = self.plain_means(predicted)
        for k, effect in enumerate(self.effects):
            means[:, effect.rows] += effects[:, k, None] * effect.loadings
        return means

    def plain_means(self, predicted: np.ndarray) -> np.ndarray:
        """Return predictions (n, m) on the residual's scale."""
        return np.where(
            self.rows.log_scale, np.log(np.maximum(predicted, self.rows.floor)), predicted
        )

    def residuals(self, predicted: np.ndarray, effects: np.ndarray) -> np.ndarray:
        """Return residuals (n, m): -|r|^2/2 + ``log_constant`` is the log likelihood.

        Independent standard normals for uncensored readouts; sqrt(-2 log P(bounds)) for censored ones. NaN
        where a simulation failed.
        """
        means = self.means(predicted, effects)
        parts = [
            self.standard(block, (self.rows.value - means)[:, block.rows]) for block in self.blocks
        ]
        parts.append(np.sqrt(-2.0 * log_probability(self.bounds, means[:, self.bounds.rows])))
        r = np.concatenate(parts, axis=1)
        if self.scatter.chip_tails is not None:
            r[:, : self.n_exact], _ = self.robust(r[:, : self.n_exact], None)
        return r

    def linearised(
        self, predicted: np.ndarray, slopes: np.ndarray, effects: np.ndarray, at_effects: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return residuals (n, m) and their Jacobian (n, m, d).

        ``slopes`` (n, m, d) are the predictions' derivatives by everything that is estimated, with zeros at
        the effects' own place ``at_effects``.
        """
        means = self.means(predicted, effects)
        rows = self.rows
        floored = predicted <= rows.floor
        scale = np.where(
            rows.log_scale, np.where(floored, 0.0, 1.0 / np.maximum(predicted, rows.floor)), 1.0
        )
        by_z = slopes * scale[..., None]
        for k, effect in enumerate(self.effects):
            by_z[:, effect.rows, at_effects.start + k] += effect.loadings
        parts, turned = [], []
        for block in self.blocks:
            parts.append(self.standard(block, (rows.value - means)[:, block.rows]))
            turned.append(-self.standard(block, by_z[:, block.rows]))
        log_p, pull = log_probability_slope(self.bounds, means[:, self.bounds.rows])
        parts.append(np.sqrt(-2.0 * log_p))
        # r = sqrt(-2 log P): dr = -(d log P) / r
        share = -pull / np.maximum(parts[-1], 1e-150)
        turned.append(share[..., None] * by_z[:, self.bounds.rows])
        r, jacobian = np.concatenate(parts, axis=1), np.concatenate(turned, axis=1)
        if self.scatter.chip_tails is not None:
            n = self.n_exact
            r[:, :n], jacobian[:, :n] = self.robust(r[:, :n], jacobian[:, :n])
        return r, jacobian

    def standard(self, block: Block, gaps: np.ndarray) -> np.ndarray:
        """Return gaps (n, m[, d]) of a block's rows as independent standard normals; NaN stays NaN."""
        failed = ~np.isfinite(gaps).all(axis=tuple(range(1, gaps.ndim)))
        clean = np.where(failed.reshape(-1, *[1] * (gaps.ndim - 1)), 0.0, gaps)
        first = np.moveaxis(clean, 1, 0)
        flat = solve_triangular(
            block.factor, first.reshape(len(first), -1), lower=True, check_finite=False
        )
        result = np.moveaxis(flat.reshape(first.shape), 0, 1)
        return np.where(failed.reshape(-1, *[1] * (gaps.ndim - 1)), np.nan, result)

    def robust(self, r: np.ndarray, jacobian: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return residuals (n, exact) whose squares sum to those of each chip's Student t, and their Jacobian."""
        new, weighted = self.robust_pull(r)
        if jacobian is None:
            return new, np.zeros((*r.shape, 0))
        by_z = np.empty_like(jacobian)
        for at in self.exact_of_chips:
            # new = w r with w^2 |r|^2 = T(|r|^2): d new = w dr + (T'/w - w) / |r|^2 (r' dr) r
            own = r[:, at]
            squared = (own**2).sum(axis=1)
            small = squared < 1e-12
            safe = np.where(small, 1.0, squared)
            weight = np.sqrt((new[:, at] ** 2).sum(axis=1) / safe)
            weight = np.where(small, self.tail_weight(len(at)), weight)
            by_square = (own * weighted[:, at]).sum(axis=1) / safe
            bent = np.where(small, 0.0, (by_square / weight - weight) / safe)
            along_z = np.einsum("nk,nkd->nd", own, jacobian[:, at])
            by_z[:, at] = weight[:, None, None] * jacobian[:, at]
            by_z[:, at] += own[..., None] * (bent[:, None] * along_z)[:, None]
        return new, by_z

    def robust_pull(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the Student t residuals (n, exact), and -d log likelihood / d r (n, exact)."""
        tails = self.scatter.chip_tails
        assert tails is not None
        new, pull = r.copy(), r.copy()
        for at in self.exact_of_chips:
            squared = (r[:, at] ** 2).sum(axis=1)
            total = (tails + len(at)) * np.log1p(squared / tails)
            small = squared < 1e-12
            weight = np.sqrt(total / np.where(small, 1.0, squared))
            new[:, at] *= np.where(small, self.tail_weight(len(at)), weight)[:, None]
            pull[:, at] *= ((tails + len(at)) / (tails + squared))[:, None]
        return new, pull

    def tail_weight(self, m: int) -> float:
        """Return the weight of a chip's residuals (m) near zero."""
        tails = self.scatter.chip_tails
        assert tails is not None
        return float(np.sqrt((tails + m) / tails))

    @cached_property
    def exact_of_chips(self) -> list[np.ndarray]:
        """Return the places of each chip's uncensored residuals."""
        chip = self.rows.chip[self.row_of[: self.n_exact]]
        return [np.flatnonzero(chip == c) for c in np.unique(chip)]


def _plain(value: object) -> object:
    """Return a number as Python's own, so that it is written alike wherever it came from."""
    return float(value) if isinstance(value, int | float | np.floating) else value


def sampling(readout: Readout) -> tuple[float, float]:
    """Return a readout's time and the start of its window, -1 without one."""
    return readout.time_h, -1.0 if readout.window_start_h is None else readout.window_start_h


def rows_of(
    used: Sequence[Readout],
    names: Sequence[str],
    model: TissueModel,
    chips: Sequence[str],
    samplings: Sequence[tuple[float, float]],
) -> Rows:
    """Return the readouts as arrays."""
    place = {one: i for i, one in enumerate(samplings)}
    readout = np.array([names.index(r.readout) for r in used], dtype=int)
    log_scale = np.array([model.readouts[k].scale == "log" for k in readout], dtype=bool)
    value = [
        scaled(r.value, log) if r.censoring == "none" else np.nan
        for r, log in zip(used, log_scale, strict=True)
    ]
    return Rows(
        readout,
        np.array([chips.index(r.chip_id) for r in used], dtype=int),
        np.array([place[sampling(r)] for r in used], dtype=int),
        log_scale,
        np.array([floor_of(model.readouts[k].unit) for k in readout], dtype=float),
        np.array(value, dtype=float),
    )


def log_probability(bound: Bound, mean: np.ndarray) -> np.ndarray:
    """Return log P(lower < y < upper) (n, k) of means (n, k), safe in the tails."""
    below = (bound.upper - mean) / bound.sd
    above = (bound.lower - mean) / bound.sd
    # the smaller tail carries the digits: reflect so that both terms are lower tails
    flip = above > 0
    high = np.where(flip, log_ndtr(-above), log_ndtr(below))
    low = np.where(flip, log_ndtr(-below), log_ndtr(above))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.minimum(low - high, -1e-300)
        # log(1 - e^ratio): near P = 1 the digits stand in log1p, where the bounds are close in expm1
        rest = np.where(ratio < -1.0, np.log1p(-np.exp(ratio)), np.log(-np.expm1(ratio)))
        both = high + rest
    return np.asarray(np.where(np.isneginf(low), high, both))


def log_probability_slope(bound: Bound, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log P (n, k) and its derivative by the mean (n, k)."""
    log_p = log_probability(bound, mean)
    pull = np.zeros_like(mean)
    for edge, sign in ((bound.upper, -1.0), (bound.lower, 1.0)):
        finite = np.isfinite(edge)
        gap = (edge[finite] - mean[:, finite]) / bound.sd[finite]
        log_density = -0.5 * gap**2 - 0.5 * LOG_TWO_PI - np.log(bound.sd[finite])
        pull[:, finite] += sign * np.exp(log_density - log_p[:, finite])
    return log_p, pull


def scaled(value: float, log_scale: bool) -> float:
    """Return one measured value on the residual's scale."""
    if not log_scale:
        return value
    return float(np.log(value)) if value > 0 else -np.inf


def floor_of(unit: str) -> float:
    """Return the smallest value of a log-scale readout that the model may predict."""
    return FLOORS.get(unit, FLOOR)


def on_scale(values: np.ndarray, spec: ReadoutSpec) -> np.ndarray:
    """Return predictions of a readout on the residual's scale."""
    return np.log(np.maximum(values, floor_of(spec.unit))) if spec.scale == "log" else values
