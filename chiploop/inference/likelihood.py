"""How well a parameter set explains the readouts.

Belongs here: residuals, their covariance, censoring. Not here: search and sampling.

Residuals of uncensored readouts are Gaussian on the readout's own scale (ln for TEER and proteins, linear
for LDH release) with covariance
    Sigma = diag(assay sd^2 + reading sd^2) + chip sd^2 [same chip] + donor sd^2 [same donor]
within each readout: a chip or donor that secretes more does so in every sample. Sigma does not depend on
the parameters, so one Cholesky factor turns residuals into independent standard normals.
A censored value contributes log Phi of its bound, with the summed variance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import log_ndtr

from chiploop.measurement import Readout
from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import TissueModel

FLOOR = 1e-6
"""Smallest value of a log-scale readout that the model may predict, in the readout's unit."""


@dataclass(frozen=True)
class Scatter:
    """What scatters besides the assay: readout name -> sd on the residual's scale; absent means 0."""

    chip: Mapping[str, float]
    """Between chips, the same in every sample of a chip."""
    donor: Mapping[str, float]
    """Between donors, the same in every sample of a donor's chips."""
    reading: Mapping[str, float]
    """Between readings of one chip."""

    def covariance(
        self, readout: str, chip: np.ndarray, donor: np.ndarray, sd: np.ndarray
    ) -> np.ndarray:
        """Return Sigma (m, m) of readings of these chips and donors (m,) with these assay sds (m,)."""
        matrix = np.diag(sd**2 + self.reading.get(readout, 0.0) ** 2)
        matrix += self.chip.get(readout, 0.0) ** 2 * (chip[:, None] == chip)
        matrix += self.donor.get(readout, 0.0) ** 2 * (donor[:, None] == donor)
        return matrix

    def variance(self, readout: str) -> float:
        """Return the summed variance of one reading."""
        return sum(sd.get(readout, 0.0) ** 2 for sd in (self.chip, self.donor, self.reading))


@dataclass(frozen=True)
class Block:
    """The uncensored readouts of one kind."""

    readout: int
    """Index in the model's readouts."""
    log_scale: bool
    chip: np.ndarray
    time: np.ndarray
    """(m,) indices of chip and sampling time."""
    value: np.ndarray
    """(m,) on the residual's scale."""
    factor: np.ndarray
    """(m, m) lower Cholesky factor of Sigma."""
    rows: tuple[int, ...]
    """(m,) place of each in the list of readouts."""


