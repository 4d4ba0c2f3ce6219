"""The effect of a treatment where a twin foretold what each patient would have had without it.

Belongs here: the analyses of one trial (or of many alike at once). Not here: the trial's file (trial_data), exact
tests of few patients (randomisation_test), how often each analysis errs (trial_simulation).

In ``adjusted`` the twin only makes the comparison of randomised arms narrower: linear regression on arm and
prognosis with the variance of MacKinnon and White (HC3, 10.1016/0304-4076(85)90158-7), the prognostic-covariate
adjustment of Schuler 2022 (10.1515/ijb-2021-0072). Its error of the first kind does not hang on the twin being
right. In ``external`` and ``borrowed`` the twin stands in for controls: what they say hangs on the sd of its bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import t as student

from chiploop.twin.trial_data import TrialData

LEVEL = 0.95
"""Of every interval; equal-tailed."""
TRUSTED = 0.5
"""Prior probability that the twin's bias is of the size that is stated, in ``borrowed``."""


@dataclass(frozen=True)
class Effect:
    """Treated minus control, in the outcome's unit."""

    method: str
    estimate: float
    lower: float
    upper: float
    p: float
    """Two-sided, of no effect."""
    se: float
    trusted: float | None = None
    """Posterior probability that the twin's bias is of the stated size; None where nothing is borrowed."""


@dataclass(frozen=True)
class Regression:
    """Coefficient of the arm; arrays over trials."""

    estimate: np.ndarray
    se: np.ndarray
    df: int
    """Degrees of freedom."""

    @property
    def p(self) -> np.ndarray:
        """Return the two-sided p of no effect."""
        return np.asarray(2.0 * student.sf(np.abs(self.estimate / self.se), self.df))


def regression(outcome: np.ndarray, treated: np.ndarray, others: np.ndarray) -> Regression:
    """Return the arm's coefficient beside other columns, with the HC3 variance.

    outcome (..., n), treated (..., n), others (..., n, k): leading axes are trials.
    """
    columns = np.concatenate(
        [np.ones_like(outcome)[..., None], treated[..., None].astype(float), others], axis=-1
    )
    n, p = columns.shape[-2:]
    if n <= p:
        raise ValueError(f"{n} patients can not tell {p} coefficients")
    inverse = np.linalg.inv(np.swapaxes(columns, -1, -2) @ columns)
    coefficients = (inverse @ np.swapaxes(columns, -1, -2) @ outcome[..., None])[..., 0]
    rest = outcome - (columns @ coefficients[..., None])[..., 0]
    leverage = np.einsum("...ij,...jk,...ik->...i", columns, inverse, columns)
    weight = (rest / np.maximum(1.0 - leverage, 1e-9)) ** 2
    arm = np.einsum("...j,...ij->...i", inverse[..., 1, :], columns)
    return Regression(coefficients[..., 1], np.sqrt((arm**2 * weight).sum(axis=-1)), n - p)


def unadjusted(data: TrialData) -> Effect:
    """Return the difference of the arms' means. ValueError for fewer than 2 controls."""
    return _effect("unadjusted", data, np.zeros((len(data.outcome), 0)))


def adjusted(data: TrialData) -> Effect:
    """Return the difference given prognosis and covariates. ValueError for fewer than 2 controls or a column that
    does not vary.
    """
    others = data.adjusted_for
    if others.shape[1] == 0:
        raise ValueError("there is neither a prognosis nor a covariate to adjust for")
    if (np.ptp(others, axis=0) == 0.0).any():
        raise ValueError(
            "a prognosis or covariate is the same for every patient, so it tells nothing"
        )
    return _effect("adjusted", data, others - others.mean(axis=0))


def _effect(method: str, data: TrialData, others: np.ndarray) -> Effect:
    if data.n_control < 2:
        raise ValueError(f"{data.n_control} controls can not be compared with")
    found = regression(data.outcome, data.treated, others)
    half = float(found.se) * float(student.ppf((1 + LEVEL) / 2, found.df))
    estimate = float(found.estimate)
    return Effect(
        method, estimate, estimate - half, estimate + half, float(found.p), float(found.se)
    )


@dataclass(frozen=True)
class Gaps:
    """Outcome minus prognosis in each arm."""

    treated: float
    """Mean."""
    treated_variance: float
    """Of the mean."""
    control: float
    """Mean; NaN without controls."""
    control_variance: float
    """Of the mean; infinite without controls."""
    sd: float
    """Of one patient, both arms pooled."""
    df: int
    """Degrees of freedom behind it."""


