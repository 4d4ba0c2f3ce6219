"""In which ways a tissue model may be wrong, as directions of its residuals.

Belongs here: the list of suspicions and their plausible sizes. Not here: the test (misfit).

Four families, all from what a fit has at hand, for any model:
    lag        a readout follows its cause later than the model says: a step is missing (messenger RNA, secretion,
               junctions). To first order the residual is -delay times the prediction's slope in time.
    constant   a constant that the model holds fixed has another value.
    parameter  an estimated parameter is not one number: it differs between donors, drifts in time, hangs on dose.
    trend      what remains follows time, dose, donor or the prediction's size, whatever the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from scipy.linalg import solve_triangular

from chiploop.inference.misfit import Suspicion

FAMILY_WEIGHTS = {"lag": 4.0, "constant": 1.0, "parameter": 1.0, "trend": 1.0}
"""Shares of the false alarms. A missing step is the commonest gap of a tissue model, and one direction per readout
tests it; the others spread over dozens."""


@dataclass(frozen=True)
class PlausibleSizes:
    """How large a flaw may be before anybody would have noticed it otherwise."""

    lag_h: float = 6.0
    constant_ln: float = 0.3
    """ln(true value / value in the text)."""
    parameter_ln: float = 0.1
    trend_sd: float = 1.0
    """In sd of one chip's reading."""


USUAL_SIZES = PlausibleSizes()


@dataclass(frozen=True)
class ResidualRows:
    """The uncensored readouts behind the residuals, in the residuals' order; values on the residual's scale."""

    readout: Sequence[str]
    donor: Sequence[str]
    time_h: np.ndarray
    """(m,) study time; of a window its end."""
    dose_nm: np.ndarray
    """(m,) drug that the chip was given then."""
    predicted: np.ndarray
    """(m,) at the mode."""
    slope_per_h: np.ndarray
    """(m,) its change with time: (predicted - predicted an hour earlier) / 1 h, windows moved as a whole."""
    sd: np.ndarray
    """(m,) of one chip's reading: assay, reading and chip, without what donors share."""
    factor: np.ndarray
    """(m, m) lower Cholesky factor of the readings' covariance: standardised = factor^-1 direction."""

    def __post_init__(self) -> None:
        m = len(self.readout)
        sizes = {name: len(getattr(self, name)) for name in self.__dataclass_fields__}
        if set(sizes.values()) != {m} or self.factor.shape != (m, m):
            raise ValueError(f"rows of unequal length: {sizes}, factor {self.factor.shape}")

    def standardised(self, directions: np.ndarray) -> np.ndarray:
        """Return directions (m, k) as shifts of the standardised residuals."""
        return np.asarray(solve_triangular(self.factor, directions, lower=True))


def suspicions(
    rows: ResidualRows,
    parameters: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray],
    sizes: PlausibleSizes = USUAL_SIZES,
) -> tuple[Suspicion, ...]:
    """Return every suspicion that these rows can be tested for.

    ``parameters`` (estimated) and ``constants`` (fixed): name -> (m,) derivative of the prediction by ln(value).
    """
    found = [*lags(rows, sizes), *fixed(rows, constants, sizes)]
    found += [*varying(rows, parameters, sizes), *trends(rows, sizes)]
    return tuple(s for s in found if (s.directions != 0.0).any())


def lags(rows: ResidualRows, sizes: PlausibleSizes) -> list[Suspicion]:
    """Return per readout that it comes later than the model says."""
    found = []
    for name in dict.fromkeys(rows.readout):
        shift = -sizes.lag_h * np.where(of(rows, name), rows.slope_per_h, 0.0)
        found.append(
            Suspicion(
                "lag",
                f"{name} lags",
                rows.standardised(shift[:, None]),
                f"{name} comes {{size}} later than the model says, as if a step between cause and readout "
                "were missing (or, if negative, too slow)",
                "h",
                sizes.lag_h,
            )
        )
    return found


