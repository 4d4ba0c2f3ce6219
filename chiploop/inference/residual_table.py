"""What the model leaves of every reading, and whether that follows time, prediction or donor.

Belongs here: the table of residuals and simple tests of it. Not here: places in predictions (predictive_checks),
the search for what may be wrong in a model (misfit).

A residual is the reading's place in its prediction from all other readings, as a standard normal: comparable
between readouts, defined for censored readings, not shrunk by the reading's own pull. Residuals hang together, so
a test adds up the trend's shifts with the weights of the whole covariance, parameters included: under a right
model that is linear near its mode the p value is uniform, and no other weights would see a trend better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.stats import chi2

from chiploop.inference.conditionals import scores
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.misfit_of_fit import dose_at
from chiploop.inference.search import Mode

LOOK = 0.05
"""Chance that a right model is accused of any trend at all."""


@dataclass(frozen=True)
class ResidualRow:
    """One reading that was learned from."""

    readout: str
    unit: str
    chip: str
    donor: str
    cycle: int
    time_h: float
    dose_nm: float
    """That reached the chip when it was read."""
    observed: float
    """In ``unit``; of a censored reading its finite bound (the upper one where there are two)."""
    predicted: float
    """Median of the model's mean over the posterior, in ``unit``, without what the chip's own level adds."""
    residual: float
    """Of the reading predicted from all others, standard normal; of a censored one at random in its bounds."""
    censored: bool
    k: float
    """Shape of the tail of the weights that leave it out; above the limit the residual is not to be trusted."""


@dataclass(frozen=True)
class Trend:
    """Whether the residuals of one readout follow something."""

    readout: str
    against: str
    """``time``, ``prediction`` or ``donor``."""
    p_value: float
    size: float
    """From the lowest to the highest, in sd of one reading; of donors the largest difference between two."""
    size_sd: float
    is_seen: bool
    """Whether it is more than chance allows, all tests of the study taken together."""
    sentence: str


def residual_rows(
    likelihood: Likelihood, predicted: np.ndarray, place: np.ndarray, k: np.ndarray
) -> tuple[ResidualRow, ...]:
    """Return the table; predictions (n, m) in the readouts' units, places and shapes (m,), in the order of use."""
    middle, residual = np.median(predicted, axis=0), scores(place)
    units = {spec.name: spec.unit for spec in likelihood.model.readouts}
    return tuple(
        ResidualRow(
            r.readout,
            units[r.readout],
            r.chip_id,
            likelihood.donors[r.chip_id],
            r.cycle,
            r.time_h,
            dose_at(likelihood, r.chip_id, r.time_h),
            r.value if r.censoring == "none" else r.upper if np.isfinite(r.upper) else r.lower,
            float(middle[i]),
            float(residual[i]),
            r.censoring != "none",
            float(k[i]),
        )
        for i, r in enumerate(likelihood.used)
    )


def trends(likelihood: Likelihood, mode: Mode, means: np.ndarray) -> tuple[Trend, ...]:
    """Return the tests of every readout; ``means`` (m,) at the mode on the residual's scale, in the order of use.

    Censored readings do not enter.
    """
    order = likelihood.row_of[: likelihood.n_exact]
    used = [likelihood.used[i] for i in order]
    donors = np.array([likelihood.donors[r.chip_id] for r in used])
    sd = reading_sd(likelihood)[order]
    kinds = likelihood.rows.readout[order]
    found: list[tuple[str, str, np.ndarray, Sequence[str]]] = []
    for k, name in enumerate(likelihood.names):
        own = kinds == k
        for against, x in (
            ("time", np.array([r.time_h for r in used])),
            ("prediction", means[order]),
        ):
            if own.sum() > 2 and np.ptp(x[own]) > 1e-9:
                line = (x - x[own].min()) / np.ptp(x[own]) - 0.5
                found.append((name, against, (line * own)[:, None], ()))
        labels = sorted(set(donors[own]))
        if len(labels) > 1:
            contrasts = np.stack([(donors == d) * own for d in labels[1:]], axis=1) * 1.0
            contrasts -= own[:, None] / len(labels)
            found.append((name, "donor", contrasts, labels))
    return tuple(
        tested(
            name, against, whiten(likelihood, sd[:, None] * wide), labels, mode, LOOK / len(found)
        )
        for name, against, wide, labels in found
    )


def tested(
    name: str,
    against: str,
    wide: np.ndarray,
    labels: Sequence[str],
    mode: Mode,
    limit: float,
) -> Trend:
    """Return what the residuals say of shifts along whitened directions (exact, k)."""
    # with r left at the mode, S^-1 gaps = L^-T r and S^-1 = L^-T (I - J C J') L^-1, parameters integrated out
    jacobian = mode.jacobian[: len(wide)]
    taken_up = jacobian.T @ wide
    information = wide.T @ wide - taken_up.T @ mode.covariance @ taken_up
    spread = np.linalg.pinv(information, rcond=1e-8, hermitian=True)
    pull = wide.T @ mode.residuals[: len(wide)]
    sizes = spread @ pull
    rank = int(
        np.linalg.matrix_rank(information, tol=1e-8 * max(1.0, float(np.abs(information).max())))
    )
    p = float(chi2.sf(pull @ sizes, rank)) if rank else 1.0
    if labels:  # shifts of the donors after the first, which has none
        first = np.zeros((len(labels), len(sizes)))
        first[1:] = np.eye(len(sizes))
        sizes, spread = first @ sizes, first @ spread @ first.T
        low, high = int(np.argmin(sizes)), int(np.argmax(sizes))
        size = float(sizes[high] - sizes[low])
        variance = spread[high, high] + spread[low, low] - 2.0 * spread[high, low]
        said = f"{labels[high]} lies {size:.2g} sd above {labels[low]}"
    else:
        size, variance = float(sizes[0]), float(spread[0, 0])
        way = "rise" if size > 0 else "fall"
        said = f"residuals {way} by {abs(size):.2g} sd from the lowest to the highest {against}"
        if against == "time":
            said = f"residuals {way} by {abs(size):.2g} sd from the first to the last reading"
    is_seen = p < limit
    sentence = (
        f"{name} against {against}: {said} (p {p:.2g})"
        if is_seen
        else f"{name} against {against}: no trend (p {p:.2g})"
    )
    return Trend(name, against, p, size, float(np.sqrt(max(variance, 0.0))), is_seen, sentence)


def reading_sd(likelihood: Likelihood) -> np.ndarray:
    """Return the sd (m,) of one reading of a chip: of assay, reading and chip."""
    scatter = likelihood.scatter
    return np.array(
        [
            np.sqrt(
                r.sd**2
                + scatter.reading.get(r.readout, 0.0) ** 2
                + scatter.chip.get(r.readout, 0.0) ** 2
            )
            for r in likelihood.used
        ]
    )


def whiten(likelihood: Likelihood, columns: np.ndarray) -> np.ndarray:
    """Return L^-1 columns (exact, k), block by block, in the residuals' order."""
    result, at = np.empty_like(columns), 0
    for block in likelihood.blocks:
        own = slice(at, at + len(block.rows))
        at = own.stop
        result[own] = solve_triangular(block.factor, columns[own], lower=True)
    return result