def gaps_of(data: TrialData) -> Gaps:
    """Return what the twin missed in each arm. ValueError without a prognosis."""
    if data.prognosis is None:
        raise ValueError("there is no prognosis: no twin to stand in for controls")
    gap = data.outcome - data.prognosis
    treated, control = gap[data.treated], gap[~data.treated]
    free = max(len(treated) - 1, 0) + max(len(control) - 1, 0)
    squares = ((treated - treated.mean()) ** 2).sum()
    if len(control):
        squares += ((control - control.mean()) ** 2).sum()
    variance = float(squares) / max(free, 1)
    if not variance > 0.0:
        raise ValueError(
            "outcome and prognosis are equally far apart in every patient: nothing scatters"
        )
    return Gaps(
        float(treated.mean()),
        variance / len(treated),
        float(control.mean()) if len(control) else math.nan,
        variance / len(control) if len(control) else math.inf,
        math.sqrt(variance),
        max(free, 1),
    )


def external(data: TrialData, bias_sd: float) -> Effect:
    """Return treated patients against their own twins alone, controls unused.

    ``bias_sd``: sd of the twin's bias from trial to trial, in the outcome's unit. It enters the variance whole, so
    more patients never bring the interval below it.
    """
    gaps = gaps_of(data)
    se = math.sqrt(gaps.treated_variance + bias_sd**2)
    # Satterthwaite: only the patients' part of the variance is estimated
    df = gaps.df * (se**2 / gaps.treated_variance) ** 2
    return _of_mixture("external", [(1.0, gaps.treated, se, df)], None)


def borrowed(data: TrialData, bias_sd: float, trusted: float = TRUSTED) -> Effect:
    """Return treated patients against controls and twins together, the twins trusted as far as controls allow.

    The bias b of the twin has the prior trusted N(0, bias_sd^2) + (1 - trusted) N(0, s^2), s the sd of one
    patient: the robust mixture of Schmidli 2014 (10.1111/biom.12242). Controls whose gap is far from 0 move the
    weight to the second part, and the answer to that of the controls alone. ValueError without controls.
    """
    gaps = gaps_of(data)
    if not math.isfinite(gaps.control):
        raise ValueError(
            "without controls nothing can contradict the twin: see the external analysis"
        )
    parts = []
    for weight, prior_sd in ((trusted, bias_sd), (1.0 - trusted, gaps.sd)):
        if weight == 0.0:
            continue
        seen = gaps.control_variance + prior_sd**2
        # a logarithm: a twin in another unit than the outcome is any number of sds away
        log_density = math.log(weight / math.sqrt(seen)) - gaps.control**2 / (2 * seen)
        shrink = prior_sd**2 / seen
        mean = gaps.treated - shrink * gaps.control
        se = math.sqrt(gaps.treated_variance + shrink * gaps.control_variance)
        parts.append((log_density, mean, se))
    most = max(part[0] for part in parts)
    weights = [math.exp(part[0] - most) for part in parts]
    mixture = [
        (one / sum(weights), mean, se, float(gaps.df))
        for one, (_, mean, se) in zip(weights, parts, strict=True)
    ]
    return _of_mixture("borrowed", mixture, mixture[0][0])


def _of_mixture(
    method: str, parts: list[tuple[float, float, float, float]], trusted: float | None
) -> Effect:
    """Return the effect whose posterior is a mixture of t distributions (weight, mean, scale, df)."""
    weight, mean, sd, df = (np.array(column) for column in zip(*parts, strict=True))

    def below(x: float) -> float:
        return float((weight * student.cdf((x - mean) / sd, df)).sum())

    reach = float(student.ppf(1 - 1e-6, df.min()))
    low, high = float((mean - reach * sd).min()), float((mean + reach * sd).max())
    ends = [
        brentq(lambda x, q=q: below(x) - q, low, high) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    ]
    estimate = float((weight * mean).sum())
    se = math.sqrt(float((weight * (sd**2 + (mean - estimate) ** 2)).sum()))
    p = 2.0 * min(below(0.0), 1.0 - below(0.0))
    return Effect(method, estimate, ends[0], ends[1], p, se, trusted)


def saving(data: TrialData) -> float:
    """Return which part of the patients the adjustment saves: 1 - (variance adjusted / unadjusted)."""
    return 1.0 - (adjusted(data).se / unadjusted(data).se) ** 2