def fixed(
    rows: ResidualRows, constants: Mapping[str, np.ndarray], sizes: PlausibleSizes
) -> list[Suspicion]:
    """Return per fixed constant that it has another value."""
    return [
        Suspicion(
            "constant",
            f"fixed constant {name}",
            rows.standardised(sizes.constant_ln * slope[:, None]),
            f"the data ask for another value of {name}, which the model holds fixed: {{size}} in ln",
            "",
            sizes.constant_ln,
        )
        for name, slope in constants.items()
    ]


def varying(
    rows: ResidualRows, parameters: Mapping[str, np.ndarray], sizes: PlausibleSizes
) -> list[Suspicion]:
    """Return per estimated parameter that it differs between donors, drifts, or hangs on dose."""
    by = {
        "between donors": indicators(rows.donor),
        "in time": smooth(rows.time_h, 2)[:, 1:],
        "with dose": smooth(dose_axis(rows.dose_nm), 1)[:, 1:],
    }
    return [
        Suspicion(
            "parameter",
            f"{name} {how}",
            rows.standardised(sizes.parameter_ln * slope[:, None] * functions),
            f"{name} is not one number: it differs {how}",
        )
        for name, slope in parameters.items()
        for how, functions in by.items()
        if functions.shape[1] > (how == "between donors")
    ]


def trends(rows: ResidualRows, sizes: PlausibleSizes) -> list[Suspicion]:
    """Return per readout that its residuals follow time, dose, both, either by donor, or its own size."""
    found = []
    for name in dict.fromkeys(rows.readout):
        at = of(rows, name)
        time = smooth(rows.time_h[at], 3)
        dose = smooth(dose_axis(rows.dose_nm[at]), 3)
        donor = indicators([d for d, own in zip(rows.donor, at, strict=True) if own])
        size = smooth(rows.predicted[at], 2)
        for how, functions in {
            "time": time[:, 1:],
            "dose": dose[:, 1:],
            "dose and time": products(dose[:, 1:3], time[:, 1:3]),
            "time, donor by donor": products(donor, time[:, 1:2]),
            "dose, donor by donor": products(donor, dose[:, 1:2]),
            "its own size": size[:, 2:],
        }.items():
            wide = np.zeros((len(at), functions.shape[1]))
            wide[at] = functions * sizes.trend_sd * rows.sd[at, None]
            found.append(
                Suspicion(
                    "trend",
                    f"{name} against {how}",
                    rows.standardised(wide),
                    f"what the model leaves of {name} still follows {how}",
                )
            )
    return found


def of(rows: ResidualRows, name: str) -> np.ndarray:
    """Return which rows (m,) are of a readout."""
    return np.array([readout == name for readout in rows.readout], dtype=bool)


def dose_axis(dose_nm: np.ndarray) -> np.ndarray:
    """Return ln dose with the vehicle a factor 3 below the lowest dose; zeros where no drug was given."""
    given = dose_nm[dose_nm > 0.0]
    return np.log(np.maximum(dose_nm, given.min() / 3.0)) if given.size else np.zeros(len(dose_nm))


def smooth(x: np.ndarray, degree: int) -> np.ndarray:
    """Return Chebyshev polynomials (m, d + 1) over the range of x, d at most its distinct values less one."""
    d = min(degree, len(np.unique(np.round(x, 9))) - 1)
    if d < 1:
        return np.ones((len(x), 1))
    return np.asarray(chebvander(2.0 * (x - x.min()) / np.ptp(x) - 1.0, d))


def indicators(labels: Sequence[str]) -> np.ndarray:
    """Return (m, labels) which row has which label."""
    every = sorted(set(labels))
    return np.array([[label == one for one in every] for label in labels], dtype=float)


def products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the products of every column of a with every column of b."""
    return np.asarray((a[:, :, None] * b[:, None]).reshape(len(a), -1))