@dataclass(frozen=True)
class Bound:
    """One censored readout."""

    readout: int
    log_scale: bool
    chip: int
    time: int
    sd: float
    lower: float
    upper: float
    """Bounds on the residual's scale; infinite where open."""


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
    """

    def __init__(
        self,
        model: TissueModel,
        inlets: Sequence[ChipInlet],
        donors: Mapping[str, str],
        readouts: Sequence[Readout],
        scatter: Scatter,
    ) -> None:
        self.model = model
        self.inlets = tuple(inlets)
        self.used = tuple(r for r in readouts if r.qc != "fail")
        chips = {inlet.chip_id: c for c, inlet in enumerate(inlets)}
        donor_index = {d: i for i, d in enumerate(sorted(set(donors.values())))}
        names = [spec.name for spec in model.readouts]
        unknown = sorted({r.readout for r in self.used} - set(names))
        if unknown:
            raise ValueError(f"model {model.name} has no readout {', '.join(unknown)}")
        samplings = sorted(
            {(r.time_h, -1.0 if r.window_start_h is None else r.window_start_h) for r in self.used}
        )
        self.times_h = np.array([t for t, _ in samplings])
        self.window_starts_h = np.array([np.nan if s < 0 else s for _, s in samplings])
        place = {sampling: i for i, sampling in enumerate(samplings)}

        blocks: list[Block] = []
        bounds: list[Bound] = []
        for k, name in enumerate(names):
            log_scale = model.readouts[k].scale == "log"
            of_kind = [(i, r) for i, r in enumerate(self.used) if r.readout == name]
            exact = [(i, r) for i, r in of_kind if r.censoring == "none"]
            for _, r in of_kind:
                if r.censoring != "none":
                    lower, upper = scaled(r.lower, log_scale), scaled(r.upper, log_scale)
                    time = place[(r.time_h, -1.0 if r.window_start_h is None else r.window_start_h)]
                    sd = float(np.sqrt(r.sd**2 + scatter.variance(name)))
                    bounds.append(Bound(k, log_scale, chips[r.chip_id], time, sd, lower, upper))
            if not exact:
                continue
            chip = np.array([chips[r.chip_id] for _, r in exact])
            donor = np.array([donor_index[donors[r.chip_id]] for _, r in exact])
            assay_sd = np.array([r.sd for _, r in exact])
            covariance = scatter.covariance(name, chip, donor, assay_sd)
            times = [
                place[(r.time_h, -1.0 if r.window_start_h is None else r.window_start_h)]
                for _, r in exact
            ]
            values = np.array([scaled(r.value, log_scale) for _, r in exact])
            blocks.append(
                Block(
                    k,
                    log_scale,
                    chip,
                    np.array(times),
                    values,
                    np.linalg.cholesky(covariance),
                    tuple(i for i, _ in exact),
                )
            )
        self.blocks = tuple(blocks)
        self.bounds = tuple(bounds)
        self.n_residuals = sum(b.value.size for b in blocks) + len(bounds)

    def residuals(self, parameters: np.ndarray) -> np.ndarray:
        """Return standardised residuals (n, m) of parameters (n, p); half their squares sum to -log L.

        For a censored value the residual is sqrt(-2 log Phi). NaN where the simulation failed.
        """
        predicted = self.model.simulate(
            parameters, self.inlets, self.times_h, self.window_starts_h
        ).readouts
        parts = [standardised(block, predicted) for block in self.blocks]
        for bound in self.bounds:
            mean = on_scale(predicted[:, bound.chip, bound.time, bound.readout], bound.log_scale)
            parts.append(np.sqrt(-2.0 * log_probability(bound, mean))[:, None])
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(parameters), 0))

    def log_likelihood(self, parameters: np.ndarray) -> np.ndarray:
        """Return the log likelihood (n,) up to a constant; -inf where the simulation failed."""
        total = -0.5 * (self.residuals(parameters) ** 2).sum(axis=1)
        return np.where(np.isfinite(total), total, -np.inf)

    def squares_by_readout(self, residuals: np.ndarray) -> dict[str, tuple[np.ndarray, int]]:
        """Return per readout the summed squares (n,) of its uncensored residuals and their number."""
        found: dict[str, tuple[np.ndarray, int]] = {}
        at = 0
        for block in self.blocks:
            m = block.value.size
            squares = (residuals[:, at : at + m] ** 2).sum(axis=1)
            found[self.model.readouts[block.readout].name] = (squares, m)
            at += m
        return found


def standardised(block: Block, predicted: np.ndarray) -> np.ndarray:
    """Return the block's residuals (n, m) as independent standard normals."""
    mean = on_scale(predicted[:, block.chip, block.time, block.readout], block.log_scale)
    gap = block.value - mean
    failed = ~np.isfinite(gap).all(axis=1)
    gap[failed] = 0.0
    result = solve_triangular(block.factor, gap.T, lower=True, check_finite=False).T
    result[failed] = np.nan
    return np.asarray(result)


def log_probability(bound: Bound, mean: np.ndarray) -> np.ndarray:
    """Return log P(lower < y < upper) (n,), safe in the tails."""
    below = (bound.upper - mean) / bound.sd
    above = (bound.lower - mean) / bound.sd
    if np.isneginf(bound.lower):
        return np.asarray(log_ndtr(below))
    if np.isposinf(bound.upper):
        return np.asarray(log_ndtr(-above))
    # the smaller tail carries the digits: reflect so that both terms are lower tails
    flip = above > 0
    high = np.where(flip, log_ndtr(-above), log_ndtr(below))
    low = np.where(flip, log_ndtr(-below), log_ndtr(above))
    return np.asarray(high + np.log(-np.expm1(np.minimum(low - high, -1e-300))))


def scaled(value: float, log_scale: bool) -> float:
    """Return one measured value on the residual's scale."""
    if not log_scale:
        return value
    return float(np.log(value)) if value > 0 else -np.inf


def on_scale(values: np.ndarray, log_scale: bool) -> np.ndarray:
    """Return predictions on the residual's scale."""
    return np.log(np.maximum(values, FLOOR)) if log_scale else values
